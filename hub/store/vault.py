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
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from hub.domain.cnic import Cnic

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


@dataclass(frozen=True, slots=True, repr=False)
class RecordKey:
    """The key of one record, plain and as it is stored."""

    plain: bytes
    wrapped: bytes


class Vault:
    """Seals and opens personal data."""

    def __init__(self, keyring: Keyring) -> None:
        self._version = keyring.version
        self._wrapping = {version: AESGCM(key) for version, key in keyring.wrapping.items()}
        self._index_key = keyring.index
        # Copied for each number: to set up a key costs more than to hash 13 digits.
        self._index = HMAC(keyring.index, SHA256())

    def index(self, cnic: Cnic) -> bytes:
        """The blind index of a number: 32 octets, the same each time, telling nothing without the key."""
        index = self._index.copy()
        index.update(cnic.digits.encode())
        return index.finalize()

    def conviction_index(self, cnic: Cnic, case: str) -> bytes:
        """The blind index of a person's conviction in a case (`Conviction.case`): 32 octets."""
        return hmac.digest(self._index_key, f"conviction|{cnic.digits}|{case}".encode(), hashlib.sha256)

    def token(self, request: str) -> bytes:
        """The secret for a request: 32 octets, the same each time, so a retry gets it again and nobody keeps it."""
        return hmac.digest(self._index_key, f"token|{request}".encode(), hashlib.sha256)

    def new_key(self, place: str) -> RecordKey:
        """A fresh key for a record.

        Args:
            place: where the wrapped key will stand, as "table|row|column"; bound to it as associated data.
        """
        plain = AESGCM.generate_key(256)
        sealed = _seal(self._wrapping[self._version], plain, f"{place}|{self._version}")
        return RecordKey(plain, self._version.to_bytes(2) + sealed)

    def unwrap(self, wrapped: bytes, place: str) -> bytes:
        """The plain key of a record.

        Raises:
            VaultError: it was moved or changed, or its wrapping key is not in the keyring.
        """
        version = int.from_bytes(wrapped[:2])
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


def _seal(cipher: AESGCM, plain: bytes, place: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE)
    return nonce + cipher.encrypt(nonce, plain, place.encode())


def _open(cipher: AESGCM, sealed: bytes, place: str) -> bytes:
    try:
        return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], place.encode())
    except (InvalidTag, ValueError):
        raise VaultError(f"sealed data at {place} was moved or changed") from None
