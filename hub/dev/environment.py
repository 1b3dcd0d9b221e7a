"""A whole hub on one machine: its database, its CA, its keys and the nodes of the federation, kept in one folder.

    DIR/postgres             the database cluster
    DIR/ca/{cert,key}.pem    the development CA
    DIR/hub/{cert,key,ca}.pem   the hub's own certificate
    DIR/keyring.json         keys for personal data
    DIR/nodes/NODE/{cert,key,ca}.pem   credentials of each node

It is for development and demonstration: the CA's key lies beside the rest, without a password.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from cryptography import x509
from psycopg import sql
from pydantic import SecretStr

from hub.config import HubSettings
from hub.dev.postgres import EmbeddedPostgres
from hub.domain.node import Node, NodeState, Role
from hub.pki import CertificateAuthority, write_credentials, write_private
from hub.service import nodes
from hub.store.database import PostgresDatabase
from hub.store.vault import Keyring, Vault

TRUST_DOMAIN = "nsor.internal"
HUB_USER = "nsor_hub"
_RENEW_BEFORE = timedelta(days=7)

# The nodes of the demonstration: id, name for people, role, jurisdiction.
_NODES = (
    ("nadra", "National Database and Registration Authority", Role.NADRA, ""),
    ("npb", "National Police Bureau", Role.NPB, ""),
    ("punjab-police", "Punjab Police", Role.POLICE, "Punjab"),
    ("sindh-police", "Sindh Police", Role.POLICE, "Sindh"),
    ("punjab-prosecution", "Public Prosecution Department, Punjab", Role.PROSECUTION, "Punjab"),
    ("sindh-prosecution", "Public Prosecution Department, Sindh", Role.PROSECUTION, "Sindh"),
    ("lahore-high-court", "Lahore High Court", Role.COURTS, "Punjab"),
    ("fia", "Federal Investigation Agency", Role.FIA, ""),
    ("sed-punjab", "School Education Department, Punjab", Role.VETTING_AGENCY, "Punjab"),
    ("sms-7000", "SMS bridge of shortcode 7000", Role.PUBLIC_GATEWAY, ""),
)


class DevEnvironment:
    """The folder of a development hub. `start` makes what is missing and keeps what is there.

    Args:
        folder: DIR; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder.resolve()
        self.postgres = EmbeddedPostgres(self._folder / "postgres")

    @property
    def nodes_dir(self) -> Path:
        """Where each node's credentials are."""
        return self._folder / "nodes"

    def start(self, listen: str, enrol_listen: str, workers: int) -> HubSettings:
        """Starts the database, brings everything up to date, and gives the settings to run the hub with."""
        self.postgres.start()
        from hub.store.migrating import migrate  # half a second, which no other command shall wait

        migrate(self.postgres.dsn())
        dsn = hub_user(self.postgres)
        keyring_file = self._folder / "keyring.json"
        if not keyring_file.exists():
            write_private(keyring_file, Keyring.generate().dump().encode())
        now = datetime.now(UTC)
        ca = self._ca(now)
        hub_dir = self._folder / "hub"
        write_credentials(
            hub_dir, ca.issue_server(TRUST_DOMAIN, ["localhost"], ["127.0.0.1", "::1"], now=now), ca.cert_pem
        )
        asyncio.run(self._enrol_nodes(dsn, Vault(lambda: Keyring.load(keyring_file.read_text())), ca, now))
        return HubSettings(
            dsn=SecretStr(dsn),
            listen=listen,
            enrol_listen=enrol_listen,
            workers=workers,
            tls_certificate=hub_dir / "cert.pem",
            tls_key=hub_dir / "key.pem",
            client_ca=hub_dir / "ca.pem",
            ca_certificate=self._folder / "ca" / "cert.pem",
            ca_key=self._folder / "ca" / "key.pem",
            keyring=keyring_file,
            trust_domain=TRUST_DOMAIN,
        )

    def keep_alive(self) -> None:
        """Starts the database again if it is gone."""
        if not self.postgres.running:
            self.postgres.start()

    def _ca(self, now: datetime) -> CertificateAuthority:
        cert_file, key_file = self._folder / "ca" / "cert.pem", self._folder / "ca" / "key.pem"
        if key_file.exists():
            return CertificateAuthority.load(cert_file.read_bytes(), key_file.read_bytes())
        ca = CertificateAuthority.create("NSOR development CA", now=now)
        write_private(key_file, ca.key_pem())
        write_private(cert_file, ca.cert_pem)
        return ca

    async def _enrol_nodes(self, dsn: str, vault: Vault, ca: CertificateAuthority, now: datetime) -> None:
        database = PostgresDatabase(dsn, vault)
        for id, display_name, role, jurisdiction in _NODES:
            folder = self.nodes_dir / id
            if _good_until(folder / "cert.pem") > now + _RENEW_BEFORE:
                continue
            issued = ca.issue_node(TRUST_DOMAIN, id, now=now)
            node = Node(id, display_name, role, jurisdiction, NodeState.ACTIVE, now)
            await nodes.enrol(database, node, issued.serial, issued.not_after)
            write_credentials(folder, issued, ca.cert_pem)
        await database.close()


def hub_user(postgres: EmbeddedPostgres) -> str:
    """The DSN of a user that may do what a hub must and no more; made where it is missing. Migrate before."""
    with psycopg.connect(postgres.dsn()) as connection:
        password = sql.Literal(connection.info.password)
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [HUB_USER]).fetchone():
            create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE nsor_app")
            connection.execute(create.format(sql.Identifier(HUB_USER), password))
    return postgres.dsn(user=HUB_USER)


def _good_until(cert_file: Path) -> datetime:
    if not cert_file.exists():
        return datetime.min.replace(tzinfo=UTC)
    return x509.load_pem_x509_certificate(cert_file.read_bytes()).not_valid_after_utc
