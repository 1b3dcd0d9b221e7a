"""The life of a record: who changed it and why, transfers, convictions that were set aside, sealed records."""

from alembic import op

revision = "0007"
down_revision = "0006"

CHANGES = """
ALTER TABLE offender ALTER COLUMN wrapped_key DROP NOT NULL;
ALTER TABLE offender DROP CONSTRAINT offender_cnic_index_key;
CREATE UNIQUE INDEX offender_cnic_index_idx ON offender (cnic_index) WHERE wrapped_key IS NOT NULL;
ALTER TABLE offender_revision ALTER COLUMN body DROP NOT NULL;

-- Who made a version, and why. Of those made before it is known who owned the record.
ALTER TABLE offender_revision
    ADD COLUMN actor text REFERENCES node (id),
    ADD COLUMN method text NOT NULL DEFAULT '',
    ADD COLUMN why bytea,
    ADD COLUMN transfer_receiver text REFERENCES node (id),
    ADD COLUMN transfer_due_at timestamptz;
ALTER TABLE offender_revision DISABLE TRIGGER offender_revision_append_only;
UPDATE offender_revision SET actor = owner;
ALTER TABLE offender_revision ENABLE TRIGGER offender_revision_append_only;
ALTER TABLE offender_revision ALTER COLUMN actor SET NOT NULL, ALTER COLUMN method DROP DEFAULT;
CREATE INDEX offender_revision_offender_id_version_idx ON offender_revision (offender_id, version)
    WHERE transfer_receiver IS NOT NULL;

CREATE TABLE set_aside (
    conviction_index bytea PRIMARY KEY,
    offender_id uuid NOT NULL REFERENCES offender (id),
    day date NOT NULL
);

CREATE INDEX request_record_id_idx ON request (record_id);
"""


def upgrade() -> None:
    """Makes the changes."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
