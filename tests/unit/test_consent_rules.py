"""A consent lets one check pass, whatever is tried and in whatever order."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from hub.domain.cnic import Cnic
from hub.domain.consent import Consent, GivenConsent, Passcode

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIFE = timedelta(minutes=10)
TRIES = 3
RIGHT, WRONG = b"right", b"wrong"
CONSENT = Consent(UUID(int=1), "school", b"number", RIGHT, TRIES, NOW, NOW + LIFE)

# One after another: whether it is the node, the number and the passcode, and how many minutes later it comes.
ATTEMPTS = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 4)), max_size=20)


@given(ATTEMPTS)
@example([(True, True, False, 0), (True, True, False, 0), (True, True, True, 9)])
@example([(True, True, False, 0)] * TRIES + [(True, True, True, 0)])
@example([(True, True, True, 10)])
def test_one_check_passes_at_most_and_only_in_time_and_within_the_tries(
    attempts: list[tuple[bool, bool, bool, int]],
) -> None:
    consent, now = CONSENT, NOW
    wrong, passed = 0, False
    for of_node, of_number, is_right, minutes in attempts:
        now += timedelta(minutes=minutes)
        usable = of_node and of_number and now < NOW + LIFE and wrong < TRIES and not passed
        before = consent
        consent, refused = consent.redeem(
            "school" if of_node else "hospital",
            b"number" if of_number else b"another",
            RIGHT if is_right else WRONG,
            now,
        )
        if not usable:
            assert refused
            assert (refused.reason, refused.metadata) == ("CONSENT_NOT_VALID", {})
            assert consent == before, "it cost nothing"
        elif is_right:
            assert refused is None
            passed = True
        else:
            wrong += 1
            assert refused
            assert (refused.reason, refused.metadata) == ("CONSENT_PASSCODE_WRONG", {"tries_left": str(TRIES - wrong)})
        assert replace(consent, tries_left=TRIES) == CONSENT, "nothing else of it changes"


def test_nothing_shows_a_passcode_by_accident() -> None:
    passcode = Passcode(1, CONSENT, Cnic("9123400000001"), "135791")
    for shown in (repr(passcode), str(passcode), repr(GivenConsent(UUID(int=1), "135791"))):
        assert "135791" not in shown
        assert "9123400000001" not in shown
