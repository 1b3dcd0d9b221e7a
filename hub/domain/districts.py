"""The gazetteer of Pakistan's districts, from the package `pakdatakit`."""

from datetime import timedelta, timezone
from functools import cache

import pakdatakit

PROVINCES = (
    "Azad Jammu and Kashmir",
    "Balochistan",
    "Gilgit-Baltistan",
    "Islamabad Capital Territory",
    "Khyber Pakhtunkhwa",
    "Punjab",
    "Sindh",
)

TIME_ZONE = timezone(timedelta(hours=5))
"""That of the whole country, all year."""


@cache
def districts() -> dict[str, str]:
    """Every district in the gazetteer's spelling, with its province."""
    return {name: province for province in PROVINCES for name in pakdatakit.get_districts_by_province(province)}


@cache
def _by_key() -> dict[str, str]:
    return {_key(name): name for name in districts()}


def find_district(name: str) -> str | None:
    """The gazetteer's spelling of a district, whatever the case and spacing; None if there is none of that name.

    Districts that were divided or renamed are known by their former names too, which are kept as they are given.
    """
    if found := _by_key().get(_key(name)):
        return found
    return " ".join(name.split()).title() if pakdatakit.get_district_province(name) else None


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
