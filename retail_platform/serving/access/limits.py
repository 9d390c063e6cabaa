"""How much one may ask: requests by role, strangers by address, and failed logins."""

import math
import time
from collections.abc import Awaitable
from typing import TypeVar

from limits import RateLimitItem, aio, parse
from limits.errors import StorageError
from limits.storage import storage_from_string

from retail_platform.serving.access.principals import Role
from retail_platform.serving.problems import ProblemError
from retail_platform.settings import Settings

T = TypeVar("T")

STRANGER = "anonymous"
FAILED = "failed"

DEFAULTS = {
    STRANGER: "120/minute",
    str(Role.VIEWER): "300/minute",
    str(Role.ANALYST): "1200/minute",
    str(Role.OPERATOR): "1200/minute",
    str(Role.ADMIN): "1200/minute",
    # Credentials that did not hold, by address: a guess costs a look into the database.
    FAILED: "300/minute",
    # Passwords, right ones apart: of one user from one address, of one user, from one address.
    "login": "10/5 minutes",
    "login user": "100/5 minutes",
    "login address": "100/5 minutes",
}
"""Windows are fixed: at the turn of one, twice as much may pass."""

SWEPT_FROM = 10_000
"""Keys in memory from which those of past windows are removed."""


class Limits:
    """Counts requests where the settings say: in this process, or in Redis for all of them."""

    def __init__(self, settings: Settings) -> None:
        self._items = {name: _parsed(name, text) for name, text in _by_role(settings).items()}
        self._storage = _storage(settings.rate_limit_storage)

    async def hit(self, name: str, who: str) -> None:
        """Count one more.

        Raises:
            ProblemError: 429, that was one too many (Retry-After says when to ask again); 503, Redis does not answer.
        """
        item = self._items[name]
        key = item.key_for(who)
        count = await _value(self._storage.incr(key, item.get_expiry()))
        if count > item.amount:
            raise _too_many(name, item, await _value(self._storage.get_expiry(key)))

    async def check(self, name: str, who: str) -> None:
        """Refuse, as `hit`, when nothing is left, without counting."""
        item = self._items[name]
        key = item.key_for(who)
        if await _value(self._storage.get(key)) >= item.amount:
            raise _too_many(name, item, await _value(self._storage.get_expiry(key)))

    async def forget(self, name: str, who: str) -> None:
        """Begin to count anew."""
        await _value(self._storage.clear(self._items[name].key_for(who)))


def _by_role(settings: Settings) -> dict[str, str]:
    limited = {STRANGER, *map(str, Role)}
    if unknown := settings.rate_limits.keys() - limited:
        raise ValueError(f"RETAIL_RATE_LIMITS has {sorted(unknown)}; it may have {', '.join(sorted(limited))}.")
    return DEFAULTS | settings.rate_limits


def _parsed(name: str, text: str) -> RateLimitItem:
    try:
        return parse(text)
    except ValueError as error:
        expected = 'a number of requests and a time, such as "60/minute" or "10/5 minutes"'
        raise ValueError(f"RETAIL_RATE_LIMITS has {text!r} for {name}; it takes {expected}.") from error


class _Memory:
    """Counts in this process, in windows that begin with the first hit.

    Of the library's own, one starts a thread every ten milliseconds and waits for it (a tenth of the time of a request
    under load), the other looks at every key on each hit.
    """

    def __init__(self) -> None:
        self._windows: dict[str, tuple[int, float]] = {}
        """Key -> hits, and when their window ends."""
        self._sweep_at = SWEPT_FROM

    def get(self, key: str) -> int:
        hits, end = self._windows.get(key, (0, 0.0))
        return hits if end > time.time() else 0

    def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (0, time.time()))[1]

    def incr(self, key: str, expiry: int) -> int:
        hits = self.get(key) + 1
        self._windows[key] = hits, self.get_expiry(key) if hits > 1 else time.time() + expiry
        if len(self._windows) > self._sweep_at:
            self._windows = {each: window for each, window in self._windows.items() if window[1] > time.time()}
            self._sweep_at = max(SWEPT_FROM, 2 * len(self._windows))
        return hits

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)


def _storage(url: str) -> _Memory | aio.storage.Storage:
    if url.startswith("memory:"):
        return _Memory()
    storage = storage_from_string(f"async+{url}", wrap_exceptions=True)
    assert isinstance(storage, aio.storage.Storage)
    return storage


async def _value(found: T | Awaitable[T]) -> T:
    try:
        return await found if isinstance(found, Awaitable) else found
    except StorageError as error:
        raise ProblemError(503, "Requests cannot be counted now. Ask again later.") from error


def _too_many(name: str, item: RateLimitItem, until: float) -> ProblemError:
    seconds, window = max(1, math.ceil(until - time.time())), item.get_expiry()
    headers = {
        "Retry-After": str(seconds),
        "RateLimit-Policy": f'"{name}";q={item.amount};w={window}',
        "RateLimit": f'"{name}";r=0;t={seconds}',
    }
    detail = f"More than {item.amount} requests in {window} s. Ask again in {seconds} s."
    return ProblemError(429, detail, headers=headers)
