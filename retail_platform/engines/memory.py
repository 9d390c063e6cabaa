"""How much memory a step may take: what the machine has, what its control group allows, what the settings say.

Counts alone; what is done with them is decided in `choose.py`.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

LEAST_SHARE = 4
"""A fourth of RETAIL_MEMORY counts as free even when the process holds more: allocators keep what was given back."""


class Memory(NamedTuple):
    """Bytes that may be taken, and in plain words what says so."""

    size: int
    source: str


def memory_at_hand(setting: int | None = None, root: Path = Path("/")) -> Memory:
    """The least of what the machine, its control groups and the setting leave.

    Args:
        setting: bytes that this process may take in all; None sets no limit.
        root: the folder that holds `proc` and `sys`.
    """
    machine = Memory(psutil.virtual_memory().available, "free on the machine")
    found = [machine, *_of_control_groups(root)]
    if setting is not None:
        held = psutil.Process().memory_info().rss
        found.append(
            Memory(max(setting - held, setting // LEAST_SHARE), f"left of RETAIL_MEMORY ({in_words(setting)})")
        )
    return min(found)


def in_words(size: int) -> str:
    """Bytes in the unit that people would take."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit in ("B", "KiB") else f"{amount:,.1f} {unit}"


def _of_control_groups(root: Path) -> Iterator[Memory]:
    """What each control group leaves that this process is in and that has a limit: of version 2, and of version 1."""
    listed = root / "proc" / "self" / "cgroup"
    for line in listed.read_text().splitlines() if listed.exists() else []:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            files = ("memory.max", "memory.current", "inactive_file")
            yield from _left(root / "sys/fs/cgroup", path, files)
        elif "memory" in controllers.split(","):
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _left(root / "sys/fs/cgroup/memory", path, files)


def _left(mount: Path, path: str, files: tuple[str, str, str]) -> Iterator[Memory]:
    """What the group and those around it leave; cached files that nobody works with count as free.

    Within a container the path may be the host's, of which only the root is mounted.
    """
    limit_file, used_file, cached_name = files
    groups = [mount / part.relative_to("/") for part in (PurePosixPath(path), *PurePosixPath(path).parents)]
    for group in groups:
        if not (group / limit_file).exists():
            continue
        limit = (group / limit_file).read_text().strip()
        if limit == "max" or int(limit) > psutil.virtual_memory().total:
            continue
        used = int((group / used_file).read_text())
        cached = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = int(limit) - used + int(cached.get(cached_name, 0))
        yield Memory(max(free, 0), f"left of the control group's {in_words(int(limit))}")
