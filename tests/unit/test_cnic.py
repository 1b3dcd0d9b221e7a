"""Reading a CNIC out of what people type."""

import random
import traceback
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pakdatakit import validate_cnic

from hub.domain.cnic import Cnic

SCRIPTS = ["0123456789", "۰۱۲۳۴۵۶۷۸۹", "٠١٢٣٤٥٦٧٨٩"]
numbers = st.from_regex(r"[1-9][0-9]{12}", fullmatch=True)
# All that may come between digits, around them, or be taken for one.
alphabet = "".join(SCRIPTS) + "-‐‑‒–—―−. \t\n\u00a0\u200e\u200f\u202a\u202e\u2067\u2069,/()+xCی²①𝟗९১"


@st.composite
def typed(draw: st.DrawFn, number: str) -> str:
    """A number as pakdatakit understands it: any mixture of digits, one separator, spaces around."""
    scripts = draw(st.lists(st.sampled_from(SCRIPTS), min_size=13, max_size=13))
    digits = "".join(script[int(digit)] for script, digit in zip(scripts, number, strict=True))
    separator = draw(st.sampled_from(["", *"-‐‑‒–—. "]))
    before, after = draw(st.text(" \t\n\u00a0", max_size=2)), draw(st.text(" \t\n\u00a0", max_size=2))
    return f"{before}{digits[:5]}{separator}{digits[5:12]}{separator}{digits[12]}{after}"


def digits_of(text: str) -> str:
    """The decimal digits of a text, of whatever script, in their order."""
    return "".join(str(unicodedata.decimal(character)) for character in text if character.isdecimal())


def read(text: str) -> str | None:
    """The number that is read, or nothing where none is."""
    try:
        return Cnic.parse(text).digits
    except ValueError:
        return None


@given(data=st.data(), number=numbers)
def test_what_pakdatakit_accepts_is_read(data: st.DataObject, number: str) -> None:
    text = data.draw(typed(number))
    assert validate_cnic(text) or number[0] == "9", "pakdatakit knows no province 9"
    assert read(text) == number


@given(number=numbers)
def test_a_number_has_one_form(number: str) -> None:
    cnic = Cnic.parse(number)
    assert cnic.formatted == f"{number[:5]}-{number[5:12]}-{number[12]}"
    assert cnic.masked == f"{number[:5]}-*****{number[10:12]}-{number[12]}"
    assert cnic == Cnic.parse(cnic.formatted)
    assert hash(cnic) == hash(Cnic.parse(cnic.formatted))


@given(st.text(alphabet, max_size=40) | st.text(max_size=60))
@example("91234-1234567-1\u202e2")
@example("²" * 13)
@example("𝟗" * 13)
def test_no_number_is_made_up(text: str) -> None:
    number = read(text)
    assert number is None or (len(number) == 13 and number in digits_of(text))


@given(st.randoms(use_true_random=True))
def test_no_number_is_made_up_of_what_nearly_is_one(chance: random.Random) -> None:
    """Of 500 texts at once, which is a million with --long: one by one they would take an hour."""
    for _ in range(500):
        text = nearly_a_number(chance)
        number = read(text)
        assert number is None or (len(number) == 13 and number in digits_of(text)), ascii(text)


def nearly_a_number(chance: random.Random) -> str:
    """Groups of digits in any script, most often 5, 7 and 1 of them, with anything between and around."""
    sizes = [5, 7, 1] if chance.random() < 0.7 else [chance.randrange(15) for _ in range(chance.randrange(5))]
    groups = ["".join(chance.choices(chance.choice(SCRIPTS), k=size + (chance.random() < 0.05))) for size in sizes]
    between = ["".join(chance.choices(alphabet, k=chance.choice([0, 0, 1, 1, 2, 5]))) for _ in range(len(groups) + 1)]
    return "".join(part for pair in zip(between, [*groups, ""], strict=True) for part in pair)


@given(data=st.data(), number=numbers, words=st.text("abcXYZ ,:؟ہے", max_size=20))
def test_words_around_a_number_do_not_matter(data: st.DataObject, number: str, words: str) -> None:
    assert read(f"{words} {data.draw(typed(number))} {words}") == number


@given(data=st.data(), number=numbers, digit=st.sampled_from("".join(SCRIPTS)), at=st.integers(0, 13))
def test_a_digit_too_few_or_too_many_is_no_cnic(data: st.DataObject, number: str, digit: str, at: int) -> None:
    separator = data.draw(st.sampled_from(["", "-", " ", "\u200f"]))
    longer, shorter = number[:at] + digit + number[at:], number[:at] + number[at + 1 :]
    assert read(longer) is None
    assert at == 13 or read(shorter) is None
    assert read(f"{number[:5]}{separator}{number[5:12]}{separator}{number[12]}{digit}") is None
    assert read(f"{digit}{number[:5]}{separator}{number[5:12]}{separator}{number[12]}") is None


@given(data=st.data(), one=numbers, two=numbers, between=st.sampled_from([" ", ", ", " or ", "\n", " یا "]))
def test_of_two_numbers_neither_is_chosen(data: st.DataObject, one: str, two: str, between: str) -> None:
    if one != two:
        assert read(f"{data.draw(typed(one))}{between}{data.draw(typed(two))}") is None


@pytest.mark.parametrize(
    "text",
    [
        "My phone is 0300-1234567, my CNIC 91234-1234567-1",
        "9123412345671 born in 1990",
        "House 12: 91234-1234567-1",
        "91234-1234567-1 (2 children)",
    ],
)
def test_other_numbers_beside_it_do_not_hide_it(text: str) -> None:
    assert read(text) == "9123412345671"


@pytest.mark.parametrize(
    "text", ["", " ", "-", "0" * 13, "0123412345671", "9" * 12, "9" * 14, "9" * 26, "9" * 10_000, "nine", "½" * 13]
)
def test_a_text_without_a_cnic_is_refused(text: str) -> None:
    assert read(text) is None


@given(data=st.data(), number=numbers)
def test_the_number_is_not_shown_by_accident(data: st.DataObject, number: str) -> None:
    cnic = Cnic.parse(data.draw(typed(number)))
    for shown in (repr(cnic), str(cnic), f"{cnic}", f"{cnic!r:>40}", str([cnic]), str({cnic: cnic})):
        masked = number[:5] + number[10:]
        assert digits_of(shown).replace(masked, "") == ""


@given(number=numbers, digit=st.sampled_from("0123456789"))
def test_an_error_does_not_quote_the_text(number: str, digit: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - what it says is the matter here
        Cnic.parse(f"CNIC {number}{digit}")
    shown = digits_of("".join(traceback.format_exception_only(error.value)))
    assert number[:5] not in shown
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
