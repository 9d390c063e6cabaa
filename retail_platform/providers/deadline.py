"""One deadline for all that an attempt does on the network: connect, send, and read headers and body.

HTTP libraries limit the pause between two bytes, not their sum: an answer that trickles would never end. Resolving a
name stays out: the system's resolver has limits of its own.
"""

import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore


class Deadline(httpcore.SyncBackend):
    """Connections that end at the deadline. One attempt at a time.

    Args:
        total: seconds of an attempt; `begin` starts it.
    """

    def __init__(self, total: float) -> None:
        self._total = total
        self.begin()

    def begin(self) -> None:
        """Start an attempt."""
        self._until = time.monotonic() + self._total

    def at_most(self, timeout: float | None) -> float:
        """Shorten a timeout to what is left.

        Raises:
            httpcore.ReadTimeout: nothing is left.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout(f"the answer took more than {self._total:g} s")
        return left if timeout is None else min(timeout, left)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect, to a stream that ends at the deadline."""
        stream = super().connect_tcp(host, port, self.at_most(timeout), local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            return self._stream.read(max_bytes, self._deadline.at_most(timeout))
        except httpcore.ReadTimeout:
            self._deadline.at_most(timeout)  # which says so where it was the deadline
            raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.at_most(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.at_most(timeout))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
