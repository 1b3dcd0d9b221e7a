"""The disclosure policy as data, and alarms about odd use of checks."""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE disclosure_policy (
    version integer PRIMARY KEY,
    rules jsonb NOT NULL,
    under_appeal boolean NOT NULL,
    updater text NOT NULL,
    request_id uuid,
    digest bytea,
    updated_at timestamptz NOT NULL,
    CONSTRAINT disclosure_policy_updater_key UNIQUE (updater, request_id)
);
CREATE TRIGGER disclosure_policy_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON disclosure_policy
    EXECUTE FUNCTION refuse_change();

CREATE TABLE lookup_alarm (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    node_id text NOT NULL,
    officer_id text NOT NULL,
    checks integer NOT NULL,
    began_at timestamptz NOT NULL,
    raised_at timestamptz NOT NULL
);

-- Assumed: the wording that the service promises names the person.
INSERT INTO disclosure_policy VALUES (
    1,
    '[["VETTING_AGENCY", "SINGLE", "HIT_WITH_NAME"], ["VETTING_AGENCY", "BATCH", "HIT_WITH_NAME"],
      ["PUBLIC_GATEWAY", "SINGLE", "HIT_WITH_NAME"], ["PUBLIC_GATEWAY", "BATCH", "HIT_WITH_NAME"]]',
    false, '', NULL, NULL, clock_timestamp()
);
"""


def upgrade() -> None:
    """Creates the tables, with the policy that a register begins with."""
    op.get_bind().exec_driver_sql(TABLES, execution_options={"no_parameters": True})
