"""What the use cases need of the outside: implemented by `hub.store`, `hub.audit` and `hub.lookup`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol
from uuid import UUID

from hub.domain.access import AccessRequest, AccessState, Audience
from hub.domain.alarm import Alarm
from hub.domain.audit import AuditEntry
from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, Passcode
from hub.domain.disclosure import DisclosurePolicy
from hub.domain.documents import Document
from hub.domain.feed import Propagation
from hub.domain.filters import Filter
from hub.domain.history import Version
from hub.domain.node import Enrolment, Node, NodeChange
from hub.domain.notice import Notice
from hub.domain.offender import Conviction, Offender, Transfer
from hub.domain.revision import Revision
from hub.domain.search import Wanted


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What makes a retry recognisable.

    Attributes:
        id: the caller's request_id.
        digest: SHA-256 over the method and the request; another request under the same id is refused.
    """

    id: UUID
    digest: bytes


@dataclass(frozen=True, slots=True)
class PastRequest:
    """A mutation that a node made before under a request_id: what it wrote, and its revision."""

    digest: bytes
    record_id: UUID
    version: int
    revision: Revision


@dataclass(frozen=True, slots=True)
class Write:
    """A mutation about to be committed: what was written, for which request, and its audit entry."""

    record: Offender | Notice
    request: RequestKey
    audit: AuditEntry


@dataclass(frozen=True, slots=True)
class Consequence:
    """What the mutation of another record made of a record, about to be committed with it, and its audit entry."""

    record: Offender
    audit: AuditEntry


@dataclass(frozen=True, slots=True)
class AccessPlace:
    """A place in the list of requests for access.

    Attributes:
        as_of: by this time it is told what is overdue; the same for all pages of a list.
        overdue: whether the request at the place was.
        id: of that request; None before the first one.
    """

    as_of: datetime
    overdue: bool = True
    id: UUID | None = None


class AccessRequests(Protocol):
    """Requests for access, in a transaction."""

    async def insert(self, asked: AccessRequest) -> None:
        """Writes a new request, but for its first step."""
        ...

    async def add_step(self, taken: AccessRequest, request: RequestKey) -> None:
        """Writes the newest step of a request, which the caller holds locked; the record must not be sealed."""
        ...

    async def past(self, node_id: str, request_id: UUID) -> tuple[bytes, AccessRequest] | None:
        """The request as a node's step left it that it took for this request_id, and the digest of that."""
        ...

    async def get(self, id: UUID, audience: Audience, *, lock: bool = False) -> AccessRequest | None:
        """A request; `lock` keeps others from taking a step, and the record from being sealed, until the end."""
        ...

    async def list(
        self, audience: Audience, *, state: AccessState | None, overdue_only: bool, after: AccessPlace, limit: int
    ) -> Sequence[AccessRequest]:
        """Requests about records that stand, those first that are overdue, then the newest."""
        ...

    async def in_force(self, node_id: str, offender_id: UUID, now: datetime) -> Sequence[AccessRequest]:
        """Requests of a node about a record that are granted and have not expired: the newest 100."""
        ...


