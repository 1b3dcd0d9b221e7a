"""Documents by which a person is known who may have no CNIC: the police find them by these, checks never do."""

import re
from dataclasses import dataclass

from hub.domain.cnic import Cnic, plain_char


@dataclass(frozen=True, slots=True)
class OldNic:
    """The number of an identity card from before the CNIC (until 2004), by its 11 digits. It shows itself masked."""

    digits: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9]{11}", self.digits):
            raise ValueError("the number of an old card has 11 digits")

    @classmethod
    def parse(cls, text: str) -> "OldNic":
        """Reads a number of 11 digits of any script, with dashes, dots and spaces between them, and nothing else.

        Raises:
            ValueError: it is none. The text is not quoted.
        """
        return cls(re.sub("[- ]", "", "".join(map(plain_char, text))))

    @property
    def formatted(self) -> str:
        """The number as on the card, "270-55-123456"."""
        return f"{self.digits[:3]}-{self.digits[3:5]}-{self.digits[5:]}"

    def __repr__(self) -> str:
        return f"OldNic({self.digits[:3]}-**-******)"

    __str__ = __repr__


@dataclass(frozen=True, slots=True)
class Passport:
    """A passport, by the country that issued it and its number. It shows itself masked.

    Attributes:
        country: ISO 3166-1 alpha-3 code, for example "AFG".
        number: 1 to 9 letters A to Z and digits, as the machine-readable zone holds it (ICAO Doc 9303, part 4).
    """

    country: str
    number: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z]{3}", self.country) or not re.fullmatch(r"[A-Z0-9]{1,9}", self.number):
            raise ValueError("a passport has a country of 3 letters and a number of 1 to 9 letters and digits")

    @classmethod
    def parse(cls, country: str, number: str) -> "Passport":
        """Reads a number with letters of either case, and with dashes and spaces between them.

        Raises:
            ValueError: it is none. The text is not quoted.
        """
        return cls(country, re.sub("[- ]", "", number).upper() if number.isascii() else "")

    def __repr__(self) -> str:
        return f"Passport({self.country} ***)"

    __str__ = __repr__


Document = Cnic | OldNic | Passport
"""What a person is known by. No two records that stand have one in common."""
