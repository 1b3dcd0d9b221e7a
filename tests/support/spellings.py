"""People whose names are spelt in many ways, for measuring how well they are found.

The spellings are those in use, written down independently of the rules in `hub.domain.names`. The first of each is how
a record has it, the Urdu ones come last.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

from nsor.registry.v1.offender_pb2 import Offender
from nsor.registry.v1.registry_service_pb2 import SearchOffendersRequest, SearchOffendersResponse

_MEN = """
Muhammad Mohammad Mohammed Mohd. M. محمد
Ahmed Ahmad Ahmmad احمد
Ali Aly علی علي
Hussain Husain Hussein Husein حسین
Hassan Hasan حسن
Usman Usmaan Uthman Osman عثمان
Umar Omar Umer Omer عمر
Abdul-Rehman Abdur-Rahman Abdurrehman Abd-ul-Rahman Abdulrahman عبدالرحمن عبدالرحمٰن
Abdul-Ghaffar Abdulghafar Abdul-Ghafar Abdul-Gaffar عبدالغفار
Abdullah Abdulla Abd-Ullah عبداللہ
Yousaf Yusuf Yousuf Yousef یوسف
Imran Emran Imraan عمران
Irfan Erfan Irfaan عرفان
Tariq Tarik Tareq طارق
Khalid Khaled Khaalid خالد
Shahid Shaheed شاہد
Rashid Rasheed Raashid راشد
Naveed Navid Nawid نوید
Nadeem Nadim ندیم
Javed Javaid Jawed Javid جاوید
Pervez Parvez Pervaiz Parvaiz پرویز
Waseem Wasim Vaseem وسیم
Saleem Salim سلیم
Aslam Aslem اسلم
Akram Akrum اکرم
Riaz Riyaz Reyaz ریاض
Ejaz Ijaz Aijaz Eijaz اعجاز
Zulfiqar Zulfikar Zulfeqar ذوالفقار
Iftikhar Iftekhar Iftikar افتخار
Mushtaq Mushtaque Mushtak مشتاق
Ashfaq Ashfaque Ishfaq اشفاق
Shafiq Shafique Shafeeq شفیق
Rafiq Rafique Rafeeq رفیق
Qasim Kasim Qassim Qaasim قاسم
Ghulam Gulam Golam غلام
Rasool Rasul Rassool رسول
Mehmood Mahmood Mahmud Mehmud محمود
Maqsood Maqsud Maksood مقصود
Masood Masud Massood مسعود
Sajid Saajid Sajjid ساجد
Majid Majeed Maajid ماجد
Waheed Wahid Vahid وحید
Haider Hyder Haidar حیدر
Bashir Basheer بشیر
Nazir Nazeer نذیر
Munir Muneer منیر
Zaheer Zahir ظہیر
Sohail Suhail Sohel سہیل
Faisal Faysal Feisal فیصل
Bilal Belal Bilaal بلال
"""
_WOMEN = """
Ayesha Aisha Aysha Aaisha عائشہ
Fatima Fatimah Fatema فاطمہ
Khadija Khadeeja Khatija خدیجہ
Zainab Zaynab Zenab زینب
Nasreen Nasrin نسرین
Yasmin Yasmeen Yasmine یاسمین
Shazia Shaziya شازیہ
Rukhsana Ruksana Rukhsaana رخسانہ
Samina Sameena ثمینہ
Farzana Farzaana فرزانہ
"""
_FAMILIES = """
Khan Kahn خان
Chaudhry Choudhry Chaudhary Chowdhury Ch. چوہدری چودھری
Qureshi Quraishi Qureishi Kureshi قریشی
Siddiqui Siddiqi Sadiqui Siddiki صدیقی
Sheikh Shaikh Shaykh شیخ
Bhatti Bhati Bhattee بھٹی
Butt Butt بٹ
Malik Malick Maalik ملک
Mirza Meerza مرزا
Baig Beg بیگ
Raja Rajah راجہ
Rana Raana رانا
Rajput Rajpoot راجپوت
Awan Aawan اعوان
Gujjar Gujar گجر
Baloch Balouch Baluch بلوچ
Soomro Sumro سومرو
Bhutto Bhuto بھٹو
Memon Meman میمن
Abbasi Abasi عباسی
Hashmi Hashimi ہاشمی
Bukhari Bokhari بخاری
Gilani Gillani Geelani Jilani گیلانی
Naqvi Naqwi Nakvi نقوی
Rizvi Rizwi رضوی
Zaidi Zaidy زیدی
Shah Shaah شاہ
Afridi Afreedi آفریدی
Khattak Khatak خٹک
Yousafzai Yusufzai Yousufzai یوسفزئی
Durrani Durani درانی
Niazi Neyazi نیازی
Wattoo Watto وٹو
Dogar Doggar ڈوگر
Cheema Chima چیمہ
Warraich Waraich Warraitch وڑائچ
Gondal Gondul گوندل
Janjua Janjooa جنجوعہ
Mughal Moghal مغل
Ansari Ansary انصاری
"""


@dataclass(frozen=True)
class Spelt:
    """A name and how it can be spelt.

    Attributes:
        words: for each word of the name all its spellings.
    """

    words: tuple[tuple[str, ...], ...]

    @property
    def latin(self) -> str:
        """As a record has it."""
        return " ".join(word[0] for word in self.words).replace("-", " ")

    @property
    def urdu(self) -> str:
        """As a record has it in Urdu."""
        return " ".join(next(spelling for spelling in word if not spelling.isascii()) for word in self.words)

    def otherwise(self, chance: random.Random) -> str:
        """Another spelling of it in Latin letters."""
        texts = [chance.choice([s for s in word[1:] or word if s.isascii()] or [word[0]]) for word in self.words]
        return " ".join(texts).replace("-", " ")

    def in_urdu(self, chance: random.Random) -> str:
        """A spelling of it in Urdu."""
        return " ".join(chance.choice([s for s in word if not s.isascii()]) for word in self.words)

    def mistyped(self, chance: random.Random) -> str:
        """The record's spelling with a typing error in one word: a letter left out, doubled, replaced or swapped."""
        texts = self.latin.split()
        place = max(range(len(texts)), key=lambda i: (len(texts[i]), chance.random()))
        texts[place] = _with_error(texts[place], chance)
        return " ".join(texts)

    def shortened(self, chance: random.Random) -> str:
        """Without the first or the last word."""
        texts = self.latin.split()
        return " ".join(texts[1:] if chance.random() < 0.5 else texts[:-1])


