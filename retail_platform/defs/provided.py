"""What assets share that ask a provider: its client, if live providers are allowed, and what is told of the answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from retail_platform.providers.provided import Provided
from retail_platform.settings import Settings

if TYPE_CHECKING:
    from retail_platform.providers.client import Client


@contextmanager
def provider_client(settings: Settings) -> Iterator["Client | None"]:
    """The client that asks; None where only packaged data are used, so that nothing of it is imported (0.35 s)."""
    if not settings.live_providers:
        yield None
        return
    from retail_platform.providers.client import Client, Limits

    seconds, attempts = settings.provider_seconds, settings.provider_attempts
    limits = Limits(connect=min(seconds, 5.0), read=seconds, total=3 * seconds, attempts=attempts, failures=attempts)
    with Client(settings.providers, limits) as client:
        yield client


def told(provided: Provided) -> dict[str, Any]:
    """Where the data are from, of when, and why they are not live although they might."""
    metadata = {"source": provided.source, "as_of": str(provided.as_of or "no day")}
    return metadata if provided.problem is None else {**metadata, "degraded": provided.problem}
