"""Every number of a person, those they had before among them."""

from alembic import op

revision = "0009"
down_revision = "0008"

CHANGES = """
CREATE TABLE offender_number (
    number_index bytea PRIMARY KEY,
    offender_id uuid NOT NULL REFERENCES offender (id) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO offender_number SELECT cnic_index, id FROM offender WHERE wrapped_key IS NOT NULL;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE offender ADD COLUMN erased_numbers bytea[];
UPDATE offender SET erased_numbers = ARRAY[cnic_index] WHERE wrapped_key IS NULL;
ALTER TABLE offender DROP COLUMN cnic_index;
"""


def upgrade() -> None:
    """Makes the changes."""
    op.get_bind().exec_driver_sql(CHANGES, execution_options={"no_parameters": True})
