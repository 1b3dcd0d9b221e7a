"""The nodes of the federation, and a call by one of them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Role(StrEnum):
    """What a node is. Names as in `nsor.common.v1.Role`, where each is documented."""

    NADRA = "NADRA"
    NPB = "NPB"
    POLICE = "POLICE"
    FIA = "FIA"
    PRISONS = "PRISONS"
    COURTS = "COURTS"
    VETTING_AGENCY = "VETTING_AGENCY"
    PUBLIC_GATEWAY = "PUBLIC_GATEWAY"
    PROSECUTION = "PROSECUTION"

    @property
    def public(self) -> bool:
        """Whether the role gets only what the disclosure policy grants the public."""
        return self in (Role.VETTING_AGENCY, Role.PUBLIC_GATEWAY)

    @property
    def follows(self) -> bool:
        """Whether nodes of the role may follow the feed."""
        return not self.public and self is not Role.PROSECUTION


class NodeState(StrEnum):
    """Whether a node may call. Names as in `nsor.federation.v1.NodeState`."""

    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    REVOKED = "REVOKED"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the federation.

    Attributes:
        id: for example "punjab-police"; stable, and part of the node's SPIFFE id.
        jurisdiction: province or territory as the gazetteer spells it; empty for national bodies.
        certificate_expires_at: end of the newest certificate; None before the first.
        state_reason: why it has its state, in the words of who changed it; empty if nobody did.
    """

    id: str
    display_name: str
    role: Role
    jurisdiction: str
    state: NodeState
    created_at: datetime
    certificate_expires_at: datetime | None = None
    state_reason: str = ""

    @property
    def name(self) -> str:
        """Resource name, for example "nodes/punjab-police"."""
        return f"nodes/{self.id}"


@dataclass(frozen=True, slots=True)
class NodeChange:
    """What was done to a node, for which request of whom.

    Attributes:
        actor: id of the node that asked.
        digest: SHA-256 over the method and the request.
        state: what the node became; None where its state did not change, as when it is created.
    """

    actor: str
    request_id: UUID
    digest: bytes
    node_id: str
    state: NodeState | None
    reason: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of a node.

    Attributes:
        pem: the certificate, followed by intermediate ones where there are any.
    """

    pem: str
    serial: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A token by which a node enrols once, and what became of it.

    Attributes:
        expires_at: end of the token.
        csr_hash: SHA-256 of the CSR that the token was first sent with; None before.
        certificate: what the CA made of that, in PEM; empty before.
    """

    node: Node
    expires_at: datetime
    csr_hash: bytes | None
    certificate: str


class Purpose(StrEnum):
    """Why an officer calls. Names as in `nsor.common.v1.Purpose`."""

    RECORD_MAINTENANCE = "RECORD_MAINTENANCE"
    INVESTIGATION = "INVESTIGATION"
    SUPERVISION = "SUPERVISION"
    VETTING = "VETTING"
    OVERSIGHT = "OVERSIGHT"


@dataclass(frozen=True, slots=True)
class Officer:
    """The officer behind a call."""

    id: str
    purpose: Purpose
    fir_number: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the node, proven by its certificate, and the officer whom it names.

    Attributes:
        method: full name of the RPC, for example "nsor.registry.v1.RegistryService/GetOffender".
    """

    node: Node
    method: str
    officer: Officer | None = None
