"""People who do not exist, for the demonstration, tests and benchmarks.

Their CNICs begin with 9, which stands for no province, so that none can be a living person's number.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta

from hub.domain.districts import districts
from hub.domain.offences import offences
from nsor.registry.v1 import offender_pb2 as pb

_MEN = {
    "Ahmed": "احمد", "Ali": "علی", "Asif": "آصف", "Bilal": "بلال", "Faisal": "فیصل", "Hamza": "حمزہ",
    "Imran": "عمران", "Kashif": "کاشف", "Muhammad": "محمد", "Nadeem": "ندیم", "Naveed": "نوید", "Rashid": "راشد",
    "Shahid": "شاہد", "Tariq": "طارق", "Usman": "عثمان", "Waqas": "وقاص", "Yasir": "یاسر", "Zubair": "زبیر",
}  # fmt: skip
_WOMEN = {
    "Amina": "آمنہ", "Ayesha": "عائشہ", "Bushra": "بشریٰ", "Farzana": "فرزانہ", "Hina": "حنا", "Nadia": "نادیہ",
    "Rabia": "رابعہ", "Saima": "صائمہ", "Sana": "ثنا", "Zainab": "زینب",
}  # fmt: skip
_FAMILIES = {
    "Abbasi": "عباسی", "Awan": "اعوان", "Baloch": "بلوچ", "Bhatti": "بھٹی", "Chaudhry": "چوہدری",
    "Dogar": "ڈوگر", "Gujjar": "گجر",
    "Hussain": "حسین", "Iqbal": "اقبال", "Khan": "خان", "Malik": "ملک", "Mirza": "مرزا",
    "Qureshi": "قریشی", "Rajput": "راجپوت", "Shah": "شاہ", "Sheikh": "شیخ", "Siddiqui": "صدیقی", "Soomro": "سومرو",
}  # fmt: skip
_SEXES = {pb.SEX_MALE: 0.94, pb.SEX_FEMALE: 0.04, pb.SEX_X: 0.02}
_FINALITIES = {pb.FINALITY_FINAL: 0.8, pb.FINALITY_APPEAL_WINDOW: 0.2}


def names() -> dict[str, str]:
    """The names that people here can have, in Latin and Urdu script."""
    return _MEN | _WOMEN | _FAMILIES


def cnic(number: int) -> str:
    """The CNIC of the person with a number, 0 to 10^11 - 1, as on a card."""
    digits = f"9{number:011d}"
    # The last digit is odd or even as it happens: nothing may be read from it.
    digits += str(number * 7 % 10)
    return f"{digits[:5]}-{digits[5:12]}-{digits[12]}"


def offenders(count: int, *, province: str, seed: int, first: int = 0) -> Iterator[pb.Offender]:
    """Convicts of a province, the same ones for the same arguments.

    Args:
        first: number of the first one; ranges of numbers that do not overlap give different people.
    """
    chance = random.Random(f"{province}/{seed}")
    places = sorted(name for name, of in districts().items() if of == province)
    for number in range(first, first + count):
        yield _offender(chance, number, places)


def _identity(number: int, names: list[str]) -> tuple[str, str, str, date]:
    """Given name, father's, family's and date of birth of a person, so that nobody is taken for another.

    Those who share all names differ in two parts of the date, as far as there are fewer than 336 of them.
    """
    fathers, families = list(_MEN), list(_FAMILIES)
    turn, place = divmod(number, len(names) * len(fathers) * len(families))
    # A prime that divides none of these numbers mixes them, and gives none twice.
    place = place * 2477 % (len(names) * len(fathers) * len(families))
    rest, given = divmod(place, len(names))
    family, father = divmod(rest, len(fathers))
    month, day = turn % 12, turn // 12 % 28
    year = 3 * month + 7 * day
    birth = date(1950 + (year + place) % 50, 1 + (month + place // 50) % 12, 1 + (day + place // 600) % 28)
    return names[given], fathers[father], families[family], birth


def _offender(chance: random.Random, number: int, places: list[str]) -> pb.Offender:
    [sex] = chance.choices(list(_SEXES), list(_SEXES.values()))
    names = _WOMEN if sex == pb.SEX_FEMALE else _MEN
    given, father, family, birth = _identity(number, list(names))
    district = chance.choice(places)
    convicted = max(birth + timedelta(days=365 * 18), date(2022, 1, 1)) + timedelta(days=chance.randrange(1400))
    [finality] = chance.choices(list(_FINALITIES), list(_FINALITIES.values()))
    husband = sex == pb.SEX_FEMALE and chance.random() < 0.6
    return pb.Offender(
        person=pb.Person(
            cnic=cnic(number),
            full_name=f"{given} {family}",
            full_name_ur=f"{names[given]} {_FAMILIES[family]}",
            guardian_name=f"{father} {family}",
            guardian_name_ur=f"{_MEN[father]} {_FAMILIES[family]}",
            guardian_relation=pb.GUARDIAN_RELATION_HUSBAND if husband else pb.GUARDIAN_RELATION_FATHER,
            sex=sex,
            date_of_birth=birth.isoformat(),
        ),
        district=district,
        convictions=[
            pb.Conviction(
                court=f"Anti-Rape Special Court, {district}",
                case_number=f"{chance.randrange(1, 900)}/{convicted.year}",
                fir_number=f"{chance.randrange(1, 2000)}/{convicted.year - 1}",
                police_station=f"Model Town, {district}",
                offence_code=chance.choice(list(offences())),
                conviction_date=convicted.isoformat(),
                finality=finality,
                victim_class=chance.choice([pb.VICTIM_CLASS_CHILD, pb.VICTIM_CLASS_WOMAN, pb.VICTIM_CLASS_OTHER]),
            )
        ],
    )