class Consents(Protocol):
    """Consents of people to be checked, in a transaction."""

    async def take_turn(self) -> None:
        """Lets nobody else ask for consents until the transaction ends, so that limits hold and places ascend."""
        ...

    async def past(self, node_id: str, request_id: UUID) -> tuple[bytes, Consent] | None:
        """The consent that a node asked for by this request before, and the digest of that."""
        ...

    async def nth_newest_of_person(self, cnic_index: bytes, n: int) -> datetime | None:
        """When the n-th newest consent of a person was asked for, by whomever; None if there are fewer."""
        ...

    async def nth_newest_of_node(self, node_id: str, n: int) -> datetime | None:
        """When a node asked for the n-th newest of its consents; None if there are fewer."""
        ...

    async def insert(self, asked: Consent, cnic: Cnic, code: str, request: RequestKey) -> None:
        """Writes a consent, with the passcode to be brought to the person. The caller has taken its turn."""
        ...

    async def lock(self, id: UUID) -> Consent | None:
        """A consent; others cannot use it until the transaction ends."""
        ...

    async def update_tries(self, tried: Consent) -> None:
        """Writes how many tries a consent has left."""
        ...

    async def undelivered(self, *, after: int, now: datetime, limit: int) -> Sequence[Passcode]:
        """Passcodes that were not acknowledged, have not expired and can be opened, after a place, in order."""
        ...

    async def erase_passcode(self, id: UUID) -> bytes | None:
        """Erases the passcode and the number that were kept to be brought; gives the blind index of the person."""
        ...

    async def sweep(self, now: datetime, *, before: datetime) -> None:
        """Erases passcodes that have expired, and removes consents that were asked for before a time."""
        ...


