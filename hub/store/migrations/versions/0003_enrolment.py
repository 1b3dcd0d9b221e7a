"""Enrolment of nodes by tokens, and what is done to nodes."""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
ALTER TABLE node_certificate ADD COLUMN enrolled_at timestamptz NOT NULL DEFAULT clock_timestamp();

CREATE TABLE enrolment (
    token_hash bytea PRIMARY KEY,
    node_id text NOT NULL REFERENCES node (id),
    csr_hash bytea,
    certificate text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX enrolment_node_id_idx ON enrolment (node_id);

CREATE TABLE node_change (
    actor text NOT NULL,
    request_id uuid NOT NULL,
    digest bytea NOT NULL,
    node_id text NOT NULL REFERENCES node (id),
    state text,
    reason text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (actor, request_id)
);
CREATE INDEX node_change_node_id_changed_at_idx ON node_change (node_id, changed_at);
"""


def upgrade() -> None:
    """Creates the tables."""
    op.get_bind().exec_driver_sql(TABLES, execution_options={"no_parameters": True})
