"""Rosters: `check_many` of both clients, and `nsor check --file`, against a real gRPC server over mutual TLS."""

import csv
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from nsor.common.v1.officer_pb2 import PURPOSE_VETTING, OfficerContext
from nsor.lookup.v1.lookup_service_pb2 import (
    CANNOT_ANSWER_REASON_DISCLOSURE_OFF,
    CANNOT_ANSWER_REASON_POLICY_UNKNOWN,
    CANNOT_ANSWER_REASON_STALE_DATA,
    OUTCOME_CANNOT_ANSWER,
    CannotAnswerReason,
    CheckCnicResponse,
    CheckCnicsResponse,
)
from nsor_client import InternalError, Unavailable
from nsor_client.cli import main
from nsor_client.cli.checking import COLUMNS
from nsor_client.cli.results import ResultFile
from nsor_client.roster import Roster, questions
from tests.support.rosters import answer, answer_all
from tests.support.sdk_hub import CertificateAuthority, ScriptedHub, closed, gathered, refuse, step

pytest_plugins = ["tests.support.sdk_fixtures"]

Check = Callable[..., tuple[int, str, str]]
OFFICER = OfficerContext(officer_id="PB-1", purpose=PURPOSE_VETTING)


def asked(hub: ScriptedHub) -> Callable[[], list[str]]:
    """Answers every number, and gives what was asked so far."""
    texts: list[str] = []

    def keep(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        def kept() -> Iterator[Any]:
            for request in requests:
                texts.extend(request.cnics)
                yield request

        return answer_all(kept(), context)

    hub.on["CheckCnics"] = keep
    return lambda: texts


async def test_many_numbers_get_their_results_in_order(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    texts = asked(sdk_hub)
    numbers = [str(n) for n in range(2500)]
    results = await gathered(sdk_client.check_many(iter(numbers)))
    assert [result.masked_cnic for result in results] == numbers == texts()


async def test_no_number_gives_no_result(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    assert await gathered(sdk_client.check_many([])) == []


async def test_numbers_are_taken_as_they_are_needed(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    taken = 0

    def numbers() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield str(taken)

    results = sdk_client.check_many(numbers(), window=2)
    for expected in range(1, 1501):
        assert (await step(results)).masked_cnic == str(expected)
    # The message that is being read, two that wait for their results, and one that waits for its turn.
    assert taken <= 5001
    await closed(results)


async def test_a_cut_gives_the_results_before_it(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def cut(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        yield CheckCnicsResponse(results=map(answer, next(requests).cnics))
        refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["CheckCnics"] = cut
    results = sdk_client.check_many(map(str, range(5000)))
    for expected in range(1000):
        assert (await step(results)).masked_cnic == str(expected)
    with pytest.raises(Unavailable):
        await step(results)


async def test_results_that_do_not_match_the_numbers_are_given_to_nobody(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    def lose_one(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        for request in requests:
            yield CheckCnicsResponse(results=map(answer, request.cnics[1:]))

    sdk_hub.on["CheckCnics"] = lose_one
    with pytest.raises(InternalError):
        await step(sdk_client.check_many(["1", "2", "3"]))


async def test_results_that_nobody_asked_for_are_given_to_nobody(sdk_client: Any, sdk_hub: ScriptedHub) -> None:
    sdk_hub.on["CheckCnics"] = lambda requests, context: iter([CheckCnicsResponse(results=[answer("1")])])
    with pytest.raises(InternalError, match="not asked"):
        await step(sdk_client.check_many([]))


async def test_what_a_message_tells_once_stands_with_each_result_that_it_is_about(
    sdk_client: Any, sdk_hub: ScriptedHub
) -> None:
    shared = CheckCnicsResponse(revision="e.7")
    shared.as_of_time.FromJsonString("2026-01-02T00:00:00Z")
    shared.provinces_as_of_time.FromJsonString("2026-01-01T00:00:00Z")

    def tell(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        for response in answer_all(requests, context):
            response.MergeFrom(shared)
            yield response

    sdk_hub.on["CheckCnics"] = tell
    hit, none, *others = await gathered(sdk_client.check_many(["h1", "2", "", "x"]))
    for result in (hit, none):
        assert (result.as_of_time, result.revision) == (shared.as_of_time, "e.7")
        assert result.provinces_as_of_time == shared.provinces_as_of_time
    assert others == [answer(""), answer("x")]

    sdk_hub.on["CheckCnics"] = answer_all
    assert await gathered(sdk_client.check_many(["2"])) == [answer("2")], "nothing is told that the hub did not tell"


def test_messages_are_as_large_as_a_hub_takes() -> None:
    wide = "\u06f1" * 2000
    messages = list(questions(["1"] * 2001 + [wide] * 100 + ["x" * 2001], OFFICER, "e.7"))
    assert [len(message.cnics) for message in messages][:2] == [1000, 1000]
    assert sum(len(message.cnics) for message in messages) == 2102
    assert all(message.ByteSize() < 256 * 1024 for message in messages)
    assert {(message.officer.officer_id, message.at_least_revision) for message in messages} == {("PB-1", "e.7")}
    assert messages[-1].cnics[-1] == "", "longer than any text around a number: no number"


@pytest.fixture
def roster(tmp_path: Path) -> Path:
    """Five rows, the third of them without a number and the fourth an empty line."""
    path = tmp_path / "roster.csv"
    path.write_text("\ufeffname, CNIC \nA,1\nB,h2\nC\n\nD,4\n", encoding="utf-8")
    return path


@pytest.fixture
def check(
    roster: Path,
    sdk_ca: CertificateAuthority,
    sdk_hub: ScriptedHub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Check:
    """Checks the roster into result.csv beside it; gives the exit code, output and error output."""
    sdk_ca.credentials().write(roster.parent / "node")
    monkeypatch.setenv("NSOR_NODE", str(roster.parent / "node"))
    monkeypatch.setenv("NSOR_TARGET", sdk_hub.target)
    monkeypatch.setenv("NSOR_OFFICER", "PB-1")

    def run(*arguments: str) -> tuple[int, str, str]:
        result = roster.with_name("result.csv")
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "check", "--file", str(roster), "--out", str(result)])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    return run


def rows(roster: Path) -> list[list[str]]:
    """Row, outcome, number and person of each line of the result."""
    with roster.with_name("result.csv").open(encoding="utf-8", newline="") as file:
        return [cells[:4] for cells in csv.reader(file)][1:]


HIT = ["2", "HIT", "h2", 'Test\u2028Person, child of A "B", C']
WHOLE = [["1", "NO_RECORD", "1", ""], HIT, ["3", "INVALID_CNIC", "", ""], ["5", "NO_RECORD", "4", ""]]


def test_each_row_of_a_roster_gets_a_line(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    texts = asked(sdk_hub)
    assert check() == (10, "4 rows: 1 hit, 1 invalid cnic, 2 no record\n", "")
    assert rows(roster) == WHOLE
    assert texts() == ["1", "h2", "", "4"]
    assert stat.S_IMODE(roster.with_name("result.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(("content", "code"), [("cnic\n1\n", 0), ('cnic\n1\n ,\n""\n', 11), ("cnic\n", 0)])
def test_the_exit_code_tells_the_gravest_outcome(
    check: Check, sdk_hub: ScriptedHub, roster: Path, content: str, code: int
) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    roster.write_text(content)
    assert check()[0] == code


def test_a_run_that_was_cut_at_any_octet_goes_on(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    texts = asked(sdk_hub)
    check()
    result = roster.with_name("result.csv")
    whole = result.read_bytes()
    for length in range(0, len(whole), 7):
        result.write_bytes(whole[:length])
        kept = max(whole[:length].count(b"\n") - 1, 0)
        texts().clear()
        assert check()[0] == 10
        assert result.read_bytes() == whole
        assert texts() == ["1", "h2", "", "4"][kept:]


def test_a_roster_goes_on_by_itself_on_another_line(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    """The hub closes every line after a while."""
    roster.write_text("cnic\n" + "".join(f"{number}\n" for number in range(1, 2502)))
    texts: list[str] = []

    def answer_once(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        for request in requests:
            texts.extend(request.cnics)
            yield CheckCnicsResponse(results=map(answer, request.cnics))
            if request.cnics[-1] != "2501":
                refuse(context, grpc.StatusCode.UNAVAILABLE, "closed", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["CheckCnics"] = answer_once
    code, out, err = check()
    assert (code, out) == (0, "2501 rows: 2501 no record\n")
    assert texts == [str(number) for number in range(1, 2502)]
    assert err.splitlines() == [f"The line was cut after row {row}; going on." for row in (1000, 2000)]


def test_a_hub_that_cannot_answer_is_asked_again_by_the_next_run(
    check: Check, sdk_hub: ScriptedHub, roster: Path
) -> None:
    def falter(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        next(requests)
        yield CheckCnicsResponse(results=map(answer, ["1", "h2", "x", "x"]))

    sdk_hub.on["CheckCnics"] = falter
    assert check()[:2] == (12, "2 rows: 1 hit, 1 no record\n")
    texts = asked(sdk_hub)
    assert check()[0] == 10
    assert (rows(roster), texts()) == (WHOLE, ["", "4"])


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        (CANNOT_ANSWER_REASON_STALE_DATA, "The data may be out of date. Nobody was checked: ask again later."),
        (CANNOT_ANSWER_REASON_DISCLOSURE_OFF, "The disclosure policy of NPB does not allow this node an answer."),
        (CANNOT_ANSWER_REASON_POLICY_UNKNOWN, "The hub cannot answer now. Nobody was checked: ask again later."),
    ],
)
def test_why_the_hub_cannot_answer_is_told(
    check: Check, sdk_hub: ScriptedHub, reason: CannotAnswerReason.ValueType, says: str
) -> None:
    none = CheckCnicResponse(outcome=OUTCOME_CANNOT_ANSWER, cannot_answer_reason=reason)

    def falter(requests: Iterator[Any], _: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        next(requests)
        yield CheckCnicsResponse(results=[answer("1"), answer("2"), answer(""), none])

    sdk_hub.on["CheckCnics"] = falter
    code, _, err = check()
    assert code == 12
    assert err.startswith(f"Stopped at row 5. {says}")


def test_a_line_that_breaks_is_told(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    def cut(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[CheckCnicsResponse]:
        refuse(context, grpc.StatusCode.UNAVAILABLE, "going down", "ERROR_REASON_HUB_UNAVAILABLE")

    sdk_hub.on["CheckCnics"] = cut
    code, out, err = check()
    assert (code, out) == (5, "0 rows: none\n")
    assert err.startswith("The check was cut. The same command goes on where it was.\nerror: ")


def test_the_result_of_another_roster_is_left_as_it_is(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    check()
    result = roster.with_name("result.csv")
    before = result.read_bytes()
    roster.write_text("cnic\n1\n2\n")
    code, _, err = check()
    assert (code, result.read_bytes()) == (4, before)
    assert "another roster" in err


def test_a_file_of_something_else_is_left_as_it_is(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    roster.with_name("result.csv").write_text("my only copy")
    code, _, err = check()
    assert (code, roster.with_name("result.csv").read_text()) == (4, "my only copy")
    assert "is something else" in err


def test_two_runs_do_not_write_one_result(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    result = roster.with_name("result.csv")
    with closing(ResultFile(result, COLUMNS, Roster(roster, "cnic").digest)) as first:
        first.add(1, "NO_RECORD", "1", "", "")
        before = result.read_bytes()
        code, _, err = check()
        assert (code, result.read_bytes()) == (4, before)
        assert err == f"error: another process writes {result}: wait for its end\n"
    assert check()[0] == 10
    assert rows(roster) == WHOLE


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: [lines[0], lines[2], lines[1]],  # out of order
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines, lines[-1].replace("5,", "x,", 1)],
        lambda lines: [*lines, "6" + lines[-1].removeprefix("5").replace("NO_RECORD", "NO_RE")],
        lambda lines: [*lines, "6,NO_RECORD"],
        lambda lines: [*lines[:2], lines[2].replace('"', "", 1), *lines[3:]],
        lambda lines: [*lines, "\udcff"],
    ],
)
def test_a_result_that_is_damaged_is_left_as_it_is(
    check: Check, sdk_hub: ScriptedHub, roster: Path, damage: Callable[[list[str]], list[str]]
) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    check()
    result = roster.with_name("result.csv")
    lines = result.read_text(encoding="utf-8").split("\n")[:-1]
    result.write_text("\n".join(damage(lines)) + "\n", encoding="utf-8", errors="surrogateescape")
    before = result.read_bytes()
    code, _, err = check()
    assert (code, result.read_bytes()) == (4, before)
    assert err == f"error: {result} is damaged: give a file that does not exist yet\n"


def test_a_result_that_others_could_read_becomes_that_of_its_owner(
    check: Check, sdk_hub: ScriptedHub, roster: Path
) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    check()
    result = roster.with_name("result.csv")
    result.chmod(0o644)
    check()
    assert stat.S_IMODE(result.stat().st_mode) == 0o600


def test_a_roster_without_the_column_is_refused(check: Check, roster: Path) -> None:
    roster.write_text("9123412345671\n")
    code, _, err = check()
    assert code == 4
    assert "names no column 'cnic'" in err
    assert "9123412345671" not in err


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('name,cnic\nA,1\n"Secret,h2\nC,3\nD,h4\n', "row 2"),
        ('name,cnic\nA,1\n\n"Secret,2\n", h3\n', "row 3"),
        ('name,cnic\nA,1\n"Secret" B,2\n', "row 2"),
        ('name,cnic\nA,1\nB,"Secret', "row 2"),
        ("name,cnic\nA,1\n" + "Secret" * 30_000 + ",2\n", "row 2"),
        ('name,"cnic\nSecret,1\n', "the header"),
    ],
)
def test_a_row_that_could_swallow_others_is_refused_before_anybody_is_asked_about(
    check: Check, sdk_hub: ScriptedHub, roster: Path, content: str, where: str
) -> None:
    texts = asked(sdk_hub)
    roster.write_text(content)
    code, _, err = check()
    assert (code, texts()) == (4, [])
    assert err.startswith(f"error: {where} of {roster} cannot be read: its quotes are broken")
    assert "Secret" not in err


def test_quotes_in_their_places_are_read(roster: Path) -> None:
    roster.write_bytes(b'"cnic",name\r\n"1","A ""B"", C"\r\n2,D "E" F\r\n3,\xff\r\n')
    assert list(Roster(roster, "cnic")) == [(1, "1"), (2, "2"), (3, "3")]


def test_a_roster_is_what_its_digest_stands_for_whatever_becomes_of_the_file(roster: Path) -> None:
    read = Roster(roster, "cnic")
    roster.write_text("cnic\n9\n")
    assert list(read) == list(read) == [(1, "1"), (2, "h2"), (3, ""), (5, "4")]
    assert read.digest != Roster(roster, "cnic").digest


def test_a_roster_printed_as_json_is_one_answer_a_line(check: Check, sdk_hub: ScriptedHub, roster: Path) -> None:
    sdk_hub.on["CheckCnics"] = answer_all
    code, out, err = check("--json")
    assert (code, out.count("\n")) == (10, 4)
    assert err == "4 rows: 1 hit, 1 invalid cnic, 2 no record\n"


@pytest.mark.parametrize("arguments", [[], ["1", "--file", "{}"], ["--file", "{}"], ["1", "--out", "{}"]])
def test_one_number_or_a_file_with_a_result(
    check: Check, roster: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", *(argument.format(roster) for argument in arguments)])
    assert ended.value.code == 2
    assert "give one number, or --file with --out" in " ".join(capsys.readouterr().err.split())
