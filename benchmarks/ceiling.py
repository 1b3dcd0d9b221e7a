"""What the database alone can do: pgbench with the inserts of one CreateOffender, on the same server as the hub."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from benchmarks.crew import OWNER
from benchmarks.population import generated
from hub.clock import utc_now
from hub.dev.postgres import postgres_binaries
from hub.domain.search import RULES, keys
from hub.store.migrating import migrate
from hub.store.search import hashed
from hub.store.vault import Keyring, Vault
from hub.transport import convert

_DATABASE = "ceiling"
_PEOPLE = 3_000
"""Whose search keys are written, again and again: how many are shared is what a GIN index costs."""

# The values cost the server next to nothing; their sizes are those that the hub writes.
_SCRIPT = f"""
\\set person random(1, {_PEOPLE})
BEGIN;
INSERT INTO offender_number (number_index, offender_id) VALUES (sha256(uuid_send(gen_random_uuid())), uuidv7())
    ON CONFLICT DO NOTHING RETURNING offender_id AS offender \\gset
INSERT INTO offender (id, owner, version, wrapped_key, created_at)
    VALUES (:offender::uuid, '{OWNER}', 1, decode(repeat('00', 62), 'hex'), now());
INSERT INTO offender_revision (offender_id, version, owner, body, changed_at, actor, method, why)
    VALUES (:offender::uuid, 1, '{OWNER}', decode(repeat('00', BODY), 'hex'), now(), '{OWNER}',
        'nsor.registry.v1.RegistryService/CreateOffender', decode(repeat('00', 40), 'hex'));
INSERT INTO offender_search (offender_id, rules, hashes)
    SELECT :offender::uuid, {RULES}, hashes FROM people WHERE number = :person;
INSERT INTO outbox (changes)
    VALUES (jsonb_build_array(jsonb_build_array('offender', :offender::text, 1))) RETURNING id AS outbox \\gset
INSERT INTO request (node_id, request_id, digest, record_id, version, outbox_id)
    VALUES ('{OWNER}', gen_random_uuid(), decode(repeat('00', 32), 'hex'), :offender::uuid, 1, :outbox);
INSERT INTO audit_entry (at, node_id, method, subject, decision)
    VALUES (now(), '{OWNER}', 'nsor.registry.v1.RegistryService/CreateOffender', uuid_send(:offender::uuid), 'ALLOWED');
COMMIT;
"""


class Ceiling:
    """pgbench on a database beside the hub's: in its own, the sequencer would move what pgbench writes.

    Args:
        dsn: of the hub's database, with at least one record in it.
        folder: for the script.
    """

    def __init__(self, dsn: str, folder: Path) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            [(body,)] = connection.execute("SELECT avg(length(body))::integer FROM offender_revision").fetchall()
            connection.execute(f"CREATE DATABASE {_DATABASE}")
        url = dsn.replace("/nsor?", f"/{_DATABASE}?")
        migrate(url)
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO node VALUES (%s, '', 'POLICE', '', 'ACTIVE', now())", [OWNER])
            connection.execute("CREATE TABLE people (number integer PRIMARY KEY, hashes bigint[] NOT NULL)")
            with connection.cursor().copy("COPY people FROM STDIN") as copy:
                for row in enumerate(_search_keys(), 1):
                    copy.write_row(row)
        self._dsn = make_conninfo(url)
        self._script = folder / "create.sql"
        self._script.write_text(_SCRIPT.replace("BODY", str(body)))

    def rate(self, clients: int, seconds: int) -> float:
        """Transactions per second."""
        command = [postgres_binaries() / "pgbench", "--no-vacuum", "--protocol=prepared", f"--file={self._script}"]
        command += [f"--client={clients}", "--jobs=2", f"--time={seconds}", self._dsn]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"tps = ([\d.]+)", done.stdout)
        if not found:
            raise RuntimeError(f"pgbench: {done.stdout}{done.stderr}")
        return float(found[1])


def _search_keys() -> Iterator[list[int]]:
    keyring = Keyring.generate()
    vault = Vault(lambda: keyring)
    for person in generated(0, _PEOPLE):
        yield hashed(vault, keys(convert.registry.offender_facts(person, utc_now())))
