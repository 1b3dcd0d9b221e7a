"""Names made comparable, whatever their script and spelling."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from demo.people import names as names_of_people
from hub.domain.names import closeness, normal, similarity, sounds, strong, words

latin = st.text("abcdefghijklmnopqrstuvwxyzABDEHIKLMORSTUWYÄáèñöû -.'’", max_size=30)
urdu = st.text(st.characters(min_codepoint=0x600, max_codepoint=0x6FF) | st.sampled_from(" \u200c،۔"), max_size=30)
names = latin | urdu | st.lists(latin | urdu).map(" ".join)

IN_BOTH_SCRIPTS = {
    "Abdullah": "عبداللہ", "Achakzai": "اچکزئی", "Afridi": "آفریدی", "Akhtar": "اختر", "Altaf": "الطاف",
    "Aurangzeb": "اورنگزیب", "Bakhsh": "بخش", "Brohi": "بروہی", "Bux": "بخش", "Chandio": "چانڈیو", "Durrani": "درانی",
    "Ejaz": "اعجاز", "Fatima": "فاطمہ", "Farhan": "فرحان", "Ghafoor": "غفور", "Ghulam": "غلام", "Haider": "حیدر",
    "Ilyas": "الیاس", "Isa": "عیسیٰ", "Ishaq": "اسحاق", "Jahangir": "جہانگیر", "Jatoi": "جتوئی", "Javed": "جاوید",
    "Kakar": "کاکڑ", "Khadija": "خدیجہ", "Khattak": "خٹک", "Khokhar": "کھوکھر", "Maqsood": "مقصود",
    "Mubashir": "مبشر", "Mughal": "مغل", "Munawwar": "منور", "Murtaza": "مرتضیٰ", "Mustafa": "مصطفیٰ",
    "Nasrullah": "نصراللہ", "Nizamuddin": "نظامالدین", "Owais": "اویس", "Pervez": "پرویز", "Phool": "پھول",
    "Rehman": "رحمٰن", "Riaz": "ریاض", "Rukhsana": "رخسانہ", "Saeed": "سعید", "Sattar": "ستار", "Sohail": "سہیل",
    "Suleman": "سلیمان", "Syed": "سید", "Tayyab": "طیب", "Touqeer": "توقیر", "Umar": "عمر", "Uzma": "عظمیٰ",
    "Wajid": "واجد", "Warraich": "وڑائچ", "Yahya": "یحییٰ", "Yousafzai": "یوسفزئی", "Yousuf": "یوسف", "Zahoor": "ظہور",
    "Zia": "ضیاء", "Zulfiqar": "ذوالفقار", "Abdul Rehman": "عبد الرحمان", "Nizam ud Din": "نظام الدین",
    "Ehsan Ullah": "احسان اللہ", "Zia-ul-Haq": "ضیاء الحق",
}  # fmt: skip


@given(names)
@example("MM")
def test_what_is_normal_stays_as_it_is(name: str) -> None:
    assert normal(normal(name)) == normal(name)


@given(names)
def test_case_marks_and_what_is_no_letter_do_not_matter(name: str) -> None:
    assert normal(f" {name.swapcase()}\u200f. ") == normal(name)


@pytest.mark.parametrize(("latin", "urdu"), [*IN_BOTH_SCRIPTS.items(), *names_of_people().items()])
def test_a_name_sounds_the_same_in_both_scripts(latin: str, urdu: str) -> None:
    assert [word.sound for word in words(latin)] == [word.sound for word in words(urdu)]
    assert similarity(words(latin), words(urdu)) == pytest.approx(0.95)


@pytest.mark.parametrize(
    "spellings",
    [
        ["Muhammad", "Mohammad", "Mohammed", "Muhammed", "Mohamed", "Mohd.", "Md", "M."],
        ["Ahmad", "Ahmed", "AHMED"],
        ["Syed", "Sayed", "Sayyid", "Saiyid"],
        ["Abdul Rahman", "Abdur Rehman", "Abd ur-Rehman", "ABDUL-RAHMAN"],
        ["Abdulrehman", "Abdurrahman"],
        ["محمد", "مُحَمَّد", "محـمد"],
        ["علی", "علي", "عَلی"],
        ["کمال", "كمال"],
    ],
)
def test_spellings_of_one_name_are_one(spellings: list[str]) -> None:
    assert len({normal(spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("Hussain", "Hussein", 0.9),
        ("Hussain", "Husain", 1),
        ("Abdul Rehman", "Abdulrehman", 0.95),
        ("عبدالرحمن", "عبد الرحمن", 0.95),
        ("Imran Khan", "Khan Imran", 1),
        ("Imran Khan", "Imran", 0.65),
        ("Muhammad Imran", "Imran", 0.85),
        ("Naveed Akhtar", "Navid Akhter", 0.85),
    ],
)
def test_names_that_may_be_one_are_alike(one: str, other: str, least: float) -> None:
    assert similarity(words(one), words(other)) >= least


@pytest.mark.parametrize(
    ("one", "other", "most"),
    [
        ("Mehmood", "Muhammad", 0.8),
        ("Imran Khan", "Irfan Khan", 0.8),
        ("Saeed", "Syed", 0.9),
        ("Nadia", "Naveed", 0.8),
        ("Tariq Mahmood", "Nasir Iqbal", 0.3),
    ],
)
def test_names_of_different_people_are_less_alike(one: str, other: str, most: float) -> None:
    assert similarity(words(one), words(other)) <= most


@given(names, names)
def test_likeness_is_mutual_and_from_0_to_1(one: str, other: str) -> None:
    alike = similarity(words(one), words(other))
    assert 0 <= alike <= 1
    assert alike == pytest.approx(similarity(words(other), words(one)))
    assert similarity(words(one), words(one)) in (0, pytest.approx(1))


def test_one_letter_swapped_dropped_added_or_replaced_is_one_error() -> None:
    for other in ("abdc", "abc", "abcde", "abxd"):
        assert closeness("abcd", other) == 1 - 1 / max(4, len(other))


@given(st.lists(st.sampled_from(["ba", "di", "fu", "ga", "ji", "ku", "la"]), min_size=4, max_size=8), st.data())
def test_a_name_with_one_consonant_wrong_is_found(syllables: list[str], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(syllables) - 1))
    wrong = list(syllables)
    wrong[place : place + 1] = data.draw(st.sampled_from([[], ["su"], [syllables[place], "su"]]))
    [one], [other] = (list(sounds(words("".join(name)))) for name in (syllables, wrong))
    assert one & other


def test_words_that_many_share_are_left_aside_where_there_are_others() -> None:
    assert [word.spelling for word in strong(words("Syed Muhammad Imran"))] == ["imran"]
    assert [word.spelling for word in strong(words("Muhammad"))] == ["muhamad"]
    assert words("-. 123") == ()
