"""Hashes of passwords and keys (argon2id), and making them; nothing here keeps or prints one."""

import asyncio
import os
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from retail_platform.serving.problems import ProblemError

MIN_PASSWORD = 12
"""Characters; the one rule, as NIST SP 800-63B advises length and no composition."""

HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
"""OWASP's first choice for argon2id: 19 MiB and about 20 ms a hash."""

WAITING = 50
"""Checks that may wait for a thread; at 20 ms each the last waits a second. More are turned away."""


class WeakPasswordError(ValueError):
    """A new password breaks the rule; the message says which."""


def hash_password(password: str) -> str:
    """The hash of a new password.

    Raises:
        WeakPasswordError: it is shorter than `MIN_PASSWORD`.
    """
    if len(password) < MIN_PASSWORD:
        raise WeakPasswordError(f"the password has {len(password)} characters; give at least {MIN_PASSWORD}.")
    return HASHER.hash(password)


def new_password() -> str:
    """A password of 120 random bits."""
    return secrets.token_urlsafe(15)


class Checker:
    """Compares secrets with their hashes, in few threads: a flood of logins leaves cores to other requests."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "argon2")
        self._waiting = 0
        self._nobody = HASHER.hash(secrets.token_urlsafe())

    async def matches(self, stored: str | None, secret: str) -> bool:
        """Whether a secret is the one of a hash.

        Args:
            stored: the hash; None when there is no such user or key, which takes as long as a wrong secret.
            secret: what was sent.

        Raises:
            ProblemError: 503, too many wait already.
        """
        if self._waiting >= WAITING:
            raise ProblemError(503, "Too many logins at once. Ask again in a second.", headers={"Retry-After": "1"})
        self._waiting += 1
        try:
            right = await self._in_thread(lambda: _verify(stored or self._nobody, secret))
        finally:
            self._waiting -= 1
        return right and stored is not None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    async def _in_thread(self, check: Callable[[], bool]) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._threads, check)


def _verify(stored: str, secret: str) -> bool:
    try:
        return HASHER.verify(stored, secret)
    except (VerifyMismatchError, InvalidHashError):
        return False
