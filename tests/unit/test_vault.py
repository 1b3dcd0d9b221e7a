"""The keys for personal data, while they change."""

from uuid import UUID

import pytest

from hub.store.vault import Keyring, Vault, VaultError

PLACE = "offender|1|wrapped_key"


def test_a_key_that_another_process_took_into_use_is_found() -> None:
    ring = Keyring.generate()
    vault = Vault(lambda: ring)
    old = vault.new_key(PLACE)
    ring = ring.with_new_key().using(2)
    new = Vault(lambda: ring).new_key(PLACE)
    assert vault.unwrap(new.wrapped, PLACE) == new.plain
    assert vault.unwrap(old.wrapped, PLACE) == old.plain
    assert (vault.version, vault.rotating) == (2, True)


def test_what_stands_under_a_key_that_was_removed_cannot_be_opened() -> None:
    ring = Keyring.generate()
    vault = Vault(lambda: ring)
    old = vault.new_key(PLACE)
    ring = ring.with_new_key().using(2).without(1)
    vault.refresh()
    with pytest.raises(VaultError, match="key 1 is not in the keyring"):
        vault.unwrap(old.wrapped, PLACE)


@pytest.mark.parametrize("kept", ["wrapping", "index"])
def test_another_keyring_is_not_taken_for_the_same(kept: str) -> None:
    ring, other = Keyring.generate(), Keyring.generate()
    vault = Vault(lambda: ring)
    old = vault.new_key(PLACE)
    ring = Keyring(1, ring.wrapping, other.index) if kept == "wrapping" else Keyring(1, other.wrapping, ring.index)
    with pytest.raises(ValueError, match="another keyring"):
        vault.refresh()
    assert vault.unwrap(old.wrapped, PLACE) == old.plain, "the keys from before stay"


def test_a_key_in_use_is_not_removed_and_one_that_is_missing_not_used() -> None:
    ring = Keyring.generate()
    with pytest.raises(ValueError, match="in use"):
        ring.without(1)
    with pytest.raises(ValueError, match="no key 2"):
        ring.using(2)


def test_a_passcode_is_kept_so_that_only_the_hub_can_try_it_out() -> None:
    hashes = {
        Vault(lambda ring=ring: ring).passcode_hash(UUID(int=consent), code)
        for ring in (Keyring.generate(), Keyring.generate())
        for consent in (1, 2)
        for code in ("135791", "135792")
    }
    assert len(hashes) == 8, "it differs by the key, the consent and the code"
