"""Names of people, in Latin or Urdu letters, made comparable.

A name has no one spelling: Muhammad is written Mohammad, Mohd or M., and in Urdu, which leaves short vowels out, محمد.
Each word of a name is brought into a normal form of its script, and into its sound: the consonants, which both scripts
write. Sounds are coarse, so they find candidates; spellings tell these apart.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

# Words that are left out or added at will; they tell people apart less than others do.
_WEAK = frozenset([
    "muhamad", "sid", "haji", "hafiz", "mian", "bibi", "bigam", "mst", "musamat", "mr", "mrs", "dr",
    "محمد", "سید", "حاجی", "حافظ", "میان", "بیبی", "بیگم", "مسمات", "ڈاکٹر",
])  # fmt: skip
_WEAK_WEIGHT = 0.25

# Spellings that no rule brings together, by how they are typed.
_SAME = {
    variant: word
    for word, variants in {
        "muhamad": "m md mhd mohd muhd",
        "sid": "syed sayed sayyed sayyid saiyed saiyid syeed",
        "bigam": "begum begam",
        "chaudhri": "ch",
        "isahak": "ishaq ishaque ishak",
        "usman": "uthman othman",
        "ramzan": "ramadan ramadhan",
    }.items()
    for variant in variants.split()
}
_ARTICLES = frozenset(["ul", "ur", "ud", "us", "uz", "un", "al", "el", "e", "o"])

# Each is applied to what those before it leave.
_LATIN_RULES = (
    # Of Abdul, Abdur, Abdus, … with or without the name behind it, and of Uddin and Ullah, the article goes.
    (r"^abd[ueo](?:[lrsznt]$|l|([rsznt])(?=\1))", "abd"),
    (r"^u([ldrsz])(?=\1)", ""),
    ("eh(?![aeiouy])", "ah"),
    ("ph", "f"),
    ("q", "k"),
    ("c+k", "k"),
    ("w", "v"),
    ("[ou]+", "u"),
    ("^[ei][eiy]*|(?<=.)[eiy]+", "i"),
    (r"(.)\1+", r"\1"),
    ("^(muhamid|mahumid)$", "muhamad"),
    ("^ahmid$", "ahmad"),
)
# Capitals for what is written with two letters, and for a vowel that a word begins with.
_LATIN_SOUNDS = (
    ("x", "kS"),
    ("t?ch", "C"),
    ("sh", "S"),
    ("c(?=i)", "s"),
    ("c", "k"),
    ("^[aiu]", "A"),
    ("[aiu]|(?<=.)[hvy]", ""),
)
_DIGRAPHS = str.maketrans("CSA", "cxa")

# Letters of Arabic keyboards for those of Urdu ones, and those that sound the same at the end of a word.
_URDU_LETTERS = str.maketrans("يىےكهةۃھں", "یییکہہہھن", "ءـ")
_URDU_SOUNDS = {
    letter: sound
    for sound, letters in {
        "b": "ب", "p": "پ", "t": "تٹط", "s": "سصث", "j": "ج", "c": "چ", "k": "کقخ", "d": "دڈ", "z": "زذضظژ",
        "r": "رڑ", "x": "ش", "g": "گغ", "f": "ف", "l": "ل", "m": "م", "n": "ن",
    }.items()
    for letter in letters
}  # fmt: skip
_URDU_FIRST = {"ا": "a", "ع": "a", "و": "v", "ی": "y", "ح": "h", "ہ": "h"}
# In front of these الـ is a part of the name, not the article.
_NO_ARTICLE = frozenset(["الیاس", "الطاف", "الماس"])


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a name.

    Attributes:
        spelling: its normal form, in its own script.
        sound: its consonants, the same in both scripts; a vowel only where it begins with one.
        weight: how much it tells people apart, up to 1.
    """

    spelling: str
    sound: str
    weight: float

    @property
    def latin(self) -> bool:
        """Whether it is written in Latin letters, not Urdu ones."""
        return self.spelling.isascii()


@lru_cache(10_000)
def words(name: str) -> tuple[Word, ...]:
    """The words of a name, in their order; articles are left out. None if the name has no letters."""
    text = unicodedata.normalize("NFKD", name).casefold()
    # Marks, such as accents and short vowels, and apostrophes stand within a word; whatever else is no letter ends it.
    text = "".join(c for c in text if unicodedata.category(c) not in ("Mn", "Cf", "Lm") and c not in "'’‘`´")
    spelt = [word for raw in re.findall(r"[^\W\d_]+", text) if (word := _word(raw)).sound]
    return tuple(word for word in spelt if word.spelling not in _ARTICLES) or tuple(spelt)


