"""What a roster's message tells once, of answers that were given one after the other."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hub.domain.lookup import Answer, Basis, Outcome
from hub.transport.convert.lookup import answers_message

NOW = datetime(2026, 1, 1, tzinfo=UTC)
times = st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds))


@given(st.lists(st.tuples(times, st.none() | times, st.integers(1, 3)), max_size=5))
def test_it_claims_no_more_than_holds_for_each(hundreds: list[tuple[datetime, datetime | None, int]]) -> None:
    """The database's clock can be set back between two hundreds, and a province can be found to be further behind."""
    answers = [Answer(Outcome.INVALID_CNIC)]
    for number, (as_of, provinces, count) in enumerate(hundreds):
        answers += [Answer(Outcome.NO_RECORD, Basis(as_of, f"e.{number}", provinces))] * count
    message = answers_message(answers)
    assert len(message.results) == len(answers)
    assert message.HasField("as_of_time") == bool(hundreds)
    assert message.revision == ("e.0" if hundreds else "")
    known = bool(hundreds) and all(provinces for _, provinces, _ in hundreds)
    assert message.HasField("provinces_as_of_time") == known
    for as_of, provinces, _ in hundreds:
        assert message.as_of_time.ToDatetime(UTC) <= as_of
        assert not known or message.provinces_as_of_time.ToDatetime(UTC) <= (provinces or NOW)
