"""Lookup: four outcomes, never a wrong one, at once after a change, and each check accounted for."""

import hashlib
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import (
    OUTCOME_HIT,
    OUTCOME_INVALID_CNIC,
    OUTCOME_NO_RECORD,
    CheckCnicRequest,
    CheckCnicResponse,
    DisclosedPerson,
)
from nsor.registry.v1.offender_pb2 import (
    COURT_EVENT_APPEAL_DISMISSED,
    COURT_EVENT_APPEAL_FILED,
    COURT_EVENT_SET_ASIDE,
    FINALITY_FINAL,
    FINALITY_UNDER_APPEAL,
    Finality,
    Person,
)
from nsor.registry.v1.registry_service_pb2 import CreateOffenderResponse
from nsor_client import Client, InternalError
from tests.support.contract import INVESTIGATION, NODES, Node, at_once, court_event, node
from tests.support.hub import RunningHub
from tests.support.people import fresh_cnic, fresh_offender

pytest_plugins = ["tests.support.nodes"]

PUBLIC = ("sed-punjab", "sms-7000")
ASKERS = tuple(name for name in NODES if "prosecution" not in name)
POLICE = ("punjab-police", "sindh-police")
LINES = range(4)  # so many that both workers of the hub are asked
DIGITS = {"ASCII": "0123456789", "Urdu": "۰۱۲۳۴۵۶۷۸۹", "Arabic-Indic": "٠١٢٣٤٥٦٧٨٩"}
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
SPACES = " \u00a0\u2009\u202f\u3000"
MARKS = "\u200e\u200f\u061c\u202a\u202b\u202c\u2066\u2067\u2069"


def convict(police: Node, *finalities: Finality.ValueType) -> CreateOffenderResponse:
    """A record with a conviction of each of these finalities."""
    offender = fresh_offender()
    [conviction] = offender.convictions
    del offender.convictions[:]
    for number, finality in enumerate(finalities, 1):
        conviction.finality, conviction.case_number = finality, f"{number}/2025"
        offender.convictions.append(conviction)
    return police.create(offender)


def outcomes(hub: RunningHub, written: Any, names: tuple[str, ...] = ASKERS) -> set[int]:
    """What these nodes are told of a record, over several lines each, on data as new as the record."""
    cnic, revision = written.offender.person.cnic, written.revision
    return {node(hub, name, line).check(cnic, revision).outcome for name in names for line in LINES}


@pytest.fixture(scope="module")
def known(punjab: Node) -> CreateOffenderResponse:
    """A convict."""
    return convict(punjab, FINALITY_FINAL)


def disclosed(person: Person) -> DisclosedPerson:
    """What a hit tells of a person."""
    return DisclosedPerson(
        full_name=person.full_name,
        full_name_ur=person.full_name_ur,
        guardian_name=person.guardian_name,
        guardian_name_ur=person.guardian_name_ur,
        guardian_relation=person.guardian_relation,
        sex=person.sex,
    )


def test_a_hit_names_the_convict(known: CreateOffenderResponse, gateway: Node) -> None:
    person = known.offender.person
    answer = gateway.check(person.cnic, known.revision)
    assert answer.outcome == OUTCOME_HIT
    assert answer.person == disclosed(person)
    assert answer.masked_cnic == f"{person.cnic[:6]}*****{person.cnic[11:]}"
    assert answer.revision
    assert answer.as_of_time.ToNanoseconds() >= known.offender.update_time.ToNanoseconds()


def test_the_length_of_an_answer_does_not_tell_a_hit(
    hub: RunningHub, punjab: Node, known: CreateOffenderResponse, gateway: Node
) -> None:
    names = dict.fromkeys(("full_name_ur", "guardian_name_ur"), "محمد " * 12)
    long = punjab.create(fresh_offender(full_name="Abdul " * 20, guardian_name="Abdul " * 20, **names))
    texts = [known.offender.person.cnic, long.offender.person.cnic, fresh_cnic(), "no number"]
    answers = [gateway.check(text, long.revision) for text in texts]
    assert [answer.outcome for answer in answers] == [OUTCOME_HIT, OUTCOME_HIT, OUTCOME_NO_RECORD, OUTCOME_INVALID_CNIC]
    assert {answer.ByteSize() for answer in answers} == {1024}


