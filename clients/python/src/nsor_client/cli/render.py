"""How the command shows messages to people."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from nsor.federation.v1.federation_service_pb2 import (
    Change,
    GetFederationStatusResponse,
    NodeProgress,
    WatchChangesResponse,
)
from nsor.federation.v1.node_pb2 import Node
from nsor.lookup.v1.alarm_pb2 import LookupAlarm
from nsor.lookup.v1.disclosure_pb2 import DisclosurePolicy
from nsor.lookup.v1.lookup_service_pb2 import CannotAnswerReason, CheckCnicResponse, DisclosedPerson, Outcome
from nsor.monitoring.v1.notice_pb2 import Notice
from nsor.registry.v1.access_request_pb2 import AccessRequest, AccessRequestState, AccessScope, AccessStep
from nsor.registry.v1.offender_pb2 import (
    Conviction,
    GuardianRelation,
    IdentityHistory,
    Offender,
    Person,
    Sex,
    Transfer,
)
from nsor.registry.v1.registry_service_pb2 import GetPropagationResponse, OffenderRevision
from nsor_client.following import LineState

_OUTCOMES = {
    Outcome.OUTCOME_HIT: ("HIT", "The holder of this number is a convict on the register."),
    Outcome.OUTCOME_NO_RECORD: (
        "NO RECORD",
        "Nothing that may be disclosed stands under this number. It does not mean that the person has no "
        "convictions. Compare the number with the card: a typing error can be another person's number.",
    ),
    Outcome.OUTCOME_INVALID_CNIC: (
        "NOT A CNIC",
        "The text does not hold exactly one 13-digit number. Nobody was checked.",
    ),
    Outcome.OUTCOME_CANNOT_ANSWER: (
        "CANNOT ANSWER",
        "The hub cannot answer now. Nobody was checked: ask again later.",
    ),
}
_CANNOT_ANSWER = {
    CannotAnswerReason.CANNOT_ANSWER_REASON_STALE_DATA: (
        "The data may be out of date. Nobody was checked: ask again later."
    ),
    CannotAnswerReason.CANNOT_ANSWER_REASON_DISCLOSURE_OFF: (
        "The disclosure policy of NPB does not allow this node an answer. Nobody was checked."
    ),
    CannotAnswerReason.CANNOT_ANSWER_REASON_CONSENT_NEEDED: (
        "The person must agree first: nsor consent request. Nobody was checked."
    ),
}


def word(message: Message, field: str) -> str:
    """The value of an enum field in plain words; its number where it is newer than this SDK."""
    kind = message.DESCRIPTOR.fields_by_name[field].enum_type
    number: int = getattr(message, field)
    if kind is None or number not in kind.values_by_number:
        return str(number)
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return kind.values_by_number[number].name.removeprefix(prefix).lower().replace("_", " ")


def clean(text: str) -> str:
    """Text of somebody else, without the control characters that would command the terminal."""
    return "".join(c for c in text if unicodedata.category(c) != "Cc")


def moment(time: Timestamp) -> str:
    """A time in the zone of this machine."""
    return f"{time.ToDatetime(UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def person(who: Person | DisclosedPerson) -> str:
    """For example "Ali Khan (علی خان), son of Ahmed Khan"."""
    if not who.full_name:
        return ""
    child = {Sex.SEX_MALE: "son", Sex.SEX_FEMALE: "daughter"}.get(who.sex, "child")
    relation = "wife" if who.guardian_relation == GuardianRelation.GUARDIAN_RELATION_HUSBAND else child
    names = (
        f"{latin} ({urdu})" if urdu else latin
        for latin, urdu in ((who.full_name, who.full_name_ur), (who.guardian_name, who.guardian_name_ur))
    )
    return clean(f", {relation} of ".join(names))


def check(response: CheckCnicResponse) -> str:
    """The outcome of a check, the person as far as disclosed, and for when it holds."""
    title, _ = _outcome(response)
    lines = [f"{title}  {response.masked_cnic}".rstrip(), meaning(response)]
    if name := person(response.person):
        lines.insert(1, name)
    if response.HasField("as_of_time"):
        lines.append(f"As the register was known at {moment(response.as_of_time)}.")
    if response.outcome == Outcome.OUTCOME_NO_RECORD:
        lines.append(_provinces(response))
    return "\n".join(lines)


def meaning(response: CheckCnicResponse) -> str:
    """What an outcome means, and of one that is no answer why there is none."""
    return _CANNOT_ANSWER.get(response.cannot_answer_reason, _outcome(response)[1])


def _outcome(response: CheckCnicResponse) -> tuple[str, str]:
    return _OUTCOMES.get(response.outcome, _OUTCOMES[Outcome.OUTCOME_CANNOT_ANSWER])


def _provinces(response: CheckCnicResponse | GetFederationStatusResponse) -> str:
    """Up to when the hub has the records of every province."""
    if not response.HasField("provinces_as_of_time"):
        return "Up to when the records of every province are here is not known: one has not reported."
    return f"The records of every province are here up to {moment(response.provinces_as_of_time)}."


def policy(found: DisclosurePolicy) -> str:
    """What the public is told, a line for each role and channel."""
    rows = [(word(rule, "role"), word(rule, "channel"), word(rule, "mode")) for rule in found.rules]
    lines = table([("role", "channel", "is told"), *sorted(rows)])
    lines.append(f"A conviction under appeal {'is' if found.disclose_under_appeal else 'is not'} disclosed to them.")
    lines.append(f"Since {moment(found.update_time)}{f', by {found.updater}' if found.updater else ''}.")
    return "\n".join(map(clean, lines))


def alarm(found: LookupAlarm) -> str:
    """An alarm in a line."""
    who = " ".join(filter(None, (found.node, found.officer_id)))
    since = f"{found.check_count} since {moment(found.begin_time)}"
    return clean("  ".join(filter(None, (moment(found.create_time), word(found, "kind"), since, who))))


def offender(record: Offender) -> str:
    """A whole record; of one that is sealed or merged, what is left."""
    fields = {"record": record.name}
    if record.HasField("person"):
        fields |= {
            "known by": _documents(record.person),
            "name": person(record.person),
            "sex, born": f"{word(record.person, 'sex')}, {record.person.date_of_birth}",
            "district": record.district,
        }
    fields |= {
        "status": word(record, "status"),
        "owner": record.owner,
        "changed": moment(record.update_time),
        "etag": record.etag,
    }
    if record.HasField("transfer"):
        fields["proposed"] = f"to {record.transfer.receiver}, to be answered by {moment(record.transfer.due_time)}"
    if record.merged_into:
        fields["merged"] = f"into {record.merged_into}"
    lines = [f"{label:<10} {clean(value)}" for label, value in fields.items()]
    lines += map(clean, _former(record.person.history))
    for other in record.other_identities:
        lines.append(clean(f"also       {person(other)}, born {other.date_of_birth}: {_documents(other)}"))
        lines += map(clean, _former(other.history))
    return "\n".join([*lines, *(f"conviction {_conviction(c)}" for c in record.convictions)])


def _documents(who: Person) -> str:
    """The numbers of a person's documents."""
    found = [f"CNIC {who.cnic}"] if who.cnic else []
    found += [f"NIC {who.old_nic}"] if who.old_nic else []
    return ", ".join(found + [f"passport {each.country} {each.number}" for each in who.passports])


