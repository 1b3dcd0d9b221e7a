"""The Urdu replies: what they say, for whom, in which letters."""

import unicodedata

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from nsor.lookup.v1 import lookup_service_pb2 as lookup
from nsor.registry.v1 import offender_pb2 as registry
from sms_bridge import replies
from sms_bridge.replies import display_name, reply_for
from sms_bridge.smpp.text import UCS_2, encode_segments

MASKED = "61101-*****00-1"
FATHER, HUSBAND = registry.GUARDIAN_RELATION_FATHER, registry.GUARDIAN_RELATION_HUSBAND
AS_OF = Timestamp()
AS_OF.FromJsonString("2026-03-01T21:05:00Z")

LOOKALIKES = "يىكهةۀە"
PERSIAN_AND_ARABIC_DIGITS = "٠١٢٣٤٥٦٧٨٩"
TEMPLATES = {
    **{name: text for name, text in vars(replies).items() if name[0].isupper() and isinstance(text, str)},
    **{f"relation {key}": value for key, value in replies.RELATIONS.items()},
    **{f"neutral relation {key}": value for key, value in replies.NEUTRAL_RELATIONS.items()},
}


def hit(**person: object) -> lookup.CheckCnicResponse:
    details = {"full_name": "Test Person", "guardian_name": "Test Guardian", "sex": registry.SEX_MALE}
    return lookup.CheckCnicResponse(
        outcome=lookup.OUTCOME_HIT,
        as_of_time=AS_OF,
        masked_cnic=MASKED,
        person=lookup.DisclosedPerson(**{**details, "guardian_relation": FATHER, **person}),  # type: ignore[arg-type]
    )


def every_reply() -> dict[str, str]:
    answers = {
        name: lookup.CheckCnicResponse(outcome=value, as_of_time=AS_OF, masked_cnic=MASKED)
        for name, value in lookup.Outcome.items()
    }
    named = {
        f"{sex} {relation}": hit(sex=sex, guardian_relation=relation)
        for sex in registry.Sex.values()
        for relation in registry.GuardianRelation.values()
    }
    return {name: reply_for(answer) for name, answer in {**answers, **named}.items()}


def test_the_warning_is_the_one_that_was_promised() -> None:
    reply = reply_for(hit(full_name_ur="احمد علی", guardian_name_ur="غلام رسول"))
    assert reply.splitlines() == [
        "خبردار! احمد علی ولد غلام رسول سزا یافتہ مجرم ہے۔ اسے بچوں اور عورتوں کے قریب نہ آنے دیں۔",
        f"نمبر ملا لیں: \N{LEFT-TO-RIGHT MARK}{MASKED}",
    ]


@pytest.mark.parametrize(
    ("sex", "relation", "words"),
    [
        (registry.SEX_MALE, FATHER, "الف ولد ب سزا"),
        (registry.SEX_FEMALE, FATHER, "الف بنت ب سزا"),
        (registry.SEX_FEMALE, HUSBAND, "الف زوجہ ب سزا"),
        (registry.SEX_X, FATHER, "الف (والد کا نام ب) سزا"),
        (registry.SEX_X, HUSBAND, "الف (شوہر کا نام ب) سزا"),
        (registry.SEX_MALE, HUSBAND, "الف (شوہر کا نام ب) سزا"),
        (registry.SEX_UNSPECIFIED, FATHER, "الف (والد کا نام ب) سزا"),
        (registry.SEX_MALE, registry.GUARDIAN_RELATION_UNSPECIFIED, "الف (سرپرست کا نام ب) سزا"),
        (registry.SEX_FEMALE, 99, "الف (سرپرست کا نام ب) سزا"),
    ],
)
@pytest.mark.parametrize("masked_cnic", [MASKED, "61101-*****00-2"])
def test_the_relation_follows_the_record_and_not_the_last_digit(
    sex: registry.Sex.ValueType,
    relation: registry.GuardianRelation.ValueType,
    words: str,
    masked_cnic: str,
) -> None:
    answer = hit(sex=sex, guardian_relation=relation, full_name_ur="الف", guardian_name_ur="ب")
    answer.masked_cnic = masked_cnic
    assert words in reply_for(answer)


def test_a_name_without_urdu_stands_in_latin_letters() -> None:
    assert "Test Person ولد غلام رسول سزا" in reply_for(hit(guardian_name_ur="غلام رسول"))
    assert "احمد ولد Test Guardian سزا" in reply_for(hit(full_name_ur="احمد"))


def test_a_person_without_a_guardian_is_named_alone() -> None:
    assert "Test Person سزا" in reply_for(hit(guardian_name=""))


@pytest.mark.parametrize(
    "answer",
    [
        lookup.CheckCnicResponse(outcome=lookup.OUTCOME_HIT, masked_cnic=MASKED),
        hit(full_name=" ", guardian_name="Test Guardian"),
    ],
    ids=["the policy discloses nobody", "no name on the record"],
)
def test_a_hit_without_a_name_warns_of_the_holder_of_the_number(answer: lookup.CheckCnicResponse) -> None:
    reply = reply_for(answer)
    assert reply.startswith("خبردار! اس شناختی کارڈ کا حامل سزا یافتہ مجرم ہے۔")
    assert MASKED in reply
    assert "{" not in reply


