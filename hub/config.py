"""The hub's settings: from environment variables (`NSOR_…`) or a TOML file, the environment first."""

import os
import tomllib
from pathlib import Path
from typing import Self

from pydantic import DirectoryPath, Field, FilePath, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class HubSettings(BaseSettings):
    """Everything that an operator can set. Names in the environment: `NSOR_` and the name, in capitals."""

    model_config = SettingsConfigDict(env_prefix="NSOR_", extra="forbid")

    dsn: SecretStr = Field(
        description="PostgreSQL, as postgresql://USER:PASSWORD@HOST:PORT/DATABASE; a user in the role nsor_app."
    )
    owner_dsn: SecretStr | None = Field(
        default=None, description="The same for the owner of the tables; only `nsor-hub migrate` needs it."
    )
    listen: str = Field(default="127.0.0.1:7443", description="HOST:PORT; port 0 takes any that is free.")
    enrol_listen: str = Field(
        default="",
        description="HOST:PORT where nodes without a certificate enrol by token; empty: nowhere.",
    )
    workers: int = Field(default=2, ge=1, le=64, description="Worker processes on the one port.")
    tls_certificate: FilePath = Field(description="The hub's certificate, with its chain, in PEM.")
    tls_key: FilePath = Field(description="Private key of the hub's certificate, in PEM.")
    client_ca: FilePath = Field(description="CA of the nodes' certificates, in PEM; both, while one replaces another.")
    ca_certificate: FilePath | None = Field(
        default=None,
        description="Certificate of the built-in CA that signs for nodes, as `nsor-hub pki init-ca` makes it.",
    )
    ca_key: FilePath | None = Field(default=None, description="Its private key, encrypted.")
    ca_password: SecretStr = Field(default=SecretStr(""), description="Password of that key.")
    csr_outbox: DirectoryPath | None = Field(
        default=None, description="Instead of a built-in CA: folder of requests for an external CA, NAME.csr."
    )
    csr_inbox: DirectoryPath | None = Field(
        default=None, description="Folder into which that CA puts its answers, NAME.pem."
    )
    csr_wait: float = Field(
        default=5, ge=0, le=60, description="Seconds that a call waits for the external CA before it says: retry."
    )
    keyring_text: SecretStr = Field(
        default=SecretStr(""), description="What the file `keyring` would hold, where secrets come as variables."
    )
    keyring: FilePath | None = Field(
        default=None,
        validate_default=True,
        description="File of the keys for personal data, as `nsor-hub keyring create` makes it.",
    )
    trust_domain: str = Field(default="nsor.internal", description="SPIFFE trust domain of the federation.")
    freshness_bound: float = Field(
        default=5,
        gt=0,
        le=300,
        description="Seconds after which data is stale, and checks end with OUTCOME_CANNOT_ANSWER.",
    )
    node_checks_per_second: float = Field(
        default=1000,
        ge=0,
        description="Numbers that a node may ask about a second, in the long run, at one worker; 0: no limit. Assumed.",
    )
    node_checks_burst: int = Field(default=20_000, ge=1, description="And at once, after a pause. Assumed.")
    officer_checks_per_second: float = Field(
        default=50, ge=0, description="The same for an officer of a node; 0: no limit. Assumed."
    )
    officer_checks_burst: int = Field(default=5000, ge=1, description="And at once, after a pause. Assumed.")
    end_user_checks_per_hour: float = Field(
        default=20, ge=0, description="The same for a person behind a gateway, an hour; 0: no limit. Assumed."
    )
    end_user_checks_burst: int = Field(default=20, ge=1, description="And at once, after a pause. Assumed.")
    near_numbers_alarm: int = Field(
        default=20,
        ge=0,
        description="Numbers in an hour, alike but for the last 3 digits, that raise an alarm about who asks; 0: never."
        " Assumed.",
    )
    misses_alarm: int = Field(
        default=10_000, ge=0, description="Checks in an hour without a record that do; 0: never. Assumed."
    )
    askers_alarm: int = Field(
        default=20, ge=0, description="Askers about one number in an hour that raise an alarm; 0: never. Assumed."
    )
    watch_list_limit: int = Field(
        default=100_000, ge=1, description="People on the watch list of a node at most. Assumed."
    )
    alert_retention_days: float = Field(
        default=400,
        gt=0,
        description="Days for which an alert about a watch list is kept once it was sent; while the person is on the"
        " list and on the register it is kept in any case. Assumed.",
    )
    consent_minutes: float = Field(
        default=10, gt=0, le=60, description="Minutes for which the passcode of a person's consent is good."
    )
    consent_tries: int = Field(default=3, ge=1, le=10, description="Tries at that passcode.")
    person_consents_per_hour: int = Field(
        default=3,
        ge=1,
        le=100,
        description="Times that a person is asked for consent in an hour, by all nodes. Assumed.",
    )
    node_consents_per_hour: int = Field(
        default=1000, ge=1, le=100_000, description="Consents that a node may ask for in an hour. Assumed."
    )
    database_pool: int = Field(default=8, ge=2, le=100, description="Database connections of each worker at most.")
    feed_retention_days: float = Field(
        default=7,
        gt=0,
        description="Days for which the feed can be resumed; afterwards a node takes a snapshot. Assumed.",
    )
    transfer_days: float = Field(
        default=14,
        gt=0,
        description="Days to answer a proposed transfer; afterwards it is overdue, and NPB sees to it. Assumed.",
    )
    duplicate_likeness: float = Field(
        default=0.9,
        ge=0.5,
        le=2,
        description="Likeness by names and date of birth, up to 1, from which somebody who is entered is taken for"
        " somebody on the register, unless the caller says why not; above 1: never. Assumed.",
    )
    forwarding_hours: float = Field(
        default=48,
        gt=0,
        description="Hours in which a prosecutor is to forward a request for access, by the Act; afterwards NPB may"
        " decide without.",
    )
    access_days: float = Field(
        default=30, gt=0, le=3660, description="Days for which access to a record is granted at most. Assumed."
    )
    reflection: bool = Field(
        default=False, description="Whether gRPC reflection is on, for any holder of a certificate of our CA."
    )

    @field_validator("dsn", "owner_dsn")
    @classmethod
    def _is_postgresql(cls, dsn: SecretStr | None) -> SecretStr | None:
        # The value is a secret, so it is not quoted.
        if dsn and not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("must begin with postgresql://")
        return dsn

    @field_validator("listen", "enrol_listen")
    @classmethod
    def _is_address(cls, listen: str, field: ValidationInfo) -> str:
        if not listen and field.field_name == "enrol_listen":
            return listen
        host, _, port = listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("must be HOST:PORT")
        return listen

    @field_validator("keyring")
    @classmethod
    def _keys_are_given_once(cls, keyring: Path | None, field: ValidationInfo) -> Path | None:
        if "keyring_text" in field.data and bool(keyring) == bool(field.data["keyring_text"].get_secret_value()):
            raise ValueError("set it, or keyring_text")
        return keyring

    @model_validator(mode="after")
    def _signer_is_whole(self) -> Self:
        built_in, external = (self.ca_certificate, self.ca_key), (self.csr_outbox, self.csr_inbox)
        if all(built_in) != any(built_in) or all(external) != any(external) or (all(built_in) and all(external)):
            raise ValueError("set ca_certificate and ca_key, or csr_outbox and csr_inbox, or none of them")
        if self.enrol_listen and not (all(built_in) or all(external)):
            raise ValueError("enrol_listen needs a CA that signs: ca_certificate or csr_outbox")
        return self

    @classmethod
    def load(cls, file: Path | None) -> "HubSettings":
        """Reads the settings.

        Args:
            file: TOML file, or None for the environment alone.

        Raises:
            pydantic.ValidationError: naming each setting that is missing or wrong.
            tomllib.TOMLDecodeError: the file is not TOML.
        """
        values = tomllib.loads(file.read_text()) if file else {}
        return cls(**{name: value for name, value in values.items() if f"NSOR_{name}".upper() not in os.environ})
