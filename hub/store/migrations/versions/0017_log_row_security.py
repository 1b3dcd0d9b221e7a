"""Row level security on the audit log too: no COPY writes into it any more.

Workers of before still do, which PostgreSQL refuses from here on: they answer nobody, and are to be replaced at once.
"""

from alembic import op

revision = "0017"
down_revision = "0016"

CHANGES = """
ALTER TABLE audit_entry ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON audit_entry FOR INSERT TO nsor_app WITH CHECK (true);
CREATE POLICY auditor ON audit_entry FOR SELECT TO nsor_auditor USING (true);
"""


def upgrade() -> None:
    """Turns it on."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
