"""Documents besides the CNIC: what is understood as one, what is shown of it, and that kinds are never mixed up."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.cnic import Cnic
from hub.domain.documents import Document, OldNic, Passport
from hub.store.vault import Keyring, Vault

KEYRING = Keyring.generate()
VAULT = Vault(lambda: KEYRING)
cnics = st.from_regex(r"[1-9][0-9]{12}", fullmatch=True).map(Cnic)
old_nics = st.from_regex(r"[0-9]{11}", fullmatch=True).map(OldNic)
passports = st.builds(
    Passport, st.from_regex(r"[A-Z]{3}", fullmatch=True), st.from_regex(r"[A-Z0-9]{1,9}", fullmatch=True)
)


@pytest.mark.parametrize(
    "text", ["27055123456", "270-55-123456", " 270 55 123456 ", "۲۷۰-۵۵-۱۲۳۴۵۶", "270–55–123456", "٢٧٠٥٥١٢٣٤٥٦"]
)
def test_an_old_number_is_understood(text: str) -> None:
    assert OldNic.parse(text) == OldNic("27055123456")
    assert OldNic.parse(text).formatted == "270-55-123456"


@pytest.mark.parametrize(
    "text", ["", "2705512345", "270551234567", "9123400000001", "NIC 27055123456", "270-55-12345x"]
)
def test_what_is_no_old_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the number of an old card has 11 digits$"):
        OldNic.parse(text)


@pytest.mark.parametrize("text", ["P1234567", "p1234567", "P-123 4567"])
def test_a_passport_is_understood(text: str) -> None:
    assert Passport.parse("AFG", text) == Passport("AFG", "P1234567")


@pytest.mark.parametrize("text", ["", "P123456789", "P<23", "P_1", "پ1234567", "P1234567\n", "ıı"])
def test_what_is_no_passport_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a passport has a country"):
        Passport.parse("AFG", text)


@given(document=old_nics | passports)
def test_a_document_shows_itself_masked(document: OldNic | Passport) -> None:
    number = document.digits if isinstance(document, OldNic) else document.number
    for text in (str(document), repr(document), f"{document}", repr([document])):
        assert number not in text or len(number) < 4


@given(documents=st.sets(cast("st.SearchStrategy[Document]", cnics | old_nics | passports)))
def test_no_two_documents_have_one_index(documents: set[Document]) -> None:
    assert len({VAULT.index(document) for document in documents}) == len(documents)


def test_a_number_of_one_kind_is_none_of_another() -> None:
    alike: list[Document] = [Cnic("9123456789012"), OldNic("91234567890"), Passport("AFG", "912345678")]
    alike += [Passport("PAK", "912345678"), Passport("AFG", "91234567")]
    assert len({VAULT.index(document) for document in alike}) == 5
    assert len({VAULT.conviction_index(document, "a case") for document in alike}) == 5
