"""People for tests, none of them used twice in a run."""

import os
from itertools import count
from typing import Any

from demo.people import cnic, offenders
from hub.domain.documents import OldNic
from nsor.registry.v1 import offender_pb2

# Each test process counts in a range of its own, far from the demonstration's.
_numbers = count(10_000_000_000 + os.getpid() * 100_000)


def fresh_cnic() -> str:
    """A CNIC that no other test uses."""
    return cnic(next(_numbers))


def fresh_old_nic() -> str:
    """The number of a card from before 2004 that no other test uses."""
    return OldNic(f"9{next(_numbers) % 10**10:010}").formatted


def fresh_passport() -> offender_pb2.Passport:
    """A passport that no other test uses."""
    return offender_pb2.Passport(country="AFG", number=f"{next(_numbers) % 10**9:09}")


def fresh_offender(**person: Any) -> offender_pb2.Offender:
    """A valid record of a person whom no other test uses, of Faisalabad.

    Args:
        person: fields of `Person` to set otherwise.
    """
    number = next(_numbers)
    [offender] = offenders(1, province="Punjab", seed=number, first=number)
    offender.district = "Faisalabad"  # so that a move to another district is one
    for name, value in person.items():
        setattr(offender.person, name, value)
    return offender
