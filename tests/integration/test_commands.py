"""The command `nsor-hub` as an operator uses it: real processes, an external PostgreSQL, a CA with a password."""

import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from typer.testing import CliRunner, Result

from hub.__main__ import app
from hub.config import HubSettings
from hub.dev.environment import HUB_USER, hub_user
from hub.dev.postgres import EmbeddedPostgres
from nsor.common.v1.officer_pb2 import PURPOSE_RECORD_MAINTENANCE, OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import OUTCOME_HIT
from nsor_client import Client, ResourceExhausted, enrol
from tests.support.people import fresh_offender
from tests.support.waiting import eventually

COMMANDS = [
    "",
    "dev",
    "serve",
    "migrate",
    "settings",
    "keyring create",
    "pki",
    "pki init-ca",
    "pki issue-hub",
    "node create",
]
PASSWORD = "a password of the CA"
SECRET = "what-nobody-may-read"
DSN = f"postgresql://nsor:{SECRET}@127.0.0.1:1/nsor"
SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def no_settings() -> Iterator[None]:
    """No settings of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("NSOR_")]:
            patch.delenv(name)
        yield


def nsor_hub(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "hub", *map(str, arguments)],
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def in_process(*arguments: str | Path, **environment: str) -> Result:
    """The same without a new process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)


def done(*arguments: str | Path, **environment: str) -> str:
    """What a command prints that must end well."""
    result = in_process(*arguments, **environment)
    assert result.exit_code == 0, result.stderr
    return result.stdout


class Operator:
    """An operator's folder: settings in a file, secrets in the environment."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres) -> None:
        self.folder = folder
        self.postgres = postgres
        self.config = folder / "hub.toml"
        self.config.write_text(
            f"""
            listen = "127.0.0.1:0"
            enrol_listen = "127.0.0.1:0"
            workers = 1
            tls_certificate = "{folder}/hub/cert.pem"
            tls_key = "{folder}/hub/key.pem"
            client_ca = "{folder}/ca/cert.pem"
            ca_certificate = "{folder}/ca/cert.pem"
            ca_key = "{folder}/ca/key.pem"
            keyring = "{folder}/keyring.json"
            trust_domain = "example.internal"
            end_user_checks_burst = 1
            """
        )
        self.environment = {
            "NSOR_DSN": postgres.dsn(user=HUB_USER),
            "NSOR_OWNER_DSN": postgres.dsn(),
            "NSOR_CA_PASSWORD": PASSWORD,
        }

    def sets_up(self) -> None:
        """Everything that is to be done once, before the hub is started."""
        done("keyring", "create", self.folder / "keyring.json")
        done("pki", "init-ca", "--dir", self.folder / "ca", **self.environment)
        issue = ["pki", "issue-hub", "--ca", self.folder / "ca", "--out", self.folder / "hub"]
        done(*issue, "--ip", "127.0.0.1", "--trust-domain", "example.internal", **self.environment)
        done("migrate", "--config", self.config, **self.environment)
        hub_user(self.postgres)

    def creates(self, node: str, role: str) -> str:
        """Creates a node, and gives its token."""
        return done("node", "create", node, "--role", role, "--config", self.config, **self.environment).strip()

    @contextmanager
    def serves(self, **environment: str) -> Generator["Served"]:
        """Runs the hub, and checks that SIGTERM ends it well."""
        log_file = self.folder / "hub.log"
        with log_file.open("wb") as log:
            hub = subprocess.Popen(
                [sys.executable, "-m", "hub", "serve", "--config", str(self.config)],
                env=os.environ | self.environment | environment,
                stderr=log,
            )

        def addresses() -> re.Match[str] | None:
            assert hub.poll() is None, log_file.read_text()
            return re.search(r"the hub serves at (\S+), for enrolment at (\S+)", log_file.read_text())

        try:
            yield Served(self, *eventually(addresses, SECONDS).groups())
            hub.terminate()
            assert hub.wait(SECONDS) == 0, log_file.read_text()
        finally:
            hub.kill()
            hub.wait()


@dataclass
class Served:
    """A running hub, and what nodes do with it."""

    operator: Operator
    target: str
    enrol_target: str

    def node(self, node: str, role: str) -> Client:
        """A new node, connected."""
        token, ca = self.operator.creates(node, role), (self.operator.folder / "ca" / "cert.pem").read_bytes()
        return Client(self.target, enrol(self.enrol_target, token, ca, self.operator.folder / node))


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("commands") / "pg") as postgres:
        yield postgres


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> Operator:
    """An operator who has set everything up."""
    operator = Operator(tmp_path_factory.mktemp("operator"), postgres)
    operator.sets_up()
    return operator


@pytest.fixture(scope="module")
def served(operator: Operator) -> Iterator[Served]:
    """The operator's hub, which lets a person ask once more than the file says."""
    with operator.serves(NSOR_END_USER_CHECKS_BURST="2") as served:
        yield served


