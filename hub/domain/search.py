"""Finding records by what is known of a person.

Names are encrypted, so nobody can ask the database for them. Each record has keys, texts about the person of which the
database holds keyed hashes only. What is sought has keys as well: records that share enough of them are candidates,
which are opened, compared in earnest and ranked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from hub.domain.area import area_key, is_supervised
from hub.domain.likeness import BIRTH, GUARDIAN, NAME, best, births, guardians, names, nearness, person_keys
from hub.domain.names import Word, sounds, strong, words
from hub.domain.offender import Conviction, Finality, Offender, OffenderFacts

RULES = 2
"""Number of the rules that make keys. Who changes them, or `hub.domain.names`, raises it: the index is made anew."""

_LIKE_ENOUGH = 0.6
_WORDS = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that may be of the person sought, and how well it fits, up to 1."""

    offender: Offender
    facts: OffenderFacts
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is known of a person. Empty, or None: unknown.

    Attributes:
        district: in the gazetteer's spelling; it must fit, as the conviction must that the last three are about.
    """

    name: str = ""
    guardian: str = ""
    date_of_birth: date | None = None
    district: str = ""
    offence_code: str = ""
    finality: Finality | None = None
    fir_number: str = ""

    def required(self) -> set[str]:
        """Keys that a record must have."""
        keys = {f"district={self.district}"} if self.district else set[str]()
        if self.offence_code:
            keys.add(f"offence={self.offence_code}")
        if self.finality:
            keys.add(f"finality={self.finality}")
        if self.fir_number:
            keys.add(f"fir={_fir(self.fir_number)}")
        return keys

    def tiers(self) -> Iterator[tuple[Sequence[frozenset[str]], int]]:
        """Groups of keys, and of how many groups a record must have a key, the best records first.

        There is a group for each word of the names; words that many people share are left aside where there are others.
        At last a third of the words may be missing, or wrong beyond recognition.
        """
        found = [
            frozenset(f"{field}~{sound}" for sound in group)
            for field, name in (("name", self.name), ("guardian", self.guardian))
            for group in sounds(strong(words(name)))
        ]
        # A long sound has the more neighbours, and the fewer people who share it.
        groups = sorted(found, key=len, reverse=True)[:_WORDS]
        if self.date_of_birth:
            years = range(self.date_of_birth.year - 1, self.date_of_birth.year + 2)
            yield [*groups, frozenset(f"born={year}" for year in years)], len(groups) + 1
        for missing in range(len(groups) // 3 + 1):
            yield groups, len(groups) - missing

    def hints(self) -> set[str]:
        """Keys of which a better candidate has more."""
        keys = set(_of_name("name", words(self.name))) | set(_of_name("guardian", words(self.guardian)))
        return keys | set(_of_birth(self.date_of_birth)) if self.date_of_birth else keys

    def candidate(self, offender: Offender) -> Candidate | None:
        """A record as a candidate; None if it is not like enough."""
        facts = offender.facts
        if facts is None or not self._fits(facts):
            return None
        person, parts = facts.person, list[tuple[float, float]]()
        if self.name:
            parts.append((NAME, best(self.name, names(person))))
        if self.guardian:
            parts.append((GUARDIAN, best(self.guardian, guardians(person))))
        if self.date_of_birth:
            parts.append((BIRTH, max(nearness(self.date_of_birth, day) for day in births(person))))
        total = sum(weight for weight, _ in parts)
        score = sum(weight * alike for weight, alike in parts) / total if total else 1.0
        return Candidate(offender, facts, round(score, 3)) if score >= _LIKE_ENOUGH else None

    def _fits(self, facts: OffenderFacts) -> bool:
        return self.district in ("", facts.district) and any(map(self._fits_conviction, facts.standing))

    def _fits_conviction(self, conviction: Conviction) -> bool:
        return (
            self.offence_code in ("", conviction.offence_code)
            and self.finality in (None, conviction.finality)
            and (not self.fir_number or _fir(self.fir_number) == _fir(conviction.fir_number))
        )


def keys(facts: OffenderFacts) -> set[str]:
    """The keys of a record."""
    person = facts.person
    found = {f"district={facts.district}", *person_keys(person)}
    for day in births(person):
        found.update(_of_birth(day))
    if is_supervised(facts):
        found.add(area_key(facts.district))
    for name in names(person):
        found.update(_of_name("name", words(name)))
    for name in guardians(person):
        found.update(_of_name("guardian", words(name)))
    for conviction in facts.standing:
        found.add(f"offence={conviction.offence_code}")
        found.add(f"finality={conviction.finality}")
        found.add(f"fir={_fir(conviction.fir_number)}")
    return found


def _of_name(field: str, words: Sequence[Word]) -> Iterator[str]:
    for word, group in zip(words, sounds(words), strict=True):
        yield f"{field}={word.spelling}"
        for sound in group:
            yield f"{field}~{sound}"


def _of_birth(day: date) -> Iterator[str]:
    yield f"born={day}"
    yield f"born={day.year}"


def _fir(number: str) -> str:
    return number.lstrip("0")