def _former(history: IdentityHistory) -> Iterator[str]:
    """A line for each name, guardian and number that a person had before, and for their death."""
    for name in history.former_names:
        yield f"formerly   {' '.join(filter(None, (name.full_name, name.full_name_ur)))} (until {name.end_date})"
    for guardian in history.former_guardians:
        yield f"formerly   {word(guardian, 'guardian_relation')}: {guardian.guardian_name} (until {guardian.end_date})"
    for number in history.former_cnics:
        yield f"formerly   {number.cnic} (until {number.end_date})"
    if history.death_date:
        yield f"died       {history.death_date}"


def _conviction(c: Conviction) -> str:
    return clean(
        f"{c.number}: {c.offence_code} on {c.conviction_date} ({word(c, 'finality')}), victim: "
        f"{word(c, 'victim_class')}; case {c.case_number}, {c.court}; FIR {c.fir_number}, {c.police_station}"
    )


def revision(made: OffenderRevision) -> str:
    """How a version of a record came to be, in a line."""
    who = f"{made.officer.officer_id} at {made.node}" if made.officer.officer_id else made.node
    fields = [f"{made.version:>3}  {moment(made.change_time)}  {made.method.rpartition('/')[2]} by {who}"]
    fields += [", ".join(made.changed_fields)] if made.changed_fields else []
    fields += [f"because: {made.reason}"] if made.reason else []
    return clean("  ".join(fields))


def transfer(proposal: Transfer) -> str:
    """A proposed transfer in a line."""
    due = f"to be answered by {moment(proposal.due_time)}"
    return clean(f"{proposal.offender}  {proposal.sender} → {proposal.receiver}  {due}")


def access_request(asked: AccessRequest) -> str:
    """A request for access, a line for each thing; of one about a sealed record, what is left."""
    fields = {"request": asked.name, "record": asked.offender, "state": _access_state(asked)}
    fields["asks for"] = _scopes(asked.scopes)
    if asked.officer.fir_number:
        fields["FIR"] = f"{asked.officer.fir_number}, {asked.police_station}"
    asked_by = AccessStep(node=asked.node, officer=asked.officer, reason=asked.reason, time=asked.create_time)
    fields["asked"] = _step(asked_by)
    steps = (("forwarded", asked.forwarding), ("decided", asked.decision), ("revoked", asked.revocation))
    for label, step in steps:
        if step.node:
            fields[label] = _step(step)
    if asked.HasField("expire_time"):
        fields["granted"] = f"{_scopes(asked.granted_scopes)}, until {moment(asked.expire_time)}"
    fields["etag"] = asked.etag
    return "\n".join(f"{label:<10} {clean(value)}" for label, value in fields.items())