def test_a_number_that_is_not_on_the_register_has_no_record(gateway: Node) -> None:
    cnic = fresh_cnic()
    answer = gateway.check(cnic)
    assert answer.outcome == OUTCOME_NO_RECORD
    assert not answer.HasField("person")
    assert answer.masked_cnic == f"{cnic[:6]}*****{cnic[11:]}"
    assert answer.HasField("as_of_time")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "\0\n\x1b",
        "91234-1234567",
        "91234-1234567-12",
        "91234-1234567-1 or 91234-1234567-2",
        "01234-1234567-1",
        "0000000000000",
        "9" * 2000,
        "۹" * 14,
        "-" * 13,
        "³" * 13,
        "نمبر معلوم نہیں",
    ],
    ids=ascii,
)
def test_a_text_that_is_no_cnic_is_an_outcome(gateway: Node, text: str) -> None:
    answer = gateway.check(text)
    answer.ClearField("padding")
    assert answer == CheckCnicResponse(outcome=OUTCOME_INVALID_CNIC, revision=answer.revision)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "CNIC {} please",
        "شناختی کارڈ {} چیک کریں",
        "\u200f{}\u200e",
        "\ufeff{}\r\n",
        "({})",
        "No.{}.",
        "\u2067{}\u2069",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("digits", DIGITS.values(), ids=DIGITS)
def test_words_around_a_number_do_not_hide_it(
    known: CreateOffenderResponse, gateway: Node, text: str, digits: str
) -> None:
    cnic = known.offender.person.cnic.translate(str.maketrans("0123456789", digits))
    assert gateway.check(text.format(cnic), known.revision).outcome == OUTCOME_HIT
    assert gateway.check(text.format(cnic.replace("-", "")), known.revision).outcome == OUTCOME_HIT


@st.composite
def renderings(draw: st.DrawFn) -> tuple[str, ...]:
    """How somebody may write a number: a script for each digit, and what stands between the groups."""
    scripts = draw(st.lists(st.sampled_from([*DIGITS.values()]), min_size=13, max_size=13))
    separator = draw(st.sampled_from([*DASHES, *SPACES, ".", ""]))
    padding = draw(st.text(SPACES, max_size=1))
    mark = draw(st.text(MARKS, max_size=2))
    return (*scripts, f"{padding}{mark}{separator}{padding}" if separator else mark)


@settings(max_examples=60, deadline=None)
@given(rendering=renderings())
def test_a_number_is_read_in_every_way_of_writing_it(
    known: CreateOffenderResponse, gateway: Node, rendering: tuple[str, ...]
) -> None:
    *scripts, between = rendering
    digits = known.offender.person.cnic.replace("-", "")
    written = "".join(script[int(digit)] for script, digit in zip(scripts, digits, strict=True))
    text = f"{written[:5]}{between}{written[5:12]}{between}{written[12]}"
    answer = gateway.check(text, known.revision)
    assert answer.outcome == OUTCOME_HIT, ascii(text)
    assert answer.masked_cnic == f"{digits[:5]}-*****{digits[10:12]}-{digits[12]}"


def test_a_number_that_differs_in_one_digit_is_another(punjab: Node, gateway: Node) -> None:
    convict = fresh_offender()
    digits = convict.person.cnic.replace("-", "")
    # Another last digit than test people have, so that none of the others has a number near to this one.
    digits = convict.person.cnic = digits[:12] + str((int(digits[12]) + 1) % 10)
    entered = punjab.create(convict)
    for at in range(1, 13):
        other = digits[:at] + str((int(digits[at]) + 1) % 10) + digits[at + 1 :]
        answer = gateway.check(other, entered.revision)
        assert (answer.outcome, answer.HasField("person")) == (OUTCOME_NO_RECORD, False)


def test_every_node_sees_a_record_at_once(hub: RunningHub, punjab: Node) -> None:
    for _ in range(5):
        assert outcomes(hub, convict(punjab, FINALITY_FINAL)) == {OUTCOME_HIT}


def test_a_change_of_name_is_disclosed_at_once(hub: RunningHub, punjab: Node) -> None:
    record = convict(punjab, FINALITY_FINAL).offender
    record.person.full_name = "Somebody Else"
    updated = punjab.update(record, "person.full_name")
    for line in LINES:
        answer = node(hub, "sms-7000", line).check(record.person.cnic, updated.revision)
        assert answer.person.full_name == "Somebody Else"


def test_a_check_that_asks_for_a_revision_gets_one_at_least_as_new(hub: RunningHub, gateway: Node) -> None:
    def enter_and_check(line: int) -> CheckCnicResponse:
        written = node(hub, "punjab-police", line).create(fresh_offender())
        return gateway.check(written.offender.person.cnic, written.revision)

    answers = at_once(8, enter_and_check)
    for answer in answers:
        # The revision of an answer is one to ask with again.
        assert gateway.check(fresh_cnic(), answer.revision).outcome == OUTCOME_NO_RECORD