def test_an_operator_runs_a_hub_with_these_commands_alone(served: Served) -> None:
    offender = fresh_offender()
    with served.node("kp-police", "police") as station, served.node("fia", "fia") as border:
        revision = station.create_offender(offender).revision
        answer = border.check_cnic(offender.person.cnic, at_least_revision=revision)
    assert (answer.outcome, answer.person.full_name) == (OUTCOME_HIT, offender.person.full_name)


def test_the_environment_goes_before_the_file(served: Served) -> None:
    with served.node("sms", "public_gateway") as gateway:
        for _ in range(2):
            gateway.check_cnic("1", end_user=b"a" * 16)
        with pytest.raises(ResourceExhausted):
            gateway.check_cnic("1", end_user=b"a" * 16)


@pytest.mark.slow
def test_the_key_that_wraps_those_of_the_records_is_changed_while_the_hub_serves(served: Served) -> None:
    operator = served.operator
    file, database = operator.folder / "keyring.json", ("--config", operator.config)

    def records(key: str) -> int | None:
        """How many stand under a key; None if there is no such key."""
        rows = re.findall(r"│ (\d+) +│ ([\d,]+)", done("keyring", "status", *database, **operator.environment))
        return {number: int(count.replace(",", "")) for number, count in rows}.get(key)

    with served.node("gb-police", "police") as station:
        before = station.create_offender(fresh_offender())
        assert done("keyring", "add", file) == "2\n"
        assert records("1")
        assert records("2") == 0
        assert in_process("keyring", "remove", file, "1", *database, **operator.environment).exit_code == 1
        assert in_process("keyring", "use", file, "3").exit_code == 1
        done("keyring", "use", file, "2")
        eventually(lambda: records("1") == 0)
        done("keyring", "remove", file, "1", *database, **operator.environment)
        after = station.create_offender(fresh_offender())
        assert records("1") is None
        assert records("2")
        for each in (before, after):
            why = OfficerContext(officer_id="x-1", purpose=PURPOSE_RECORD_MAINTENANCE)
            assert station.get_offender(each.offender.name, why).person == each.offender.person
            answer = station.check_cnic(each.offender.person.cnic, at_least_revision=after.revision)
            assert answer.outcome == OUTCOME_HIT


def test_the_keys_can_come_by_the_environment(operator: Operator, tmp_path: Path) -> None:
    text = (operator.folder / "keyring.json").read_text()
    config = tmp_path / "hub.toml"
    config.write_text(re.sub("keyring =.*", "", operator.config.read_text()))
    operator.creates("nadra-2", "nadra")
    listed = done("node", "list", "--config", config, **operator.environment, NSOR_KEYRING_TEXT=text)
    assert "nadra-2" in listed
    assert in_process("node", "list", "--config", config, **operator.environment).exit_code == 78


def test_the_port_of_a_running_hub_is_refused_to_another(operator: Operator, served: Served) -> None:
    finished = nsor_hub("serve", "--config", operator.config, **operator.environment, NSOR_LISTEN=served.target)
    assert finished.returncode == 1
    assert re.fullmatch(r"nsor-hub: .*Address already in use\n", finished.stderr)


@pytest.mark.slow
def test_a_hub_whose_user_is_above_the_rules_of_the_database_does_not_start(operator: Operator) -> None:
    superuser = operator.environment | {"NSOR_DSN": operator.postgres.dsn()}
    finished = nsor_hub("serve", "--config", operator.config, **superuser)
    assert finished.returncode == 78
    assert "the database user is a superuser" in finished.stderr


def test_secrets_are_readable_by_their_owner_only(operator: Operator) -> None:
    secrets = [operator.folder / name for name in ("keyring.json", "ca/key.pem", "hub/key.pem")]
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


def test_the_key_of_the_ca_is_encrypted(operator: Operator) -> None:
    key = (operator.folder / "ca" / "key.pem").read_bytes()
    with pytest.raises(TypeError, match="encrypted"):
        load_pem_private_key(key, None)
    load_pem_private_key(key, PASSWORD.encode())


def test_nothing_that_exists_is_overwritten(operator: Operator) -> None:
    files = [operator.folder / "keyring.json", operator.folder / "ca" / "key.pem"]
    before = [file.read_bytes() for file in files]
    again = [
        in_process("keyring", "create", files[0]),
        in_process("pki", "init-ca", "--dir", files[1].parent, **operator.environment),
    ]
    assert [result.exit_code for result in again] == [2, 2]
    assert [file.read_bytes() for file in files] == before