def access_request_line(asked: AccessRequest) -> str:
    """A request for access in a line."""
    fields = (asked.name, _access_state(asked), asked.node, f"FIR {asked.officer.fir_number}", _scopes(asked.scopes))
    return clean("  ".join((*fields, asked.offender)))


def _access_state(asked: AccessRequest) -> str:
    state = word(asked, "state")
    if asked.state != AccessRequestState.ACCESS_REQUEST_STATE_REQUESTED:
        return state
    overdue = asked.due_time.ToDatetime(UTC) <= datetime.now(UTC)
    return f"{state}, {'overdue since' if overdue else 'to be forwarded by'} {moment(asked.due_time)}"


def _step(step: AccessStep) -> str:
    who = f"{step.officer.officer_id} at {step.node}" if step.officer.officer_id else step.node
    return f"{moment(step.time)} by {who}{f': {step.reason}' if step.reason else ''}"


def _scopes(scopes: Iterable[AccessScope.ValueType]) -> str:
    names = {value: name.removeprefix("ACCESS_SCOPE_").lower() for name, value in AccessScope.items()}
    return ", ".join(names.get(scope, str(scope)) for scope in scopes)


def propagation(response: GetPropagationResponse) -> str:
    """A line for each node: whether it has applied a record, and when it was heard of last."""
    rows = [("node", "applied", "last acknowledged")]
    rows += [
        (
            receipt.node,
            "yes" if receipt.applied else "no",
            moment(receipt.acknowledge_time) if receipt.HasField("acknowledge_time") else "never",
        )
        for receipt in response.receipts
    ]
    return "\n".join(table(rows))


def offender_line(record: Offender) -> str:
    """A record in a line."""
    status = word(record, "status")
    fields = (record.name, record.person.cnic, status, record.district, person(record.person))
    return clean("  ".join(field for field in fields if field))


def node(found: Node) -> str:
    """A node in a line."""
    ends = f"certificate ends {moment(found.certificate_expire_time)}"
    fields = [f"{found.name:<24}", f"{word(found, 'role'):<15}", f"{word(found, 'state'):<9}"]
    fields += [ends] if found.HasField("certificate_expire_time") else []
    fields += [found.display_name, f"({found.jurisdiction})" if found.jurisdiction else ""]
    return clean("  ".join(fields)).rstrip()


def status(response: GetFederationStatusResponse) -> str:
    """How far the register is, and a line for each node that follows it."""
    head = f"register at {response.revision}, as known at {moment(response.as_of_time)}"
    head = f"{clean(head)}\n{_provinces(response)}"
    if not response.nodes:
        return f"{head}\nNo node has acknowledged anything yet."
    titles = ("node", "events behind", "seconds behind", "acknowledged", "certificate ends", "reconciled")
    rows = [(*titles, "complete up to")]
    rows += [
        (
            node.node,
            str(node.events_behind),
            f"{node.seconds_behind:.1f}",
            moment(node.acknowledge_time) if node.HasField("acknowledge_time") else "",
            moment(node.certificate_expire_time) if node.HasField("certificate_expire_time") else "",
            _reconciled(node) if node.HasField("reconcile_time") else "",
            f"{moment(node.complete_time)} by {node.slowest_outbox_id}" if node.HasField("complete_time") else "",
        )
        for node in response.nodes
    ]
    return "\n".join([head, *table(rows)])


def _reconciled(node: NodeProgress) -> str:
    found = node.reconcile_found
    return f"{moment(node.reconcile_time)}: {found.only_at_hub} only at hub, {found.only_at_node} only at node"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines with columns as wide as they need to be."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [clean("  ".join(map(str.ljust, row, widths))).rstrip() for row in rows]


def line_state(state: LineState) -> str:
    """Whether a watch is connected, and if not, why and until when."""
    if state.error is None:
        return "connected"
    return clean(f"no line, next try in {state.wait:.1f} s: {state.error.message}")


def notice(record: Notice) -> str:
    """A notice in a line."""
    match record.WhichOneof("detail"):
        case "name_change":
            change = record.name_change
            what = f"new name {change.full_name} since {change.effective_date}"
        case "address_change":
            move = record.address_change
            what = f"moves to {move.address}, {move.district}, on {move.effective_date}"
        case "travel":
            travel = record.travel
            what = f"travels to {travel.destination} ({word(travel, 'scope')}) on {travel.departure_date}"
            what += f", back on {travel.return_date}" if travel.return_date else ""
        case None:
            what = "of a kind that is not shown to this node, or that this version does not know"
    return clean(f"{record.notified_date}  {what}  [{record.recorder}]")


def changes(response: WatchChangesResponse) -> str:
    """A line for each changed record; nothing for a bookmark."""
    return "\n".join(
        f"{moment(event.commit_time)}  {_change(change)}" for event in response.events for change in event.changes
    )


def _change(change: Change) -> str:
    if change.HasField("notice"):
        return clean(f"{change.notice.name}  ") + notice(change.notice)
    return f"{offender_line(change.offender)}  [{clean(change.offender.owner)}]"
