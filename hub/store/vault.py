"""Personal data at rest: sealed, and found by a keyed hash only.

A CNIC has 13 digits, so a plain hash of it is no protection: whoever has the table tries them all. The index is an
HMAC under a key that the database never sees. Each record is sealed with AES-256-GCM under a key of its own, which is
itself sealed ("wrapped") under the hub's key: erasing the wrapped key erases the record with all its versions.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from hub.domain.cnic import Cnic
from hub.domain.documents import Document, OldNic, Passport

_NONCE = 12
_KEY = 32


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """The hub's secret keys.

    Attributes:
        version: number of the wrapping key in `wrapping` that seals what is new.
        wrapping: 32-octet keys that wrap the records' keys, by version.
        index: 32-octet key of the blind index.
    """

    version: int
    wrapping: dict[int, bytes]
    index: bytes

    @classmethod
    def generate(cls) -> "Keyring":
        """A new keyring."""
        return cls(1, {1: secrets.token_bytes(_KEY)}, secrets.token_bytes(_KEY))

    def with_new_key(self) -> "Keyring":
        """The same with one more wrapping key, which is not in use yet."""
        return replace(self, wrapping=self.wrapping | {max(self.wrapping) + 1: secrets.token_bytes(_KEY)})

    def using(self, version: int) -> "Keyring":
        """The same, sealing what is new with another of its wrapping keys.

        Raises:
            ValueError: it has no such key.
        """
        if version not in self.wrapping:
            raise ValueError(f"there is no key {version} in the keyring")
        return replace(self, version=version)

    def without(self, version: int) -> "Keyring":
        """The same without a wrapping key.

        Raises:
            ValueError: it has no such key, or seals what is new with it.
        """
        if version not in self.wrapping or version == self.version:
            raise ValueError(f"key {version} is in use" if version == self.version else f"there is no key {version}")
        return replace(self, wrapping={v: key for v, key in self.wrapping.items() if v != version})

    @classmethod
    def load(cls, text: str) -> "Keyring":
        """Reads what `dump` wrote.

        Raises:
            ValueError: it is not a keyring. The text is not quoted.
        """
        try:
            data = json.loads(text)
            wrapping = {int(version): base64.b64decode(key) for version, key in data["wrapping"].items()}
            keyring = cls(int(data["version"]), wrapping, base64.b64decode(data["index"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError("not a keyring: JSON with version, wrapping and index is expected") from None
        if keyring.version not in wrapping or any(len(k) != _KEY for k in (*wrapping.values(), keyring.index)):
            raise ValueError("not a keyring: keys of 32 octets are expected, and one of the current version")
        return keyring

    def dump(self) -> str:
        """The keyring as JSON text. Keep it as secret as the register itself."""
        wrapping = {version: base64.b64encode(key).decode() for version, key in self.wrapping.items()}
        index = base64.b64encode(self.index).decode()
        return json.dumps({"version": self.version, "wrapping": wrapping, "index": index})


KeyProvider = Callable[[], Keyring]
"""Gives the keys as they are now: from a file, the environment (`hub.store.keys`), or a KMS that opens a keyring.

Raises:
    OSError: the keys cannot be had.
    ValueError: what is there is not a keyring.