def test_a_wrong_password_of_the_ca_is_refused(operator: Operator) -> None:
    issue = ["pki", "issue-hub", "--ca", operator.folder / "ca", "--out", operator.folder / "none"]
    result = in_process(*issue, NSOR_CA_PASSWORD="wrong")
    assert result.exit_code == 2
    assert not (operator.folder / "none").exists()


def test_a_wrong_node_id_is_refused_in_one_line(operator: Operator) -> None:
    create = ["node", "create", "No Such Id", "--role", "police", "--config", operator.config]
    finished = nsor_hub(*create, **operator.environment)
    assert finished.returncode == 1
    assert finished.stderr.startswith("nsor-hub: ")
    assert finished.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_worth_reading(command: str) -> None:
    result = in_process(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert "--help" in result.output
    # A sentence, not only names.
    assert re.search(r"[A-Z][a-z']+ [a-z]+.*[.:]", result.output)


def test_the_settings_are_listed_with_their_variables() -> None:
    result = in_process("settings")
    assert result.exit_code == 0
    for name in HubSettings.model_fields:
        assert f"NSOR_{name.upper()}" in result.output


@pytest.mark.timeout(30)
class TestWrongSettings:
    """Exit code 78 (EX_CONFIG of sysexits.h), and the variable's name."""

    REQUIRED = ("NSOR_DSN", "NSOR_TLS_CERTIFICATE", "NSOR_TLS_KEY", "NSOR_CLIENT_CA", "NSOR_KEYRING")

    @pytest.fixture
    def settings(self, operator: Operator) -> dict[str, str]:
        """Settings in which all is right."""
        hub = operator.folder / "hub"
        files = {"NSOR_KEYRING": operator.folder / "keyring.json", "NSOR_CLIENT_CA": hub / "ca.pem"}
        files |= {"NSOR_TLS_CERTIFICATE": hub / "cert.pem", "NSOR_TLS_KEY": hub / "key.pem"}
        return {"NSOR_DSN": DSN} | {name: str(file) for name, file in files.items()}

    @pytest.mark.parametrize("command", ["serve", "migrate"])
    def test_each_one_that_is_missing_is_named(self, command: str) -> None:
        result = in_process(command)
        assert result.exit_code == 78
        assert [line.partition(":")[0] for line in result.stderr.splitlines()] == list(self.REQUIRED)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("NSOR_WORKERS", "many"),
            ("NSOR_WORKERS", "0"),
            ("NSOR_LISTEN", "7443"),
            ("NSOR_LISTEN", "127.0.0.1:99999"),
            ("NSOR_END_USER_CHECKS_BURST", "0"),
            ("NSOR_FRESHNESS_BOUND", "0"),
            ("NSOR_DSN", "no DSN"),
            ("NSOR_KEYRING", "/does/not/exist"),
            ("NSOR_TLS_CERTIFICATE", "/does/not/exist"),
            ("NSOR_TLS_KEY", "/does/not/exist"),
            ("NSOR_CLIENT_CA", "/does/not/exist"),
        ],
    )
    def test_a_wrong_value_is_named_and_no_secret_shown(self, settings: dict[str, str], name: str, value: str) -> None:
        result = in_process("serve", **settings | {name: value})
        assert result.exit_code == 78
        assert result.stderr.startswith(f"{name}: ")
        assert result.stderr.count("\n") == 1
        assert SECRET not in result.stderr

    def test_an_unknown_name_in_the_file(self, tmp_path: Path, settings: dict[str, str]) -> None:
        config = tmp_path / "hub.toml"
        config.write_text("wrokers = 2\n")
        result = in_process("serve", "--config", config, **settings)
        assert result.exit_code == 78
        assert result.stderr.startswith("NSOR_WROKERS: ")

    @pytest.mark.parametrize("text", ["workers =", "\x00", None])
    def test_a_file_that_cannot_be_read(self, tmp_path: Path, settings: dict[str, str], text: str | None) -> None:
        config = tmp_path / "hub.toml"
        if text is not None:
            config.write_text(text)
        result = in_process("serve", "--config", config, **settings)
        assert result.exit_code == 78
        assert result.stderr.startswith(f"{config}: ")


def test_a_database_that_is_not_there_is_told_in_one_line(operator: Operator) -> None:
    finished = nsor_hub("migrate", "--config", operator.config, NSOR_DSN=DSN)
    assert finished.returncode == 1
    assert finished.stderr.startswith("nsor-hub: ")
    assert "Traceback" not in finished.stderr
    assert SECRET not in finished.stderr