def test_a_conviction_that_was_set_aside_is_told_to_nobody(hub: RunningHub, punjab: Node, court: Node) -> None:
    written = convict(punjab, FINALITY_FINAL)
    assert outcomes(hub, written) == {OUTCOME_HIT}
    written.revision = court.call(court_event(written.offender, COURT_EVENT_SET_ASIDE)).revision
    assert outcomes(hub, written) == {OUTCOME_NO_RECORD}
    answer = punjab.check(written.offender.person.cnic, written.revision)
    assert not answer.HasField("person")


def test_a_conviction_under_appeal_is_told_to_police_alone(hub: RunningHub, punjab: Node) -> None:
    written = convict(punjab, FINALITY_UNDER_APPEAL)
    assert outcomes(hub, written, PUBLIC) == {OUTCOME_NO_RECORD}
    assert outcomes(hub, written, POLICE) == {OUTCOME_HIT}
    for name in PUBLIC:
        assert not node(hub, name).check(written.offender.person.cnic, written.revision).HasField("person")


def test_an_appeal_that_begins_and_fails_is_followed(hub: RunningHub, punjab: Node, court: Node) -> None:
    written: Any = convict(punjab, FINALITY_FINAL)
    for event, outcome in (
        (COURT_EVENT_APPEAL_FILED, OUTCOME_NO_RECORD),
        (COURT_EVENT_APPEAL_DISMISSED, OUTCOME_HIT),
    ):
        written = court.call(court_event(written.offender, event))
        assert outcomes(hub, written, PUBLIC) == {outcome}


def test_one_conviction_that_stands_is_enough(hub: RunningHub, punjab: Node, court: Node) -> None:
    mixed = convict(punjab, FINALITY_FINAL, FINALITY_UNDER_APPEAL, FINALITY_FINAL)
    mixed = court.call(court_event(mixed.offender, COURT_EVENT_SET_ASIDE))
    assert outcomes(hub, mixed) == {OUTCOME_HIT}
    pending = court.call(court_event(mixed.offender, COURT_EVENT_SET_ASIDE, number=3))
    assert outcomes(hub, pending, PUBLIC) == {OUTCOME_NO_RECORD}
    assert outcomes(hub, pending, POLICE) == {OUTCOME_HIT}


@pytest.mark.parametrize("revision", ["garbage", ".", "0", "w1", "00000000.", "٠", "{}x", " {}", "{}.1"])
def test_a_revision_that_the_hub_did_not_make_is_refused(
    known: CreateOffenderResponse, gateway: Node, revision: str
) -> None:
    request = CheckCnicRequest(cnic=fresh_cnic(), at_least_revision=revision.format(known.revision))
    assert gateway.refused(request).reason == "INVALID_REVISION"


def test_a_revision_of_another_epoch_is_refused(known: CreateOffenderResponse, gateway: Node) -> None:
    epoch, _, rest = known.revision.partition(".")
    other = f"{int(epoch, 16) ^ 1:08x}.{rest}"
    request = CheckCnicRequest(cnic=known.offender.person.cnic, at_least_revision=other)
    assert gateway.refused(request).reason == "REVISION_EPOCH_CHANGED"


@pytest.mark.parametrize("source", ["write", "answer"])
def test_a_revision_that_lies_ahead_is_never_answered(
    known: CreateOffenderResponse, gateway: Node, source: str
) -> None:
    revision = known.revision if source == "write" else gateway.check(fresh_cnic()).revision
    ahead = re.sub(r"\d+$", "999999999", revision)
    request = CheckCnicRequest(cnic=fresh_cnic(), at_least_revision=ahead)
    assert gateway.refused(request, timeout=5).reason == "REVISION_EPOCH_CHANGED"


def test_a_revision_that_is_not_reached_in_time_is_refused_before_the_deadline(folder_hub: RunningHub) -> None:
    police = node(folder_hub, "punjab-police")
    with folder_hub.connect() as connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.execute("SELECT FROM feed_head FOR UPDATE")  # nobody numbers what is written
        written = police.create()
        request = CheckCnicRequest(cnic=written.offender.person.cnic, at_least_revision=written.revision)
        assert police.refused(request, timeout=3).reason == "REVISION_NOT_REACHED"
        connection.rollback()
    assert police.check(written.offender.person.cnic, written.revision).outcome == OUTCOME_HIT


def single(client: Client, text: str) -> list[CheckCnicResponse]:
    return [client.check_cnic(text)]


def roster(client: Client, text: str) -> list[CheckCnicResponse]:
    return list(client.check_many([text]))