"""


@dataclass(frozen=True, slots=True, repr=False)
class RecordKey:
    """The key of one record, plain and as it is stored."""

    plain: bytes
    wrapped: bytes


class Vault:
    """Seals and opens personal data."""

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._keyring = keys()
        self._index_key = self._keyring.index
        # Copied for each number: to set up a key costs more than to hash 13 digits.
        self._index = HMAC(self._index_key, SHA256())
        # Most keys of a record are those of many: a hash takes ten times as long as to find it here.
        self.search_key = lru_cache(20_000)(self._search_key)
        self.refresh()

    def refresh(self) -> None:
        """Takes the wrapping keys as they are now; the key of the index never changes.

        Raises:
            OSError, ValueError: as the provider says, or it gives another keyring; the keys from before stay.
        """
        keyring = self._keys()
        shared = keyring.wrapping.keys() & self._keyring.wrapping.keys()
        if keyring.index != self._index_key or any(keyring.wrapping[v] != self._keyring.wrapping[v] for v in shared):
            raise ValueError("this is another keyring: nobody could open what was sealed with both")
        self._keyring = keyring
        self._wrapping = {version: AESGCM(key) for version, key in self._keyring.wrapping.items()}

    @property
    def version(self) -> int:
        """Number of the wrapping key that seals what is new."""
        return self._keyring.version

    @property
    def rotating(self) -> bool:
        """Whether there are older keys, under which records can still be."""
        return len(self._wrapping) > 1

    def index(self, document: Document) -> bytes:
        """The blind index of a document's number: 32 octets, the same each time, telling nothing without the key."""
        index = self._index.copy()
        index.update(_text(document).encode())
        return index.finalize()

    def conviction_index(self, document: Document, case: str) -> bytes:
        """The blind index of a person's conviction in a case (`Conviction.case`): 32 octets."""
        return hmac.digest(self._index_key, f"conviction|{_text(document)}|{case}".encode(), hashlib.sha256)

    def _search_key(self, key: str) -> int:
        """What stands for a key of a record (`hub.domain.search`) in the index: 8 octets, seldom shared by chance."""
        return int.from_bytes(hmac.digest(self._index_key, f"search|{key}".encode(), hashlib.sha256)[:8], signed=True)

    def search_subject(self, query: str) -> bytes:
        """What stands for a search in the audit log: 32 octets."""
        return hmac.digest(self._index_key, f"query|{query}".encode(), hashlib.sha256)

    def lot(self, cell: str) -> int:
        """What is drawn for a cell of a statistic: 64 bits, the same each time, which nobody foresees."""
        return int.from_bytes(hmac.digest(self._index_key, f"lot|{cell}".encode(), hashlib.sha256)[:8])

    def token(self, request: str) -> bytes:
        """The secret for a request: 32 octets, the same each time, so a retry gets it again and nobody keeps it."""
        return hmac.digest(self._index_key, f"token|{request}".encode(), hashlib.sha256)

    def passcode_hash(self, consent: UUID, passcode: str) -> bytes:
        """What is kept of the passcode of a consent: 32 octets, which nobody can try out without the key."""
        return hmac.digest(self._index_key, f"passcode|{consent}|{passcode}".encode(), hashlib.sha256)

    def new_key(self, place: str) -> RecordKey:
        """A fresh key for a record.

        Args:
            place: where the wrapped key will stand, as "table|row|column"; bound to it as associated data.
        """
        plain = AESGCM.generate_key(256)
        return RecordKey(plain, self.wrap(plain, place))

    def wrap(self, plain: bytes, place: str) -> bytes:
        """The key of a record as it is stored, under the newest wrapping key; begins with its version, 2 octets."""
        sealed = _seal(self._wrapping[self.version], plain, f"{place}|{self.version}")
        return self.version.to_bytes(2) + sealed

    def unwrap(self, wrapped: bytes, place: str) -> bytes:
        """The plain key of a record.

        Raises:
            VaultError: it was moved or changed, or its wrapping key is not in the keyring.
        """
        version = int.from_bytes(wrapped[:2])
        if version not in self._wrapping:  # another worker took it into use a moment ago
            self.refresh()
        if version not in self._wrapping:
            raise VaultError(f"wrapping key {version} is not in the keyring")
        return _open(self._wrapping[version], wrapped[2:], f"{place}|{version}")

    @staticmethod
    def seal(key: bytes, plain: bytes, place: str) -> bytes:
        """Seals octets under a record's key, bound to their place."""
        return _seal(AESGCM(key), plain, place)

    @staticmethod
    def open(key: bytes, sealed: bytes, place: str) -> bytes:
        """Opens what `seal` made for the same place.

        Raises:
            VaultError: it was moved or changed.
        """
        return _open(AESGCM(key), sealed, place)


class VaultError(Exception):
    """Sealed data cannot be opened: it was moved, changed, or belongs to other keys."""


def _text(document: Document) -> str:
    """What is hashed of a document: numbers of different kinds never have the same."""
    match document:
        case Cnic():
            return document.digits
        case OldNic():
            return f"nic|{document.digits}"
        case Passport():
            return f"passport|{document.country}|{document.number}"


def _seal(cipher: AESGCM, plain: bytes, place: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + cipher.encrypt(nonce, plain, place.encode())


def _open(cipher: AESGCM, sealed: bytes, place: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode())
    except (InvalidTag, ValueError):
        raise VaultError(f"sealed data at {place} was moved or changed") from None
