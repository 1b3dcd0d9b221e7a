"""Consents: people are asked by a passcode before they are checked."""

from alembic import op

revision = "0014"
down_revision = "0013"

CHANGES = """
CREATE TABLE consent (
    id uuid PRIMARY KEY,
    seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    node_id text NOT NULL REFERENCES node (id),
    request_id uuid NOT NULL,
    digest bytea NOT NULL,
    cnic_index bytea NOT NULL,
    passcode_hash bytea NOT NULL,
    tries_left smallint NOT NULL,
    delivery bytea,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT consent_node_id_key UNIQUE (node_id, request_id)
);
CREATE INDEX consent_cnic_index_created_at_idx ON consent (cnic_index, created_at);
CREATE INDEX consent_node_id_created_at_idx ON consent (node_id, created_at);
CREATE INDEX consent_created_at_idx ON consent (created_at);
CREATE INDEX consent_seq_idx ON consent (seq) WHERE delivery IS NOT NULL;

GRANT SELECT, INSERT, DELETE, UPDATE (tries_left, delivery) ON consent TO nsor_app;
ALTER TABLE consent ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY app ON consent TO nsor_app USING (true) WITH CHECK (true);
"""


def upgrade() -> None:
    """Makes the table."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
