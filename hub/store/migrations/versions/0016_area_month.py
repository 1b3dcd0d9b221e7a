"""What is told of the districts, month by month."""

from alembic import op

revision = "0016"
down_revision = "0015"

CHANGES = """
CREATE TABLE area_month (
    month date PRIMARY KEY,
    counts jsonb NOT NULL,
    counted_at timestamptz NOT NULL
);
CREATE TRIGGER area_month_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON area_month
    EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON area_month TO nsor_app;
ALTER TABLE area_month ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON area_month TO nsor_app USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """Creates the table."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
