"""Page tokens (AIP-158): opaque, and good only for the request that they were made for."""

import base64
import hashlib
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

from hub.domain.errors import Reason, Refused

K = TypeVar("K")

_DEFAULT = 50
_DIGEST = 12


def page_size(asked: int) -> int:
    """The size of a page: what was asked for, or 50."""
    return asked or _DEFAULT


def page_token(caller: str, request: Message, last: str) -> str:
    """The token of the page after the item with the key `last`."""
    return base64.urlsafe_b64encode(_digest(caller, request, last) + last.encode()).decode()


def last_item(caller: str, request: Message, token: str, key: Callable[[str], K]) -> K | None:
    """The key of the last item of the page before; None on the first page.

    Args:
        key: reads the key from its text; it raises ValueError for what is none.

    Raises:
        Refused: INVALID_PAGE_TOKEN, also for a token that was made for other arguments or another caller.
    """
    if not token:
        return None
    try:
        last = base64.urlsafe_b64decode(token)[_DIGEST:].decode()
        if token != page_token(caller, request, last):
            raise ValueError
        return key(last)
    except ValueError:
        raise Refused(Reason.INVALID_PAGE_TOKEN, "the page token was not made for this request") from None


def _digest(caller: str, request: Message, last: str) -> bytes:
    """Over what must not change between pages: who asks and for what, but not which page and how large."""
    fixed = type(request)()
    fixed.CopyFrom(request)
    for field in ("page_token", "page_size"):
        fixed.ClearField(field)
    bound = (
        "\0".join((caller, type(request).__name__, last)).encode() + b"\0" + fixed.SerializeToString(deterministic=True)
    )
    return hashlib.sha256(bound).digest()[:_DIGEST]
