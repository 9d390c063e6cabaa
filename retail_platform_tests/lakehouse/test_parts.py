"""Rows in parts: none is lost, and a member is whole in one of them."""

from pathlib import Path

import polars as pl
import pytest

from retail_platform.lakehouse import parts
from retail_platform.lakehouse.parts import in_parts

ROWS = pl.DataFrame({"member": [None if n % 7 == 0 else str(n % 50) for n in range(1_000)], "value": range(1_000)})


def test_a_member_is_whole_in_one_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 200)
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "left_by_a_killed_process.parquet").write_text("no rows")
    with in_parts(ROWS.lazy(), "member", folder, ROWS.height) as cut:
        frames = [part.collect() for part in cut]
    assert len(frames) > 1
    assert pl.concat(frames).sort("value").equals(ROWS)
    assert sum(frame["member"].n_unique() for frame in frames) == ROWS["member"].n_unique()
    assert not folder.exists()


def test_few_rows_are_not_written(tmp_path: Path) -> None:
    with in_parts(ROWS.lazy(), "member", tmp_path / "parts", ROWS.height) as cut:
        assert [part.collect().height for part in cut] == [ROWS.height]
        assert not (tmp_path / "parts").exists()
