"""The access desk: requests to read records of other nodes, and the steps that were taken with each."""

from alembic import op

revision = "0012"
down_revision = "0011"

CHANGES = """
CREATE TABLE access_request (
    id uuid PRIMARY KEY,
    offender_id uuid NOT NULL REFERENCES offender (id),
    node_id text NOT NULL REFERENCES node (id),
    version integer NOT NULL,
    scopes jsonb NOT NULL,
    body bytea NOT NULL,
    due_at timestamptz NOT NULL
);
CREATE INDEX access_request_node_id_offender_id_idx ON access_request (node_id, offender_id);

CREATE TABLE access_step (
    access_request_id uuid NOT NULL REFERENCES access_request (id),
    version integer NOT NULL,
    state text NOT NULL,
    actor text NOT NULL REFERENCES node (id),
    request_id uuid NOT NULL,
    digest bytea NOT NULL,
    taken_at timestamptz NOT NULL,
    scopes jsonb,
    expires_at timestamptz,
    why bytea NOT NULL,
    PRIMARY KEY (access_request_id, version),
    CONSTRAINT access_step_actor_key UNIQUE (actor, request_id)
);
CREATE TRIGGER access_step_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON access_step
    EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT, UPDATE (version) ON access_request TO nsor_app;
GRANT SELECT, INSERT ON access_step TO nsor_app;
-- Who let whom read what; what people said of it stays sealed to the auditor.
GRANT SELECT ON access_request, access_step TO nsor_auditor;
"""


def upgrade() -> None:
    """Makes the changes."""
    run(CHANGES)
    for table in ("access_request", "access_step"):
        run(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        run(f"CREATE POLICY app ON {table} TO nsor_app USING (true) WITH CHECK (true)")
        run(f"CREATE POLICY auditor ON {table} FOR SELECT TO nsor_auditor USING (true)")


def run(statements: str) -> None:
    """Runs statements as they stand."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})
