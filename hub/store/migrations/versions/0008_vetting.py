"""Watch lists, and the alerts about those on them."""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE watch_list (
    node_id text PRIMARY KEY REFERENCES node (id),
    seq bigint NOT NULL DEFAULT 0
);

CREATE TABLE alert (
    id uuid PRIMARY KEY,
    node_id text NOT NULL REFERENCES watch_list (node_id),
    seq bigint NOT NULL,
    watched_person_id uuid NOT NULL,
    offender_id uuid NOT NULL REFERENCES offender (id),
    kind text NOT NULL,
    sent boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    CONSTRAINT alert_node_id_key UNIQUE (node_id, seq)
);
CREATE INDEX alert_watched_person_id_idx ON alert (watched_person_id) WHERE NOT sent;

CREATE TABLE watched_person (
    id uuid PRIMARY KEY,
    node_id text NOT NULL REFERENCES watch_list (node_id),
    cnic_index bytea NOT NULL,
    consent_reference text NOT NULL,
    reference text NOT NULL,
    due boolean NOT NULL DEFAULT true,
    alert_id uuid REFERENCES alert (id),
    created_at timestamptz NOT NULL,
    CONSTRAINT watched_person_cnic_index_key UNIQUE (cnic_index, node_id)
);
CREATE INDEX watched_person_node_id_id_idx ON watched_person (node_id, id);
CREATE INDEX watched_person_node_id_idx ON watched_person (node_id) WHERE due;
CREATE INDEX watched_person_alert_id_idx ON watched_person (alert_id) WHERE alert_id IS NOT NULL;

CREATE TABLE vetting_request (
    node_id text REFERENCES watch_list (node_id),
    request_id uuid,
    digest bytea NOT NULL,
    watched_people uuid[] NOT NULL,
    added integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node_id, request_id)
);
"""


def upgrade() -> None:
    """Creates the tables."""
    op.get_bind().exec_driver_sql(TABLES, execution_options={"no_parameters": True})
