from pathlib import Path

import psutil
import pytest

from retail_platform.engines.memory import in_words, memory_at_hand

GIB = 2**30


def write(root: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{content}\n")
    return root


def version_2(root: Path, path: str, limit: object, used: int, cached: int = 0) -> Path:
    group = f"sys/fs/cgroup{path}"
    stat = f"anon 1\ninactive_file {cached}"
    return write(
        root,
        {
            "proc/self/cgroup": f"0::{path}",
            f"{group}/memory.max": limit,
            f"{group}/memory.current": used,
            f"{group}/memory.stat": stat,
        },
    )


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    size, source = memory_at_hand(root=tmp_path)
    assert 0 < size <= psutil.virtual_memory().total
    assert source == "free on the machine"


def test_a_control_group_of_version_2(tmp_path: Path) -> None:
    """Files in the cache that nobody works with are given back when memory is asked for."""
    found = memory_at_hand(root=version_2(tmp_path, "/job", GIB // 8, GIB // 16, GIB // 32))
    assert found == (GIB // 8 - GIB // 16 + GIB // 32, "left of the control group's 128.0 MiB")


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    version_2(tmp_path, "/pod", GIB // 8, 0)
    version_2(tmp_path, "/pod/job", GIB // 4, 0)
    assert memory_at_hand(root=tmp_path).size == GIB // 8


def test_a_group_without_a_limit_or_beyond_the_machine_is_none(tmp_path: Path) -> None:
    for limit in ("max", psutil.virtual_memory().total * 2):
        assert memory_at_hand(root=version_2(tmp_path, "/job", limit, 0)).source == "free on the machine"


@pytest.mark.parametrize("path", ["/docker/abc", "/"])
def test_a_control_group_of_version_1(tmp_path: Path, path: str) -> None:
    """In a container the path is the host's, and only the group itself is mounted, as root."""
    group = "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": f"5:devices:{path}\n4:cpu,memory:{path}",
        f"{group}/memory.limit_in_bytes": GIB // 8,
        f"{group}/memory.usage_in_bytes": GIB // 16,
        f"{group}/memory.stat": "inactive_file 5\ntotal_inactive_file 7",
    }
    assert memory_at_hand(root=write(tmp_path, files)).size == GIB // 16 + 7


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    assert memory_at_hand(root=version_2(tmp_path, "/job", GIB // 16, GIB // 8)).size == 0


def test_the_setting_counts_what_the_process_holds(tmp_path: Path) -> None:
    held = psutil.Process().memory_info().rss
    size, source = memory_at_hand(2 * held, tmp_path)
    assert size == pytest.approx(held, rel=0.1)
    assert source.startswith("left of RETAIL_MEMORY")


def test_a_process_that_holds_all_of_the_setting_has_a_fourth_of_it(tmp_path: Path) -> None:
    assert memory_at_hand(1000, tmp_path).size == 250


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "2 KiB"), (3 * 2**19, "1.5 MiB"), (5 * 2**50, "5,120.0 TiB")],
)
def test_bytes_in_words(size: int, words: str) -> None:
    assert in_words(size) == words