def normal(name: str) -> str:
    """The normal spelling of a name; what is normal stays as it is."""
    return " ".join(word.spelling for word in words(name))


def sounds(words: Sequence[Word]) -> Iterator[frozenset[str]]:
    """For each word of a name the sounds under which it can be found.

    Its own; that sound with one letter left out, so that two names which differ in one letter have one in common, but
    for words that nearly everybody has; and the sounds of it and its neighbours in one, since they are often written
    together.
    """
    joined = [one.sound + other.sound for one, other in pairwise(words)]
    for place, word in enumerate(words):
        near = _shortened(word.sound) if word.weight == 1 else ()
        yield frozenset({word.sound, *near, *joined[max(0, place - 1) : place + 1]})


def strong(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """Those words that tell people apart; all, if there are no such words."""
    return tuple(word for word in words if word.weight == 1) or words


def similarity(one: Sequence[Word], other: Sequence[Word]) -> float:
    """How alike two names are, from 0 to 1: word by word, whatever their order, or both written in one word."""
    if not one or not other:
        return 0.0
    pairs = sorted(
        ((_alike(a, b), i, j) for i, a in enumerate(one) for j, b in enumerate(other)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    total = sum(word.weight for word in (*one, *other))
    found = 0.0
    left, right = set(range(len(one))), set(range(len(other)))
    for alike, i, j in pairs:
        if i in left and j in right:
            found += alike * (one[i].weight + other[j].weight)
            left.remove(i)
            right.remove(j)
    if len(one) == len(other):
        return found / total
    return max(found / total, _alike(_in_one(one), _in_one(other)))


def _alike(one: Word, other: Word) -> float:
    """How alike two words are: spelling and sound in one script, the sound alone across two."""
    if one.spelling == other.spelling:
        return 1.0
    sound = closeness(one.sound, other.sound)
    if one.latin != other.latin:
        return 0.95 * sound
    return (sound + closeness(one.spelling, other.spelling)) / 2


@lru_cache(10_000)
def closeness(one: str, other: str) -> float:
    """1 less the share of letters to add, drop, replace or swap with the next to make one text of another."""
    if one == other:
        return 1.0
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (a != b))
            if i > 1 and j > 1 and a == other[j - 2] and one[i - 2] == b:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return 1 - last[-1] / max(len(one), len(other))


def _in_one(words: Sequence[Word]) -> Word:
    spelling, sound = "".join(w.spelling for w in words), "".join(w.sound for w in words)
    return Word(spelling, sound, 1.0)


def _shortened(sound: str) -> Iterator[str]:
    if len(sound) >= 3:
        for place in range(len(sound)):
            yield sound[:place] + sound[place + 1 :]


@lru_cache(10_000)
def _word(raw: str) -> Word:
    latin = raw.isascii()
    spelling = _latin(raw) if latin else _urdu(raw)
    sound = _latin_sound(spelling) if latin else _urdu_sound(spelling)
    return Word(spelling, sound, _WEAK_WEIGHT if spelling in _WEAK else 1.0)


def _latin(raw: str) -> str:
    if raw in _SAME:
        return _SAME[raw]
    spelling = _rewritten(raw, _LATIN_RULES)
    return _SAME.get(spelling, spelling)


def _latin_sound(spelling: str) -> str:
    return _rewritten(spelling, _LATIN_SOUNDS).translate(_DIGRAPHS)


def _rewritten(text: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def _urdu(raw: str) -> str:
    raw = raw.replace("پھ", "ف").translate(_URDU_LETTERS)  # "ph", which Latin letters do not tell from f
    raw = re.sub("^عبدال", "عبد", raw)
    raw = re.sub(r"(?<=..)ال(?=دین$|حق$|سلام$|رحمن$|رحمان$|لہ$)", "", raw)
    return raw if raw in _NO_ARTICLE else re.sub("^ال(?=..)", "", raw)


def _urdu_sound(spelling: str) -> str:
    spelling = re.sub(r"(.)\1+", r"\1", spelling)
    first = _URDU_FIRST.get(spelling[:1], "")
    return first + "".join(_URDU_SOUNDS.get(letter, "") for letter in spelling)
