"""The one HTTP client of the providers: GET with time limits, retries, a cache, and rest for a host that is down.

Only `https` is asked, or a server on this machine. Kept libraries do the retries (stamina) and the cache (hishel). The
circuit breaker is a file per host, a few lines: every run is a process of its own, and the libraries' breakers forget
with their process, so that each run of an outage would wait for its timeouts again. Every failure is a `ProviderError`:
what was asked, what came, what to do.
"""

import ipaddress
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from textwrap import shorten
from types import TracebackType
from typing import Self, TypeVar

import hishel
import hishel.httpx
import httpcore
import httpx
import stamina

from retail_platform.providers.deadline import Deadline
from retail_platform.providers.provided import ProviderError

Parsed = TypeVar("Parsed")

_LONGEST_REASON = 400
"""Characters: an answer can be wrong in each of its rows."""
_LONGEST_NAME = 200
"""Characters of a host in the name of its file; a host that is longer is none."""
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
_PASSING = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
"""Failures of the way: the same question may be answered a moment later."""


@dataclass(frozen=True)
class Limits:
    """How long, how often and how much; times in seconds.

    Attributes:
        connect: until a connection stands.
        read: until the next bytes come.
        total: for one attempt, from connecting to the last byte, redirects included.
        max_bytes: of one answer, unpacked.
        attempts: how often one question is asked.
        first_wait: before the second attempt; doubles each time.
        jitter: at most so much is added to a wait, at random.
        longest_wait: of one wait. A server that asks for more (Retry-After) is not asked again.
        redirects: how many are followed.
        failures: in a row, after which a host is left alone. As many as attempts: one question finds a dead host.
        rest: how long it is left alone. Then one attempt decides.
    """

    connect: float = 5.0
    read: float = 20.0
    total: float = 60.0
    max_bytes: int = 32 * 2**20
    attempts: int = 3
    first_wait: float = 0.5
    jitter: float = 0.5
    longest_wait: float = 10.0
    redirects: int = 3
    failures: int = 3
    rest: float = 600.0


DEFAULT_LIMITS = Limits()