@dataclass(frozen=True)
class Somebody:
    """A person of a generated population."""

    name: Spelt
    guardian: Spelt
    date_of_birth: date

    def fill(self, offender: Offender) -> Offender:
        """Makes a record that of this person; half of them have their names in Urdu as well."""
        who = offender.person
        who.full_name, who.guardian_name = self.name.latin, self.guardian.latin
        who.full_name_ur = who.guardian_name_ur = ""
        if self.date_of_birth.toordinal() % 2:
            who.full_name_ur, who.guardian_name_ur = self.name.urdu, self.guardian.urdu
        who.date_of_birth = self.date_of_birth.isoformat()
        return offender


WAYS = ("otherwise", "in_urdu", "mistyped", "shortened")
"""How a query's spelling of a name differs from the record's: methods of `Spelt`."""


def people(count: int, seed: int) -> Iterator[Somebody]:
    """People with two or three names each; common names are frequent, as they are."""
    chance = random.Random(seed)
    men, women, families = map(_table, (_MEN, _WOMEN, _FAMILIES))
    for _ in range(count):
        family = _frequent(chance, families)
        name = _name(chance, women if chance.random() < 0.05 else men, family)
        born = date(1950, 1, 1) + timedelta(days=chance.randrange(365 * 50))
        yield Somebody(name, _name(chance, men, family), born)


@dataclass
class Quality:
    """How well people were found by spellings of one way.

    Attributes:
        in_ten: searches that had the right record, or one of a namesake, among the first ten.
        first: searches that had it in the first place.
        alike: candidates with a score of 0.9 or more.
        right: those of them who were the one sought, or a namesake.
    """

    searches: int = 0
    in_ten: int = 0
    first: int = 0
    alike: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Share of searches that found the one sought among the first ten."""
        return self.in_ten / self.searches

    @property
    def precision(self) -> float:
        """Share of those with a score of 0.9 or more who were the one sought."""
        return self.right / self.alike


Search = Callable[[SearchOffendersRequest], SearchOffendersResponse]


def query(
    sought: Somebody, way: str, chance: random.Random, *, with_birth: bool, **known: Any
) -> SearchOffendersRequest:
    """A search for somebody by name and father's name.

    Args:
        way: one of `WAYS`.
        with_birth: whether the date of birth is known as well.
        known: further fields of the request.
    """
    name, guardian = (getattr(spelt, way)(chance) for spelt in (sought.name, sought.guardian))
    born = sought.date_of_birth.isoformat() if with_birth else ""
    return SearchOffendersRequest(person_name=name, guardian=guardian, date_of_birth=born, **known)


def found_by(
    search: Search, way: str, population: Sequence[Somebody], searches: int, *, with_birth: bool, **known: Any
) -> Quality:
    """Searches for some people of a population, see `query`."""
    chance = random.Random(way)
    quality = Quality()
    for sought in chance.sample(population, searches):
        wanted = (sought.name.latin, sought.guardian.latin, sought.date_of_birth.year if with_birth else 0)
        candidates = search(query(sought, way, chance, with_birth=with_birth, **known)).candidates
        right = [(c.full_name, c.guardian_name, c.birth_year if with_birth else 0) == wanted for c in candidates]
        alike = sum(candidate.score >= 0.9 for candidate in candidates)
        quality.searches += 1
        quality.in_ten += any(right[:10])
        quality.first += right[:1] == [True]
        quality.alike += alike
        quality.right += sum(right[:alike])
    return quality


def _name(chance: random.Random, given: Sequence[tuple[str, ...]], family: tuple[str, ...]) -> Spelt:
    words = [_frequent(chance, given), family]
    muhammad = _table(_MEN)[0]
    if muhammad in given and muhammad not in words and chance.random() < 0.4:
        words.insert(0, muhammad)
    return Spelt(tuple(words))


def _frequent(chance: random.Random, table: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    return chance.choices(table, [1 / (rank + 5) for rank in range(len(table))])[0]


@cache
def _table(text: str) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in text.strip().splitlines()]


def _with_error(word: str, chance: random.Random) -> str:
    place = chance.randrange(1, len(word) - 1)
    a, b = word[place], word[place + 1]
    error = chance.choice([b, a + a + b, chance.choice("abdefghijklmnrstuz") + b, b + a])
    return word[:place] + error + word[place + 2 :]
