"""Who belongs to the federation: nodes from their creation to their end, and their certificates."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from hub.domain.audit import AuditEntry
from hub.domain.districts import PROVINCES
from hub.domain.errors import Reason, Refused, Violation, invalid
from hub.domain.node import Caller, Certificate, Enrolment, Node, NodeChange, NodeState, Role
from hub.domain.ports import AuditLog, Database, RequestKey, Transaction
from hub.pki import CsrError, is_node_id, read_csr
from hub.service.registry import request_id_reused

TOKEN_LIFETIME = timedelta(hours=24)
"""Assumed: long enough to hand a token over, short enough that a forgotten one is worth nothing."""

OPERATOR = Node("(operator)", "Operator of the hub", Role.NPB, "", NodeState.ACTIVE, datetime.min)
"""Who acts by `nsor-hub node`, on the hub's own machine. No node can have this id."""

_ENROL = "nsor.federation.v1.FederationService/EnrolNode"


class Signer(Protocol):
    """A CA for nodes, see `hub.signing`."""

    async def sign(self, node_id: str, csr_pem: bytes) -> Certificate:
        """The certificate of a node for the key in a CSR that `hub.pki.read_csr` accepts.

        Raises:
            Refused: SIGNING_UNAVAILABLE: not now; to be asked again with the same CSR.
        """
        ...


@dataclass(frozen=True, slots=True)
class Token:
    """A token by which a node enrols. Secret."""

    node: Node
    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Granted:
    """A certificate in PEM, and the node that it is for."""

    node: Node
    certificate: str


