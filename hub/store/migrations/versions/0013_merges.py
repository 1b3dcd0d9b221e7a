"""Records that are merged into others, and which write changed a record along with another."""

from alembic import op

revision = "0013"
down_revision = "0012"

CHANGES = """
ALTER TABLE offender ADD COLUMN merged_into uuid REFERENCES offender (id);
CREATE INDEX offender_merged_into_idx ON offender (merged_into) WHERE merged_into IS NOT NULL;
GRANT UPDATE (merged_into) ON offender TO nsor_app;

CREATE TABLE consequence (
    record_id uuid NOT NULL,
    version integer NOT NULL,
    outbox_id bigint NOT NULL,
    PRIMARY KEY (record_id, version)
);
GRANT SELECT, INSERT ON consequence TO nsor_app;
ALTER TABLE consequence ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON consequence TO nsor_app USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """Makes the changes."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