def test_no_name_is_ever_shortened() -> None:
    name, guardian = "ایک بہت لمبا نام " * 7 + "ختم", "Very Long Name " * 7 + "End"
    reply = reply_for(hit(full_name_ur=name, guardian_name=guardian))
    assert f"{name} ولد {guardian} سزا" in reply


def test_no_record_says_up_to_when_in_pakistan_and_that_it_clears_nobody() -> None:
    reply = reply_for(lookup.CheckCnicResponse(outcome=lookup.OUTCOME_NO_RECORD, as_of_time=AS_OF, masked_cnic=MASKED))
    assert "02-03-2026 02:05 تک کوئی اندراج نہیں" in reply  # UTC+5, the next day
    assert "یہ نیک چلنی کا سرٹیفکیٹ نہیں ہے" in reply
    assert MASKED in reply


@pytest.mark.parametrize(
    "answer",
    [
        lookup.CheckCnicResponse(outcome=lookup.OUTCOME_NO_RECORD, masked_cnic=MASKED),
        lookup.CheckCnicResponse(outcome=lookup.OUTCOME_UNSPECIFIED, as_of_time=AS_OF),
        lookup.CheckCnicResponse(outcome=99, as_of_time=AS_OF),  # type: ignore[arg-type]
        lookup.CheckCnicResponse(
            outcome=lookup.OUTCOME_CANNOT_ANSWER,
            cannot_answer_reason=lookup.CANNOT_ANSWER_REASON_CONSENT_NEEDED,
            masked_cnic=MASKED,
        ),
    ],
    ids=["no time", "unspecified", "from a later contract", "consent needed"],
)
def test_what_is_not_known_is_never_read_as_no_record(answer: lookup.CheckCnicResponse) -> None:
    assert reply_for(answer).startswith("اس وقت جواب دینا ممکن نہیں۔")


def test_every_reply_about_a_number_repeats_it_masked() -> None:
    replies_without_number = {name for name, reply in every_reply().items() if MASKED not in reply}
    assert replies_without_number == {"OUTCOME_INVALID_CNIC"}


def test_a_reply_without_a_number_has_no_line_for_it() -> None:
    assert "\n" not in reply_for(lookup.CheckCnicResponse(outcome=lookup.OUTCOME_CANNOT_ANSWER))


@pytest.mark.parametrize("text", TEMPLATES.values(), ids=TEMPLATES.keys())
def test_templates_have_urdu_letters_only(text: str) -> None:
    assert not set(text) & set(LOOKALIKES + PERSIAN_AND_ARABIC_DIGITS)
    assert text == unicodedata.normalize("NFC", text)
    assert not {c for c in text if unicodedata.category(c) in ("Cf", "Co", "Cn")}


@pytest.mark.parametrize("reply", every_reply().values(), ids=every_reply().keys())
def test_each_line_begins_with_a_letter_that_makes_it_run_from_right_to_left(reply: str) -> None:
    for line in reply.splitlines():
        assert unicodedata.bidirectional(line[0]) == "AL"


@pytest.mark.parametrize("reply", every_reply().values(), ids=every_reply().keys())
def test_numbers_are_marked_to_run_from_left_to_right(reply: str) -> None:
    for word in reply.split():
        if "-" in word or ":" in word[:-1]:
            assert word.startswith("\N{LEFT-TO-RIGHT MARK}") or word == "02:05"  # it follows the date


def test_replies_with_names_of_usual_length_are_two_messages_at_most() -> None:
    reply = reply_for(hit(full_name_ur="محمد عبداللہ خان", guardian_name_ur="غلام مصطفیٰ"))
    segments = encode_segments(reply, reference=1)
    assert [segment.data_coding for segment in segments] == [UCS_2, UCS_2]
    assert len(encode_segments(replies.INVALID_CNIC, reference=1)) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("علي", "علی"),
        ("موسى", "موسی"),
        ("كريم", "کریم"),
        ("مهوش", "مہوش"),
        ("فاطمة", "فاطمۃ"),
        ("عبدﷲ", "عبداللہ"),  # one ligature character
        ("\N{ARABIC LETTER MEEM INITIAL FORM}\N{ARABIC LETTER YEH FINAL FORM}", "می"),  # shaped forms
        ("عائشہ", "عائشہ"),
        ("عا\N{ARABIC LETTER YEH}\N{ARABIC HAMZA ABOVE}شه", "عائشہ"),  # the same, decomposed
        ("هاشمي  كا\tگھر\nے آم", "ہاشمی کا گھر ے آم"),
        ("خان\N{ZERO WIDTH NON-JOINER}زادہ", "خان\N{ZERO WIDTH NON-JOINER}زادہ"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}Ali\N{POP DIRECTIONAL FORMATTING}\x00", "Ali"),
        ("Zoë O'Neill-{x}", "Zoë O'Neill-{x}"),
        ("", ""),
    ],
)
def test_names_are_shown_whole_in_urdu_letters_on_one_line(name: str, shown: str) -> None:
    assert display_name(name) == shown
    assert display_name(shown) == shown
    assert not set(shown) & set(LOOKALIKES)


def test_names_with_foreign_letters_reach_the_reply_in_urdu_letters() -> None:
    reply = reply_for(hit(full_name_ur="علي كريم", guardian_name_ur="ابراهيم"))
    assert "علی کریم ولد ابراہیم سزا" in reply