@pytest.mark.parametrize("ask", [single, roster])
def test_no_answer_leaves_before_its_trace_is_written(
    folder_hub: RunningHub, ask: Callable[[Client, str], list[CheckCnicResponse]]
) -> None:
    count = "SELECT count(*) FROM audit_entry"
    with ThreadPoolExecutor(1) as pool, folder_hub.client("sms-7000") as client:
        with folder_hub.connect() as connection:
            connection.execute("LOCK TABLE audit_entry IN EXCLUSIVE MODE")
            answer = pool.submit(ask, client, fresh_cnic())
            assert wait([answer], timeout=1).not_done
            assert connection.execute(count).fetchall() == [(0,)]
        assert [each.outcome for each in answer.result(timeout=30)] == [OUTCOME_NO_RECORD]
        assert folder_hub.sql(count) == [(1,)]
        folder_hub.sql("REVOKE INSERT ON audit_entry FROM nsor_app")
        for text in (fresh_cnic(), "no number"):
            with pytest.raises(InternalError):
                ask(client, text)


def test_an_answer_holds_every_change_committed_before_its_time(hub: RunningHub, punjab: Node) -> None:
    for line in range(20):
        cnic = punjab.create().offender.person.cnic
        committed_by = time.time_ns()
        answer = node(hub, "sms-7000", line % 4).check(cnic)
        assert answer.outcome == OUTCOME_HIT or answer.as_of_time.ToNanoseconds() <= committed_by


def test_the_time_of_an_answer_advances_and_does_not_lie_ahead(gateway: Node) -> None:
    first, second = (gateway.check(fresh_cnic()).as_of_time.ToNanoseconds() for _ in range(2))
    assert first <= second <= time.time_ns()


def test_every_check_leaves_one_entry_in_the_audit_log(
    hub: RunningHub, known: CreateOffenderResponse, gateway: Node, punjab: Node
) -> None:
    cnic = known.offender.person.cnic
    requests = [
        (gateway, CheckCnicRequest(cnic=cnic)),
        (gateway, CheckCnicRequest(cnic=fresh_cnic())),
        (gateway, CheckCnicRequest(cnic="no number")),
        (punjab, CheckCnicRequest(cnic=cnic, officer=INVESTIGATION)),
    ]
    for caller, request in requests:
        [[last]] = hub.sql("SELECT coalesce(max(id), 0) FROM audit_entry")
        caller.call(request)
        entries = hub.sql("SELECT node_id, officer_id, fir_number FROM audit_entry WHERE id > %s", last)
        officer = request.officer
        assert entries == [(caller.name.removeprefix("nodes/"), officer.officer_id or None, officer.fir_number or None)]


@pytest.mark.parametrize("officer", ["\\N", "a\\tb", "\\.", "بيلٹ ۷"])
def test_an_officer_of_any_spelling_is_in_the_audit_log_as_spelt(hub: RunningHub, punjab: Node, officer: str) -> None:
    context = OfficerContext(officer_id=officer, purpose=PURPOSE_VETTING)
    punjab.call(CheckCnicRequest(cnic=fresh_cnic(), officer=context))
    [[logged]] = hub.sql("SELECT officer_id FROM audit_entry ORDER BY id DESC LIMIT 1")
    assert logged == officer


def test_checks_made_at_once_are_all_accounted_for(hub: RunningHub, known: CreateOffenderResponse) -> None:
    [[before]] = hub.sql("SELECT count(*) FROM audit_entry")
    at_once(32, lambda line: node(hub, "sms-7000", line % 4).check(known.offender.person.cnic))
    [[after]] = hub.sql("SELECT count(*) FROM audit_entry")
    assert after - before == 32


def test_neither_audit_log_nor_server_log_holds_a_number(
    hub: RunningHub, known: CreateOffenderResponse, gateway: Node
) -> None:
    texts = [known.offender.person.cnic, fresh_cnic(), "no number 912345678901", "91234-1234567-1 91234-1234567-2"]
    [[last]] = hub.sql("SELECT coalesce(max(id), 0) FROM audit_entry")
    for text in texts:
        gateway.check(text)
    entries = hub.sql("SELECT a::text, subject FROM audit_entry a WHERE id > %s", last)
    assert len(entries) == len(texts)
    digests = [
        hashlib.new(name, number.encode()).digest()
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b")
        for text in texts
        for number in (text, text.replace("-", ""))
    ]
    for text, subject in entries:
        assert not re.search(r"\d{5}-\d{7}-\d|\d{12}", text.replace(str(subject and subject.hex()), ""))
        # A plain hash of 13 digits can be tried out.
        assert subject is None or not any(digest in subject or subject in digest for digest in digests)
    for text in texts[:2]:
        assert text not in hub.log()
        assert text.replace("-", "") not in hub.log()
