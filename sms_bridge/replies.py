"""Every Urdu reply of the service stands here, each with its meaning in English.

Whoever changes a wording keeps to three rules, and the tests hold them to it: the letters are Urdu's own
(ی ک ہ ے, never their Arabic look-alikes); "no record" never says that somebody is clean; a number is repeated
as it was understood, so that a slip of the finger can be noticed.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, timedelta, timezone
from typing import Final

from nsor.lookup.v1 import lookup_service_pb2 as lookup
from nsor.registry.v1 import offender_pb2 as registry

# "Beware! ABC son of XYZ is a convict. Don't let him be around children and women."
# The rest of the sentence is the same for him and for her.
HIT: Final = "خبردار! {person} سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔{number}"

# "the holder of this identity card": the policy lets the hit out, but no name.
UNNAMED: Final = "اس شناختی کارڈ کا حامل"

# "Under this number there is no entry up to <time>. This is no certificate of good conduct."
NO_RECORD: Final = "اس نمبر پر {time} تک کوئی اندراج نہیں۔ یہ نیک چلنی کا سرٹیفکیٹ نہیں ہے۔{number}"

# "Not a valid number. Write all 13 digits of one identity card and send them again."
INVALID_CNIC: Final = "نمبر درست نہیں۔ ایک شناختی کارڈ کے پورے 13 ہندسے لکھ کر دوبارہ بھیجیں۔"

# "No answer is possible at this time. Please ask again in a while."
CANNOT_ANSWER: Final = "اس وقت جواب دینا ممکن نہیں۔ کچھ دیر بعد دوبارہ پوچھیں۔{number}"

# "Compare the number: <number>"
NUMBER: Final = "\nنمبر ملا لیں: {number}"

# "<name> son of / daughter of / wife of <guardian>", by the sex and the relation on the record.
RELATIONS: Final = {
    (registry.SEX_MALE, registry.GUARDIAN_RELATION_FATHER): "{name} ولد {guardian}",
    (registry.SEX_FEMALE, registry.GUARDIAN_RELATION_FATHER): "{name} بنت {guardian}",
    (registry.SEX_FEMALE, registry.GUARDIAN_RELATION_HUSBAND): "{name} زوجہ {guardian}",
}

# "<name> (father's name / husband's name / guardian's name <guardian>)": for the third gender, and wherever
# sex and relation have no word of their own.
NEUTRAL_RELATIONS: Final = {
    registry.GUARDIAN_RELATION_FATHER: "{name} (والد کا نام {guardian})",
    registry.GUARDIAN_RELATION_HUSBAND: "{name} (شوہر کا نام {guardian})",
    registry.GUARDIAN_RELATION_UNSPECIFIED: "{name} (سرپرست کا نام {guardian})",
}

# Pakistan Standard Time: no daylight saving since 2009, so that no time zone database is needed.
_PAKISTAN: Final = timezone(timedelta(hours=5))

# Makes the digits after it read from left to right inside Urdu. Old handsets know this mark, but not the
# isolates of Unicode 6.3.
_LEFT_TO_RIGHT: Final = "\N{LEFT-TO-RIGHT MARK}"

# Letters that Arabic keyboards write for Urdu's own. Others that normalisers of Arabic fold (ے, ھ, آ) are
# letters of their own in Urdu, and stay.
_TO_URDU: Final = {
    ord("\N{ARABIC LETTER YEH}"): "\N{ARABIC LETTER FARSI YEH}",
    ord("\N{ARABIC LETTER ALEF MAKSURA}"): "\N{ARABIC LETTER FARSI YEH}",
    ord("\N{ARABIC LETTER KAF}"): "\N{ARABIC LETTER KEHEH}",
    ord("\N{ARABIC LETTER HEH}"): "\N{ARABIC LETTER HEH GOAL}",
    ord("\N{ARABIC LETTER AE}"): "\N{ARABIC LETTER HEH GOAL}",
    ord("\N{ARABIC LETTER HEH WITH YEH ABOVE}"): "\N{ARABIC LETTER HEH GOAL WITH HAMZA ABOVE}",
    ord("\N{ARABIC LETTER TEH MARBUTA}"): "\N{ARABIC LETTER TEH MARBUTA GOAL}",
}

# Invisible, but part of the spelling: they decide whether two letters join.
_JOINERS: Final = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"


def reply_for(response: lookup.CheckCnicResponse) -> str:
    """The Urdu reply to one check.

    Nothing becomes "no record" by default: an outcome that is not known here, and a "no record" that lacks
    its time, read "cannot answer".
    """
    number = NUMBER.format(number=_LEFT_TO_RIGHT + response.masked_cnic) if response.masked_cnic else ""
    match response.outcome:
        case lookup.OUTCOME_HIT:
            return HIT.format(person=_describe(response.person), number=number)
        case lookup.OUTCOME_NO_RECORD if response.HasField("as_of_time"):
            time = response.as_of_time.ToDatetime(UTC).astimezone(_PAKISTAN)
            return NO_RECORD.format(time=f"{_LEFT_TO_RIGHT}{time:%d-%m-%Y %H:%M}", number=number)
        case lookup.OUTCOME_INVALID_CNIC:
            return INVALID_CNIC
        case _:
            return CANNOT_ANSWER.format(number=number)


def display_name(name: str) -> str:
    """A name from a record as it is shown: whole, in Urdu's own letters, on one line.

    Control and direction marks go, because they could reorder the sentence around the name.
    """
    # NFKC joins a letter with its mark, so that ئ is not taken for ي, and opens ligatures such as ﷲ.
    letters = unicodedata.normalize("NFKC", name).translate(_TO_URDU)
    one_line = " ".join(letters.split())
    visible = (c for c in one_line if c in _JOINERS or unicodedata.category(c) not in ("Cc", "Cf"))
    return unicodedata.normalize("NFC", "".join(visible))


def _describe(person: lookup.DisclosedPerson) -> str:
    name = display_name(person.full_name_ur) or display_name(person.full_name)
    guardian = display_name(person.guardian_name_ur) or display_name(person.guardian_name)
    if not name:
        return UNNAMED
    if not guardian:
        return name
    template = (
        RELATIONS.get((person.sex, person.guardian_relation))
        or NEUTRAL_RELATIONS.get(person.guardian_relation)
        or NEUTRAL_RELATIONS[registry.GUARDIAN_RELATION_UNSPECIFIED]
    )
    return template.format(name=name, guardian=guardian)
