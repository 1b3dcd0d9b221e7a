"""Roles of the database, each with what it must do and no more, and row level security that binds the owner as well.

The roles are of the whole server, so they are made only where they are missing; who logs in is a member of one.
"""

from alembic import op

revision = "0011"
down_revision = "0010"

ROLES = """
DO $$
DECLARE missing text;
BEGIN
    FOREACH missing IN ARRAY ARRAY['nsor_app', 'nsor_auditor'] LOOP
        CONTINUE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = missing);
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', missing);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- another migration was faster
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % is missing: create it first, see docs/operations.md', missing;
        END;
    END LOOP;
END $$;
GRANT USAGE ON SEQUENCE outbox_id_seq TO nsor_app;
"""

# What the hub may do. History, requests, notices and policies grow only.
APP = {
    "node": "SELECT, INSERT, UPDATE (state)",
    "node_certificate": "SELECT, INSERT, DELETE",
    "enrolment": "SELECT, INSERT, UPDATE (csr_hash, certificate), DELETE",
    "node_change": "SELECT, INSERT",
    "offender": "SELECT, INSERT, UPDATE (owner, version, wrapped_key, erased_numbers)",
    "offender_number": "SELECT, INSERT, DELETE",
    "offender_revision": "SELECT, INSERT",
    "set_aside": "SELECT, INSERT, UPDATE (offender_id, day)",
    "notice": "SELECT, INSERT",
    "request": "SELECT, INSERT",
    "outbox": "SELECT, INSERT, DELETE",
    "feed_event": "SELECT, INSERT, DELETE",
    "feed_head": "SELECT, UPDATE (seq, as_of, compacted)",
    "node_progress": "SELECT, INSERT, UPDATE",
    "reconciliation": "SELECT, INSERT, UPDATE",
    "disclosure_policy": "SELECT, INSERT",
    "lookup_alarm": "SELECT, INSERT",
    "offender_search": "SELECT, INSERT, UPDATE, DELETE",
    "watch_list": "SELECT, INSERT, UPDATE (seq)",
    "alert": "SELECT, INSERT, UPDATE (sent), DELETE",
    "watched_person": "SELECT, INSERT, UPDATE, DELETE",
    "vetting_request": "SELECT, INSERT, DELETE",
    "audit_entry": "INSERT",
}
# What the auditor may read: who had access to what, and who let them; nothing about a person.
AUDITOR = ("audit_entry", "node", "node_certificate", "node_change", "disclosure_policy", "lookup_alarm")
# No COPY FROM goes into a table with row level security, and until 0017 the hub wrote its audit log so.
WITHOUT_ROW_SECURITY = ("audit_entry",)

# A record without a key is sealed, for ever.
POLICIES_OF_OFFENDER = """
CREATE POLICY app_reads ON offender FOR SELECT TO nsor_app USING (true);
CREATE POLICY app_enters ON offender FOR INSERT TO nsor_app WITH CHECK (wrapped_key IS NOT NULL);
CREATE POLICY app_changes ON offender FOR UPDATE TO nsor_app USING (wrapped_key IS NOT NULL) WITH CHECK (true);
"""


def upgrade() -> None:
    """Makes the roles, the grants and the policies."""
    run(ROLES)
    for table, privileges in APP.items():
        run(f"GRANT {privileges} ON {table} TO nsor_app")
        if table in AUDITOR:
            run(f"GRANT SELECT ON {table} TO nsor_auditor")
        if table in WITHOUT_ROW_SECURITY:
            continue
        run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        if table == "offender":
            run(POLICIES_OF_OFFENDER)
        else:
            run(f"CREATE POLICY app ON {table} TO nsor_app USING (true) WITH CHECK (true)")
        if table in AUDITOR:
            run(f"CREATE POLICY auditor ON {table} FOR SELECT TO nsor_auditor USING (true)")


def run(statements: str) -> None:
    """Runs statements as they stand."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
