"""People for tests, none of them used twice in a run."""

import os
from itertools import count
from typing import Any

from demo.people import cnic, offenders
from nsor.registry.v1 import offender_pb2

# Each test process counts in a range of its own, far from the demonstration's.
_numbers = count(10_000_000_000 + os.getpid() * 100_000)


def fresh_cnic() -> str:
    """A CNIC that no other test uses."""
    return cnic(next(_numbers))


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