class Client:
    """Asks providers, and remembers their answers. Close it, or use it in a `with` block."""

    def __init__(self, folder: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        """Make a client.

        Args:
            folder: where the cache and the state of hosts are; made when missing, may be removed at any time.
            limits: see `Limits`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._limits = limits
        self._hosts, self._deadline = _Hosts(folder, limits), Deadline(limits.total)
        self._cache = hishel.SqliteStorage(database_path=folder / "answers.db")
        self._http = httpx.Client(
            transport=hishel.httpx.CacheTransport(_Transport(self._hosts, self._deadline), storage=self._cache),
            timeout=httpx.Timeout(limits.read, connect=limits.connect),
            headers={"User-Agent": "retail-platform"},
        )
        self._retrying = stamina.RetryingCaller(
            attempts=limits.attempts,
            timeout=None,
            wait_initial=limits.first_wait,
            wait_max=limits.longest_wait,
            wait_jitter=limits.jitter,
        ).on(self._may_repeat)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and the cache."""
        self._http.close()

    def get(
        self,
        url: str,
        parse: Callable[[bytes], Parsed],
        *,
        max_age: timedelta,
        params: Mapping[str, str] | None = None,
    ) -> Parsed:
        """Ask, or take the answer of before, and parse it.

        Args:
            url: `https`, or `http` on this machine.
            parse: makes something of the answer; raises ValueError for one that cannot be right. Such an answer is not
                kept.
            max_age: how long a good answer is kept.
            params: the query.

        Raises:
            ProviderError: no answer, or none that `parse` takes. The caller falls back on what it has.
        """
        try:
            asked = httpx.URL(url, params=dict(params)) if params else httpx.URL(url)
            if asked.scheme != "https" and not _is_this_machine(asked):
                raise ProviderError(asked, "it is not encrypted", "Give an address that starts with https://")
            body = self._retrying(self._ask, asked, max_age)
        except (httpx.InvalidURL, UnicodeError) as error:
            came = f"it is no address, or leads to none ({error})"
            raise ProviderError(url, came, "Give a right one in RETAIL_PROVIDER_URLS") from error
        except httpx.HTTPError as error:
            raise ProviderError(asked, _named(error), _advice(error)) from error
        try:
            return parse(body)
        except Exception as error:
            self._forget(asked)
            if not isinstance(error, ValueError):
                raise
            advice = "See whether the provider has changed its format; the next run asks again"
            came = f"an answer came that cannot be used: {shorten(str(error), _LONGEST_REASON)}"
            raise ProviderError(asked, came, advice) from error

    def _ask(self, asked: httpx.URL, max_age: timedelta) -> bytes:
        """One attempt."""
        self._deadline.begin()
        try:
            return self._follow(asked, max_age)
        except httpx.HTTPError as error:
            if _is_passing(error):
                self._hosts.failed(asked, _named(error))
            raise

    def _follow(self, asked: httpx.URL, max_age: timedelta) -> bytes:
        extensions = {"caching": {"key": str(asked), "ttl": max_age.total_seconds()}}
        url = asked
        for _ in range(self._limits.redirects + 1):
            with self._http.stream("GET", url, extensions=extensions) as response:
                if response.next_request is None:
                    return self._read(asked, response)
                url = _redirected(asked, url, response.next_request.url)
        raise ProviderError(asked, f"more than {self._limits.redirects} redirects", "Give the final address")

    def _read(self, asked: httpx.URL, response: httpx.Response) -> bytes:
        response.raise_for_status()
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._limits.max_bytes:
                came = f"the answer has more than {self._limits.max_bytes:,} bytes"
                raise ProviderError(asked, came, "Ask for less, or allow more (max_bytes)")
        if not response.extensions["caching"]["from_cache"]:
            self._hosts.worked(asked)
        return bytes(body)

    def _may_repeat(self, error: Exception) -> bool | float:
        """Whether the same may be asked again, or after how many seconds the server says it may."""
        if not _is_passing(error):
            return False
        wait = _retry_after(error.response) if isinstance(error, httpx.HTTPStatusError) else None
        if wait is None:
            return True
        return wait if wait <= self._limits.longest_wait else False

    def _forget(self, asked: httpx.URL) -> None:
        for entry in self._cache.get_entries(str(asked)):
            self._cache.remove_entry(entry.id)


@dataclass
class _Hosts:
    """Which hosts are left alone: a file for each, of the age of its last failure, with that failure in it."""

    folder: Path
    limits: Limits
    in_a_row: dict[str, int] = field(default_factory=dict)

    def check(self, url: httpx.URL) -> None:
        """Raise `ProviderError` where the host is left alone."""
        file = self._file(url)
        try:
            rest, how = file.stat().st_mtime + self.limits.rest - time.time(), file.read_text("utf-8")
        except FileNotFoundError:
            return
        if rest > 0:
            came = f"nothing, since {url.host} failed and is left alone for another {rest:.0f} s ({how})"
            raise ProviderError(url, came, f"Wait, or remove {file}")

    def failed(self, url: httpx.URL, how: str) -> None:
        """Count a failure; the last of too many, or one after a rest, begins a rest."""
        name, file = url.netloc.decode(), self._file(url)
        self.in_a_row[name] = self.in_a_row.get(name, 0) + 1
        if self.in_a_row[name] >= self.limits.failures or file.exists():
            file.write_text(how, "utf-8")

    def worked(self, url: httpx.URL) -> None:
        """Forget the failures."""
        self.in_a_row.pop(url.netloc.decode(), None)
        self._file(url).unlink(missing_ok=True)

    def _file(self, url: httpx.URL) -> Path:
        return self.folder / f"{url.netloc.decode().replace(':', '_')[:_LONGEST_NAME]}.down"


class _Transport(httpx.HTTPTransport):
    """Behind the cache, so that an answer kept is given also while its host is left alone."""

    def __init__(self, hosts: _Hosts, deadline: Deadline) -> None:
        context = httpx.create_ssl_context()
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(ssl_context=context, network_backend=deadline)
        self._hosts = hosts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the host, unless it is left alone."""
        self._hosts.check(request.url)
        return super().handle_request(request)


def _redirected(asked: httpx.URL, here: httpx.URL, there: httpx.URL) -> httpx.URL:
    """Where a redirect leads, if it leads neither to another scheme nor onto this machine."""
    if there.scheme != here.scheme or (_is_this_machine(there) and not _is_this_machine(here)):
        raise ProviderError(asked, f"a redirect to {there}, which is refused", "Give the provider's new address")
    return there


def _is_this_machine(url: httpx.URL) -> bool:
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost"


def _is_passing(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == _TOO_MANY_REQUESTS or error.response.status_code >= _SERVER_ERROR
    return isinstance(error, _PASSING)


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds of a Retry-After header (RFC 9110, 10.2.3): a number or a date; None without or with another."""
    text: str = response.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):  # TypeError: a date without a zone
        return None


def _named(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code} came ({error.response.reason_phrase or 'no reason given'})"
    return f"no answer came ({type(error).__name__}: {error})"


def _advice(error: httpx.HTTPError) -> str:
    if _is_passing(error):
        return "See whether the network and the provider are up; a later run asks again"
    return "See the provider's documentation for what it takes"