class Transaction(Protocol):
    """One database transaction. Nothing of it stands unless the block that opened it ends well."""

    @property
    def consents(self) -> Consents:
        """The consents."""
        ...

    @property
    def access_requests(self) -> AccessRequests:
        """The requests for access."""
        ...

    async def past_requests(self, node_id: str, ids: Collection[UUID]) -> Mapping[UUID, PastRequest]:
        """The mutations that a node made before under these request_ids."""
        ...

    async def insert_offenders(self, versions: Sequence[Version]) -> set[UUID]:
        """Enters records, but for those of which a document is on the register already, or a conviction was set aside
        before. Gives the ids entered."""
        ...

    async def holders(self, documents: Collection[Document]) -> Mapping[Document, Offender]:
        """The records that stand under these documents, now or formerly the person's; sealed ones do not."""
        ...

    async def set_aside(
        self, convictions: Collection[tuple[Document, Conviction]]
    ) -> Mapping[tuple[Document, Conviction], UUID]:
        """Those of these convictions of people that were set aside after they were pronounced, and in which record."""
        ...

    async def insert_set_aside(self, offender_id: UUID, document: Document, conviction: Conviction, day: date) -> None:
        """Keeps that a conviction of a record was set aside on a day."""
        ...

    async def offenders_at(self, versions: Collection[tuple[UUID, int]]) -> Mapping[UUID, Offender]:
        """Records as they were at these versions."""
        ...

    async def offender(self, offender_id: UUID, *, lock: bool = False) -> Offender | None:
        """A record as it is now; `lock` keeps others from changing it until the transaction ends."""
        ...

    async def list_offenders(
        self, *, owner: str | None, before: UUID | None, limit: int, where: Filter = ()
    ) -> Sequence[Offender]:
        """Records, newest first, older than `before`."""
        ...

    async def search(self, wanted: Wanted, *, limit: int) -> tuple[Sequence[Offender], bool]:
        """The records that have most in common with what is wanted, and whether there are more than `limit`."""
        ...

    async def sharing(self, keys: Collection[str]) -> Sequence[Offender]:
        """The records that have one of these keys; a bounded number of them."""
        ...

    async def merged_into(self, offender_id: UUID) -> Sequence[Offender]:
        """The records that were merged into one, locked."""
        ...

    async def update_offender(self, before: Offender, version: Version) -> bool:
        """Writes the next version of a locked record; one that is sealed loses all that was personal, in every version.

        False: another record has a document that this one came to have, and the transaction must not be committed.

        Args:
            before: the record as it stands.
        """
        ...

    async def versions(self, offender_id: UUID, *, before: int | None, limit: int) -> Sequence[Version]:
        """Versions of a record, newest first, older than `before`."""
        ...

    async def list_transfers(
        self, *, parties: Collection[str], overdue_at: datetime | None, before: UUID | None, limit: int
    ) -> Sequence[Transfer]:
        """Open proposals of records older than `before`, newest record first.

        Args:
            parties: ids of nodes; each must be the sender or the receiver.
            overdue_at: only those that are overdue at this time; None for all.
        """
        ...

    async def propagation(self, offender_id: UUID) -> Propagation | None:
        """How far the newest version of a record has come to the nodes that may follow the feed."""
        ...

    async def insert_notice(self, recorded: Notice) -> None:
        """Writes a notice."""
        ...

    async def notice(self, notice_id: UUID) -> Notice | None:
        """A notice."""
        ...

    async def list_notices(self, offender_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Notice]:
        """Notices of an offender, newest first, older than `before`."""
        ...

    async def list_nodes(self, *, after: str, limit: int) -> Sequence[Node]:
        """Nodes by id, after `after`."""
        ...

    async def node(self, node_id: str) -> Node | None:
        """A node."""
        ...

    async def insert_node(self, new: Node) -> None:
        """Writes a new node."""
        ...

    async def lock_nodes(self, ids: Collection[str]) -> Mapping[str, Node]:
        """These nodes, as far as they exist; others cannot change them until the transaction ends."""
        ...

    async def past_node_change(self, actor: str, request_id: UUID) -> NodeChange | None:
        """What was done to a node for this request before."""
        ...

    async def insert_node_change(self, change: NodeChange) -> None:
        """Keeps what was done to a node, and gives the node the state that it names."""
        ...

    async def replace_enrolment(self, node_id: str, token_hash: bytes, expires_at: datetime) -> None:
        """Writes a token of a node, and forgets those of its tokens that brought no certificate."""
        ...

    async def lock_enrolment(self, token_hash: bytes) -> Enrolment | None:
        """A token; others cannot change it until the transaction ends."""
        ...

    async def update_enrolment(self, token_hash: bytes, csr_hash: bytes, certificate: str) -> None:
        """Binds a token to a CSR, and to the certificate in PEM once there is one."""
        ...

    async def insert_certificate(self, node_id: str, serial: int, expires_at: datetime) -> None:
        """Enrols a certificate of a node, by its serial number; of more than 16 the oldest is out."""
        ...

    async def nodes_by_serial(self) -> Mapping[int, Node]:
        """The node of each enrolled certificate, by the certificate's serial number."""
        ...

    async def disclosure_policy(self) -> DisclosurePolicy:
        """The newest policy."""
        ...

    async def past_disclosure_policy(self, updater: str, request_id: UUID) -> tuple[bytes, DisclosurePolicy] | None:
        """The policy that a node made for this request before, and the request's digest."""
        ...

    async def insert_disclosure_policy(self, policy: DisclosurePolicy, request: RequestKey) -> None:
        """Writes a policy that a node made for a request."""
        ...

    async def insert_alarms(self, alarms: Sequence[Alarm]) -> None:
        """Writes alarms; those that are there already stay as they are."""
        ...

    async def list_alarms(self, *, before: UUID | None, limit: int) -> Sequence[Alarm]:
        """Alarms, newest first, older than `before`."""
        ...

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Writes audit entries."""
        ...

    async def book(self, writes: Sequence[Write], consequences: Sequence[Consequence] = ()) -> Revision:
        """Adds what goes with every mutation: the event for the feed, the requests, the audit entries."""
        ...


class Database(Protocol):
    """Where the register is kept."""

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Writes audit entries that go with no write, all or none. One call at a time.

        Raises:
            Refused: DATABASE_UNAVAILABLE.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Opens a transaction: committed when the block ends, rolled back when it raises.

        Raises:
            Refused: DATABASE_UNAVAILABLE, from any use of the transaction.
        """
        ...


class AuditLog(Protocol):
    """Where accesses that write nothing leave their trace."""

    async def append(self, *entries: AuditEntry) -> None:
        """Returns once the entries are durable, all or none of them.

        Raises:
            Refused: DATABASE_UNAVAILABLE: not known to be durable, so there must be no answer.
        """
        ...
