"""What each node's last comparison of registers found."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Creates the table."""
    op.execute(
        """
        CREATE TABLE reconciliation (
            node_id text PRIMARY KEY REFERENCES node (id),
            records bigint NOT NULL,
            only_at_hub bigint NOT NULL,
            only_at_node bigint NOT NULL,
            reconciled_at timestamptz NOT NULL
        )
        """
    )
