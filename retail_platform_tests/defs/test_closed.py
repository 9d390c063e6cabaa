"""Which plots a table shows when it stands: those that were drawn of it, until there is another to draw."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from retail_platform.contracts import QUALITY_SCORES
from retail_platform.defs.closed import standing_plots, with_plots
from retail_platform.defs.layers import key_of
from retail_platform.defs.plots import daily_revenue_plot
from retail_platform.defs.quality import _trend
from retail_platform.lakehouse.lake import Lake
from retail_platform.transforms.scores import ScoreRule

KEY = key_of(QUALITY_SCORES)
PLOT = daily_revenue_plot([date(2011, 1, 4)], [1.0], "Revenue")
SCORED = date(2011, 1, 4)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def told(instance: dg.DagsterInstance, **metadata: Any) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=metadata))


def scores(*days: date) -> pl.DataFrame:
    rows = [dict.fromkeys(QUALITY_SCORES.schema) | {"sale_date": day, "total_score": 99} for day in days]
    return pl.DataFrame(rows, QUALITY_SCORES.schema, strict=False)


def test_only_the_plots_of_the_latest_materialisation_stand(instance: dg.DagsterInstance) -> None:
    assert standing_plots(instance, KEY) == {}
    told(instance, delta_version=1, made_again=True, preview=dg.MetadataValue.md("| a |"), revenue=PLOT)
    assert standing_plots(instance, KEY, delta_version=1) == {"revenue": PLOT}
    assert standing_plots(instance, KEY, delta_version=2) == {}
    assert standing_plots(instance, KEY, week="2011-01-03") == {}
    told(instance, delta_version=2)
    assert standing_plots(instance, KEY) == {}


def test_a_plot_is_drawn_of_a_table_made_again_and_of_one_that_has_none(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    lake, context, drawn = Lake(tmp_path), dg.build_asset_context(instance=instance), []

    def draw(frame: pl.DataFrame) -> dict[str, Any]:
        drawn.append(frame)
        return {"revenue": PLOT}

    def run(made_again: bool) -> dict[str, Any]:
        frame = scores(SCORED)
        more = with_plots(context, lake, QUALITY_SCORES, frame, {"made_again": made_again}, draw)
        told(instance, delta_version=lake.replace(QUALITY_SCORES, frame), **more)
        return more

    assert run(made_again=True) == {"made_again": True, "revenue": PLOT}
    assert run(made_again=False) == run(made_again=False) == {"made_again": False, "revenue": PLOT}
    assert len(drawn) == 1
    told(instance, delta_version=lake.version(QUALITY_SCORES))
    assert run(made_again=False)["revenue"] == PLOT
    assert run(made_again=True)["revenue"] == PLOT
    assert len(drawn) == 3
    empty = with_plots(context, lake, QUALITY_SCORES, scores().head(0), {"made_again": True}, draw)
    assert empty == {"made_again": True}


def test_the_trend_of_the_scores_stands_within_a_week(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    lake, context = Lake(tmp_path), dg.build_asset_context(instance=instance)

    def run(*days: date, is_wanted: bool = False) -> Any:
        frame = scores(*days)
        trend = _trend(context, lake, frame, ScoreRule(), is_wanted)
        told(instance, delta_version=lake.replace(QUALITY_SCORES, frame), **trend)
        return trend["trend"]

    first = run(SCORED)
    assert run(SCORED, date(2011, 1, 5)) == first
    closed = run(SCORED, date(2011, 1, 5), date(2011, 1, 10))
    assert closed != first
    assert run(SCORED, date(2011, 1, 5), date(2011, 1, 10), date(2011, 1, 11)) == closed
    assert run(SCORED, date(2011, 1, 10), date(2011, 1, 11), is_wanted=True) != closed
