"""What is odd, of the checks of a roster as of single ones."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.people import cnic
from hub.domain.alarm import AlarmKind
from hub.domain.cnic import Cnic
from hub.domain.lookup import Outcome
from hub.domain.node import Caller, Node, NodeState, Role
from hub.service.vigilance import Thresholds, Vigilance

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CALLER = Caller(Node("sed-punjab", "SED", Role.VETTING_AGENCY, "", NodeState.ACTIVE, NOW), "CheckCnics")


def vigilance(
    *, near_numbers: int = 0, misses: int = 0, askers: int = 0, clock: Callable[[], datetime] = lambda: NOW
) -> Vigilance:
    database: Any = None  # nothing is reported here
    return Vigilance(database, clock, Thresholds(near_numbers, misses, askers))


@pytest.mark.parametrize("together", [True, False])
def test_misses_are_odd_whatever_is_asked_after_them(together: bool) -> None:
    """Else who goes through the register would put some known convicts at the end of each message."""
    vigil = vigilance(misses=200)
    misses = [(Cnic.parse(cnic(number)), Outcome.NO_RECORD) for number in range(200)]
    checks = misses + [(Cnic.parse(cnic(number)), Outcome.HIT) for number in range(200, 210)]
    for part in [checks] if together else [[check] for check in checks]:
        vigil.notice(CALLER, b"", part)
    assert vigil.counts == {AlarmKind.MANY_MISSES: 1}


@pytest.mark.parametrize("together", [True, False])
def test_near_numbers_are_odd_once(together: bool) -> None:
    vigil = vigilance(near_numbers=50)
    checks = [(Cnic(f"9123412345{number:03}"), Outcome.HIT) for number in range(60)]
    for part in [checks] if together else [[check] for check in checks]:
        vigil.notice(CALLER, b"", part)
    assert vigil.counts == {AlarmKind.NEAR_NUMBERS: 1}


def test_checks_without_an_answer_hide_no_misses() -> None:
    """To watch somebody counts as such a check: who watches many would otherwise be free to try numbers out."""
    vigil = vigilance(misses=200)
    numbers = [Cnic.parse(cnic(number)) for number in range(400)]
    vigil.notice(CALLER, b"", [(number, Outcome.CANNOT_ANSWER) for number in numbers])
    vigil.notice(CALLER, b"", [(number, Outcome.NO_RECORD) for number in numbers])
    assert vigil.counts == {AlarmKind.MANY_MISSES: 1}


def test_a_clock_that_is_set_back_silences_no_alarm() -> None:
    now = NOW
    vigil = vigilance(near_numbers=50, clock=lambda: now)
    checks = [(Cnic(f"9123412345{number:03}"), Outcome.HIT) for number in range(60)]
    for raised in (1, 2):
        vigil.notice(CALLER, b"", checks)
        assert vigil.counts == {AlarmKind.NEAR_NUMBERS: raised}
        now -= timedelta(hours=5)
