"""The register: nodes, records, requests, feed and audit."""

from alembic import op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE node (
    id text PRIMARY KEY,
    display_name text NOT NULL,
    role text NOT NULL,
    jurisdiction text NOT NULL,
    state text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE node_certificate (
    serial numeric(49, 0) PRIMARY KEY,
    node_id text NOT NULL REFERENCES node (id),
    expires_at timestamptz NOT NULL
);
CREATE INDEX node_certificate_node_id_idx ON node_certificate (node_id);

CREATE TABLE offender (
    id uuid PRIMARY KEY,
    cnic_index bytea NOT NULL UNIQUE,
    owner text NOT NULL REFERENCES node (id),
    version integer NOT NULL,
    wrapped_key bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX offender_owner_id_idx ON offender (owner, id);

CREATE TABLE offender_revision (
    offender_id uuid NOT NULL REFERENCES offender (id),
    version integer NOT NULL,
    owner text NOT NULL REFERENCES node (id),
    body bytea NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (offender_id, version)
);

CREATE TABLE notice (
    id uuid PRIMARY KEY,
    offender_id uuid NOT NULL REFERENCES offender (id),
    recorder text NOT NULL REFERENCES node (id),
    body bytea NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX notice_offender_id_id_idx ON notice (offender_id, id);

CREATE TABLE request (
    node_id text NOT NULL REFERENCES node (id),
    request_id uuid NOT NULL,
    digest bytea NOT NULL,
    record_id uuid NOT NULL,
    version integer NOT NULL,
    outbox_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (node_id, request_id)
);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changes jsonb NOT NULL
);

CREATE TABLE feed_event (
    seq bigint PRIMARY KEY,
    outbox_id bigint NOT NULL UNIQUE,
    changes jsonb NOT NULL,
    committed_at timestamptz NOT NULL
);

CREATE TABLE feed_head (
    one_row boolean PRIMARY KEY CONSTRAINT feed_head_one_row CHECK (one_row),
    epoch uuid NOT NULL,
    seq bigint NOT NULL,
    as_of timestamptz NOT NULL
);
INSERT INTO feed_head VALUES (true, gen_random_uuid(), 0, clock_timestamp());

CREATE TABLE audit_entry (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    node_id text NOT NULL,
    method text NOT NULL,
    officer_id text,
    purpose text,
    fir_number text,
    subject bytea,
    decision text NOT NULL
);

-- What was once logged stays: the database itself refuses to change it.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    EXECUTE FUNCTION refuse_change();
CREATE TRIGGER offender_revision_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON offender_revision
    EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Creates everything."""
    # By the driver, which takes several statements at once when there are no parameters.
    op.get_bind().exec_driver_sql(TABLES, execution_options={"no_parameters": True})