class Membership:
    """The use cases of `nsor.federation.v1.FederationService` that are about nodes.

    Args:
        secret: gives the secret for a text, the same each time, see `hub.store.vault.Vault.token`.
    """

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        signer: Signer,
        secret: Callable[[str], bytes],
        clock: Callable[[], datetime],
        token_lifetime: timedelta = TOKEN_LIFETIME,
    ) -> None:
        self._database = database
        self._audit = audit
        self._signer = signer
        self._secret = secret
        self._clock = clock
        self._token_lifetime = token_lifetime

    async def create(
        self, caller: Caller, request: RequestKey, *, id: str, display_name: str, role: Role, jurisdiction: str
    ) -> Token:
        """Creates a node, and the token by which it enrols.

        Raises:
            Refused: INVALID_FIELD, NODE_ALREADY_EXISTS, REQUEST_ID_REUSED.
        """
        if not is_node_id(id):
            raise invalid(Violation("node_id", "INVALID_ID", "has 1 to 63 lower-case letters, digits and dashes"))
        if jurisdiction and jurisdiction not in PROVINCES:
            raise invalid(Violation("node.jurisdiction", "UNKNOWN_PROVINCE", "is not a province in the gazetteer"))
        async with self._database.transaction() as tx:
            existing = await tx.node(id)
            if past := await self._past(tx, caller, request):
                assert existing, "a request that was kept has made its node"
                return self._token(past, existing)
            if existing:
                raise Refused(Reason.NODE_ALREADY_EXISTS, "a node has this id already")
            node = Node(id, display_name, role, jurisdiction, NodeState.ACTIVE, self._clock())
            await tx.insert_node(node)
            return await self._new_token(tx, caller, request, node)

    async def create_token(self, caller: Caller, request: RequestKey, node_id: str) -> Token:
        """Creates a further token; the unused ones of the node are void.

        Raises:
            Refused: NODE_NOT_FOUND, NODE_REVOKED, REQUEST_ID_REUSED.
        """
        async with self._database.transaction() as tx:
            node = (await tx.lock_nodes([node_id])).get(node_id)
            if node is None:
                raise _node_not_found()
            if past := await self._past(tx, caller, request):
                return self._token(past, node)
            if node.state is NodeState.REVOKED:
                raise _node_revoked()
            return await self._new_token(tx, caller, request, node)

    async def set_state(self, caller: Caller, request: RequestKey, node_id: str, state: NodeState, reason: str) -> Node:
        """Lets a node in or keeps it out. Sent again, it gives the node as it is.

        Raises:
            Refused: NODE_NOT_FOUND, NODE_REVOKED, NODE_IS_CALLER, REQUEST_ID_REUSED; NODE_NOT_ACTIVE: the caller was
                thrown out meanwhile.
        """
        async with self._database.transaction() as tx:
            # Both, so that of two nodes that throw each other out one remains.
            nodes = await tx.lock_nodes({caller.node.id, node_id})
            node = nodes.get(node_id)
            if node is None:
                raise _node_not_found()
            if await self._past(tx, caller, request):
                return node
            _require_active(nodes.get(caller.node.id, caller.node))
            if node.id == caller.node.id:
                raise Refused(Reason.NODE_IS_CALLER, "a node cannot change its own state")
            if node.state is NodeState.REVOKED and state is not NodeState.REVOKED:
                raise _node_revoked()
            await self._keep(tx, caller, request, node, state, reason)
            return (await tx.lock_nodes([node_id]))[node_id]

    async def enrol(self, token: str, csr_pem: bytes) -> Granted:
        """The certificate for a token. The same token and CSR give the same one, while the token lives.

        Raises:
            Refused: CSR_INVALID, ENROLMENT_TOKEN_INVALID, NODE_NOT_ACTIVE, SIGNING_UNAVAILABLE.
        """
        _check(csr_pem)
        token_hash, csr_hash = hashlib.sha256(token.encode()).digest(), hashlib.sha256(csr_pem).digest()
        # Bound to the CSR before the CA is asked: a CA can take long, and no lock is held meanwhile.
        enrolment = await self._use(token_hash, csr_hash, "")
        if not enrolment.certificate:
            signed = await self._signer.sign(enrolment.node.id, csr_pem)
            enrolment = await self._use(token_hash, csr_hash, signed.pem, signed)
        return Granted(enrolment.node, enrolment.certificate)

    async def renew(self, caller: Caller, csr_pem: bytes) -> Granted:
        """A further certificate for the caller.

        Raises:
            Refused: CSR_INVALID, SIGNING_UNAVAILABLE, NODE_NOT_ACTIVE.
        """
        _check(csr_pem)
        signed = await self._signer.sign(caller.node.id, csr_pem)
        async with self._database.transaction() as tx:
            node = (await tx.lock_nodes([caller.node.id]))[caller.node.id]
            _require_active(node)
            await tx.insert_certificate(node.id, signed.serial, signed.expires_at)
            await tx.append_audit([self._entry(caller, node)])
        return Granted(node, signed.pem)

    async def _use(self, token_hash: bytes, csr_hash: bytes, pem: str, signed: Certificate | None = None) -> Enrolment:
        """Binds a token to a CSR and, if there is one, its first certificate. Gives what stands then."""
        async with self._database.transaction() as tx:
            enrolment = await tx.lock_enrolment(token_hash)
            cause = self._flaw(enrolment, csr_hash)
            if enrolment and not cause:
                _require_active(enrolment.node)
                if enrolment.certificate:
                    return enrolment
                await tx.update_enrolment(token_hash, csr_hash, pem)
                if signed:
                    await tx.insert_certificate(enrolment.node.id, signed.serial, signed.expires_at)
                    await tx.append_audit([self._entry(Caller(enrolment.node, _ENROL), enrolment.node)])
                return Enrolment(enrolment.node, enrolment.expires_at, csr_hash, pem)
        if enrolment:
            caller = Caller(enrolment.node, _ENROL)
            await self._audit.append(self._entry(caller, enrolment.node, Reason.ENROLMENT_TOKEN_INVALID))
        raise Refused(Reason.ENROLMENT_TOKEN_INVALID, "the enrolment token lets nobody in", metadata={"cause": cause})

    def _flaw(self, enrolment: Enrolment | None, csr_hash: bytes) -> str:
        """Why a token lets nobody in; empty if it does."""
        if enrolment is None:
            return "unknown"
        if self._clock() >= enrolment.expires_at:
            return "expired"
        return "" if enrolment.csr_hash in (None, csr_hash) else "used"

    async def _past(self, tx: Transaction, caller: Caller, request: RequestKey) -> NodeChange | None:
        """What was done for this request before, if it is a retry."""
        past = await tx.past_node_change(caller.node.id, request.id)
        if past and past.digest != request.digest:
            raise request_id_reused()
        return past

    async def _new_token(self, tx: Transaction, caller: Caller, request: RequestKey, node: Node) -> Token:
        token = self._token(await self._keep(tx, caller, request, node, None, ""), node)
        await tx.replace_enrolment(node.id, hashlib.sha256(token.text.encode()).digest(), token.expires_at)
        return token

    def _token(self, change: NodeChange, node: Node) -> Token:
        secret = self._secret(f"{node.id}|{change.actor}|{change.request_id}")
        text = base64.urlsafe_b64encode(secret).decode().rstrip("=")
        return Token(node, text, change.changed_at + self._token_lifetime)

    async def _keep(
        self,
        tx: Transaction,
        caller: Caller,
        request: RequestKey,
        node: Node,
        state: NodeState | None,
        reason: str,
    ) -> NodeChange:
        now = self._clock()
        change = NodeChange(caller.node.id, request.id, request.digest, node.id, state, reason, now)
        await tx.insert_node_change(change)
        await tx.append_audit([self._entry(caller, node)])
        return change

    def _entry(self, caller: Caller, node: Node, decision: str = "ALLOWED") -> AuditEntry:
        return AuditEntry(self._clock(), caller, node.name.encode(), decision)


def _check(csr_pem: bytes) -> None:
    try:
        read_csr(csr_pem)
    except CsrError as error:
        message = "the request for a certificate cannot be signed"
        raise Refused(Reason.CSR_INVALID, message, metadata={"cause": error.cause}) from None


def _require_active(node: Node) -> None:
    if node.state is not NodeState.ACTIVE:
        raise Refused(Reason.NODE_NOT_ACTIVE, "this node is not active", metadata={"state": node.state})


def _node_not_found() -> Refused:
    return Refused(Reason.NODE_NOT_FOUND, "there is no such node")


def _node_revoked() -> Refused:
    return Refused(Reason.NODE_REVOKED, "the node was revoked, which is for ever")
