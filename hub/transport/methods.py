"""The methods of a server."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc

# A handler and what is to be served in its place; None where it is not to be served.
Wrap = Callable[[str, Any], Any]


class Methods(grpc.GenericRpcHandler):
    """Methods that generated code adds here, as it would to a server, which is then given this one handler.

    Generated code would tell the server of each method, and grpc.aio 1.85 waits for the next call of each of them, anew
    after every call: docs/performance.md says what that took with fifty methods. Once grpcio has
    https://github.com/grpc/grpc/pull/43461, it may be told.

    Args:
        wrap: is given the full name of each method and its handler.
    """

    def __init__(self, wrap: Wrap = lambda _, handler: handler) -> None:
        self._wrap = wrap
        self._handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Nothing: generated code adds the same methods by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds methods of a service."""
        for method, handler in handlers.items():
            if wrapped := self._wrap(f"{service}/{method}", handler):
                self._handlers[f"/{service}/{method}"] = wrapped

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of the method that is called; None where it is not served."""
        return self._handlers.get(handler_call_details.method)
