"""The dated table of offences that lead onto the register.

The Anti-Rape (Investigation and Trial) Act 2021 defines them twice: s.2(1)(h) lists sections, and the explanation to
s.24 says "a scheduled offence", which is wider and can be amended. The table is data: `data/offences.csv`.
"""

import csv
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files


class OffenceBasis(StrEnum):
    """Definition by which an offence belongs on the register: names as in `nsor.registry.v1.OffenceBasis`."""

    DEFINITION = "DEFINITION"
    SCHEDULE = "SCHEDULE"


@dataclass(frozen=True, slots=True)
class Offence:
    """A row of the table.

    Attributes:
        code: for example "PPC-376".
        since: first day in force.
        until: last day in force; None while it is.
    """

    code: str
    title: str
    basis: OffenceBasis
    since: date
    until: date | None

    def in_force(self, day: date) -> bool:
        """Whether somebody could be convicted of it on a day."""
        return self.since <= day and (self.until is None or day <= self.until)


@cache
def offences() -> dict[str, Offence]:
    """The whole table by code."""
    with (files("hub.domain") / "data/offences.csv").open(encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        return {
            row["code"]: Offence(
                code=row["code"],
                title=row["title"],
                basis=OffenceBasis(row["basis"]),
                since=date.fromisoformat(row["since"]),
                until=date.fromisoformat(row["until"]) if row["until"] else None,
            )
            for row in rows
        }


def find_offence(code: str) -> Offence | None:
    """The offence with a code, or None."""
    return offences().get(code)
