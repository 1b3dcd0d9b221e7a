"""How far each node has applied the feed."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the table."""
    op.execute(
        """
        CREATE TABLE node_progress (
            node_id text PRIMARY KEY REFERENCES node (id),
            seq bigint NOT NULL,
            acknowledged_at timestamptz NOT NULL
        )
        """
    )
