"""How far the outboxes of each node have come."""

from alembic import op

revision = "0015"
down_revision = "0014"

CHANGES = """
CREATE TABLE node_outbox (
    node_id text NOT NULL REFERENCES node (id),
    outbox_id uuid NOT NULL,
    complete_until timestamptz NOT NULL,
    PRIMARY KEY (node_id, outbox_id)
);
GRANT SELECT, INSERT, UPDATE (complete_until), DELETE ON node_outbox TO nsor_app;
ALTER TABLE node_outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON node_outbox TO nsor_app USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """Creates the table."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
