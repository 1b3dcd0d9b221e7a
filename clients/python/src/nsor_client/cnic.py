"""The number of Pakistan's Computerized National Identity Card."""

import re
import unicodedata
from dataclasses import dataclass

_DIGITS = re.compile(r"[1-9][0-9]{12}")
_USUAL = re.compile(r"[1-9][0-9]{4}(-?)[0-9]{7}\1[0-9]")
_GAP = r"[- ]{0,3}"
_GROUPED = re.compile(rf"(?<!\d)(?<!\d-)([1-9]\d{{4}}){_GAP}(\d{{7}}){_GAP}(\d)(?!\d)(?!-\d)")
_SPREAD = re.compile(r"[1-9](?:[- ]{0,3}\d){12}")


@dataclass(frozen=True, slots=True)
class Cnic:
    """A CNIC by its 13 digits. It shows itself masked, so that no log line can hold it by accident."""

    digits: str

    def __post_init__(self) -> None:
        if not _DIGITS.fullmatch(self.digits):
            raise ValueError("a CNIC has 13 digits and does not begin with 0")

    @classmethod
    def parse(cls, text: str) -> "Cnic":
        """Reads the one CNIC that a text holds.

        Digits of any script are understood (ASCII, Urdu U+06F0-06F9, Arabic-Indic U+0660-0669, …), with dashes, dots
        and spaces of any kind between them, invisible bidi marks, and words around. The number is either grouped 5-7-1
        (or not at all), or the text has exactly 13 digits in a row of any grouping. There is no check digit, so what is
        not certain is refused: two different numbers, or a number that runs on.

        Raises:
            ValueError: the text does not hold exactly one CNIC. The text is not quoted.
        """
        # As nearly everybody writes it: what follows costs ten times as much.
        if _USUAL.fullmatch(text):
            return cls(text.replace("-", ""))
        plain = "".join(map(plain_char, text))
        found = {"".join(groups) for groups in _GROUPED.findall(plain)}
        if not found and sum(c.isdigit() for c in plain) == 13:
            found = {re.sub(r"\D", "", run) for run in _SPREAD.findall(plain)}
        if len(found) != 1:
            raise ValueError("not exactly one 13-digit number")
        return cls(found.pop())

    @property
    def formatted(self) -> str:
        """The number as on the card, "35202-0000000-1"."""
        return f"{self.digits[:5]}-{self.digits[5:12]}-{self.digits[12]}"

    @property
    def masked(self) -> str:
        """The number with its middle hidden, "35202-*****00-1"."""
        return f"{self.digits[:5]}-*****{self.digits[10:12]}-{self.digits[12]}"

    def __repr__(self) -> str:
        return f"Cnic({self.masked})"

    __str__ = __repr__


def plain_char(char: str) -> str:
    """One character as an ASCII digit, a dash, a space, nothing (invisible marks), or "x" for anything else."""
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Pd" or char in "._/\u2212\u06d4":
        return "-"
    if category in ("Zs", "Zl", "Zp") or char in "\t\r\n":
        return " "
    return "" if category == "Cf" else "x"
