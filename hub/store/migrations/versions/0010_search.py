"""The index by which records are found without their names; the hub fills it, since the database has no keys."""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE offender_search (
    offender_id uuid PRIMARY KEY REFERENCES offender (id),
    rules smallint NOT NULL,
    hashes bigint[] NOT NULL
);
CREATE INDEX offender_search_hashes_idx ON offender_search USING gin (hashes)
    WITH (gin_pending_list_limit = 256);
"""


def upgrade() -> None:
    """Creates the table."""
    op.get_bind().exec_driver_sql(TABLES, execution_options={"no_parameters": True})
