"""Plots for the Dagster UI: images inside Markdown, for where a person would rather look. Nothing is computed here."""

import base64
import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import polars as pl

SCENARIO_LINES = (("--", "tab:green"), ("-.", "tab:red"))
"""Of the scenarios beside the baseline, by name."""


def daily_revenue_plot(days: Sequence[date], amounts: Sequence[float], title: str) -> dg.MarkdownMetadataValue:
    """A line of one amount per day, as an image inside Markdown.

    Args:
        days: the days, in order.
        amounts: the amount of each day, in the shop's currency (for drawing only: floats).
        title: what is shown.
    """
    figure, axes = _figure(title)
    axes.plot(
        np.array(days, dtype="datetime64[D]"), np.array(amounts), linewidth=0.8, marker="." if len(days) < 60 else None
    )
    return _image(figure, title)


def calibration_plot(deciles: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """What was expected and what came, side by side for each decile, as an image inside Markdown.

    Args:
        deciles: decile, expected, came.
        title: what is shown.
    """
    figure, axes = _figure(title)
    for name, shift in (("expected", -0.2), ("came", 0.2)):
        axes.bar(deciles["decile"].to_numpy() + shift, deciles[name].to_numpy(), width=0.4, label=name)
    axes.set_xticks(deciles["decile"].to_list())
    axes.set_xlabel("tenth of the customers, by expectation")
    axes.set_ylabel("mean days with an order")
    axes.legend()
    return _image(figure, title)


def revenue_band_plot(days: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """Revenue of each day, the band it was expected in, and the days outside it, as an image inside Markdown.

    Args:
        days: contract `RevenueAnomalies` of one member, by day.
        title: what is shown.
    """
    figure, axes = _figure(title)
    _draw_band(axes, days)
    figure.legend(loc="outside right upper", fontsize="small")
    return _image(figure, title)


def revenue_bands_plot(members: Sequence[pl.DataFrame], title: str) -> dg.MarkdownMetadataValue:
    """A small picture as in `revenue_band_plot` for each of some members, side by side, as an image inside Markdown.

    Args:
        members: contract `RevenueAnomalies` of one member each, by day.
        title: what is shown.
    """
    figure, panels = _panels(title, len(members), columns=2, right=1.7)
    for axes, days in zip(panels, members, strict=True):
        dimension, member = days.select("dimension", "member").row(0)
        axes.set_title(f"{dimension}: {member}", fontsize="medium")
        _draw_band(axes, days)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="upper right", fontsize="small")
    return _image(figure, title)


def flagged_lines_plot(counts: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """The flagged lines of each day, a picture for each measure, as an image inside Markdown.

    Args:
        counts: sale_date, and the lines flagged for each measure in a column of its name, by day.
        title: what is shown.
    """
    measures = counts.columns[1:]
    figure, panels = _panels(title, len(measures), columns=1, right=0.3)
    for axes, measure in zip(panels, measures, strict=True):
        axes.set_title(measure, fontsize="medium")
        axes.vlines(_dates(counts["sale_date"]), 0, counts[measure].to_numpy(), linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("lines")
    return _image(figure, title)


def _draw_band(axes: Any, days: pl.DataFrame) -> None:
    dates = _dates(days["sale_date"])
    low, expected, high, revenue = (_floats(days[f"{name}_revenue"]) for name in ("low", "expected", "high", "net"))
    axes.fill_between(dates, low, high, alpha=0.2, linewidth=0, label="expected band")
    axes.plot(dates, expected, linewidth=0.6, color="tab:blue", label="expected")
    axes.plot(dates, revenue, linewidth=0.6, color="black", label="net revenue")
    outside = days["is_anomaly"].to_numpy()
    axes.plot(dates[outside], revenue[outside], "o", markersize=5, color="tab:red", label="anomaly")


def forecast_plot(forecast: pl.DataFrame, past: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """The days that came, a forecast's path with both bands, and the two other scenarios, as an image inside Markdown.

    Args:
        forecast: contract `RevenueForecast` of one country group, by day.
        past: sale_date and amount of the days that came, by day: those before, and the open ones since.
        title: what is shown.
    """
    figure, axes = _figure(title)
    axes.plot(
        _dates(past["sale_date"]), _floats(past["amount"]), linewidth=0.8, marker=".", color="black", label="came"
    )
    # A closed day is 0; drawn, it would hide the bands of its neighbours.
    amounts = pl.exclude("country_group", "scenario", "forecast_date", "as_of_date", "is_open", "model")
    drawn = forecast.with_columns(pl.when("is_open").then(amounts))
    by_scenario = {name: drawn.filter(scenario=name) for name in drawn["scenario"].unique().sort()}
    base = by_scenario.pop("baseline")
    for band, alpha in (("95", 0.15), ("80", 0.25)):
        ends = (_floats(base[f"{end}_{band}"]) for end in ("low", "high"))
        axes.fill_between(_dates(base["forecast_date"]), *ends, alpha=alpha, color="tab:blue", label=f"{band} %")
    axes.plot(
        _dates(base["forecast_date"]), _floats(base["expected_revenue"]), marker=".", color="tab:blue", label="baseline"
    )
    for (name, path), (line, color) in zip(by_scenario.items(), SCENARIO_LINES, strict=True):
        dates, expected = _dates(path["forecast_date"]), _floats(path["expected_revenue"])
        axes.plot(dates, expected, line, linewidth=1, color=color, label=name)
    axes.tick_params(axis="x", labelsize="small")
    figure.legend(loc="outside right upper", fontsize="small")
    return _image(figure, title)


def is_plot(value: Any) -> bool:
    """Whether metadata of an asset is one of these images."""
    return isinstance(value, dg.MarkdownMetadataValue) and (value.md_str or "").startswith("![")


def _dates(days: pl.Series) -> Any:
    return days.to_numpy().astype("datetime64[D]")


def _floats(amounts: pl.Series) -> Any:
    return amounts.cast(pl.Float64).to_numpy()


def quality_trend_plot(scores: pl.DataFrame, threshold: float, title: str) -> dg.MarkdownMetadataValue:
    """The total score of each day, the mean of its 28 days and the threshold, as an image inside Markdown.

    Args:
        scores: sale_date and total_score, by day.
        threshold: the least total that is good.
        title: what is shown.
    """
    known = scores.drop_nulls("total_score").with_columns(pl.col("total_score").cast(pl.Float64))
    mean = known.rolling("sale_date", period="28d").agg(pl.col("total_score").mean())["total_score"]
    figure, axes = _figure(title)
    days = known["sale_date"].to_numpy()
    axes.plot(days, known["total_score"].to_numpy(), ".", markersize=3, label="day")
    axes.plot(days, mean.to_numpy(), label="mean of 28 days")
    axes.axhline(threshold, color="tab:red", linewidth=0.8, label="held back below")
    figure.legend(loc="outside right upper", fontsize="small")
    return _image(figure, title)


def drift_plot(bins: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """The rows in each bin before and now, side by side, as an image inside Markdown.

    Args:
        bins: bin, before_pct and now_pct, in the order of the bins.
        title: what is shown.
    """
    figure, axes = _figure(title)
    places = np.arange(bins.height)
    for name, label, shift in (("before_pct", "30 days before", -0.2), ("now_pct", "now", 0.2)):
        axes.bar(places + shift, bins[name].to_numpy(), width=0.4, label=label)
    axes.set_xticks(places, [text.strip("'")[:24] for text in bins["bin"]], rotation=45, ha="right", fontsize=7)
    axes.set_ylabel("% of the rows")
    axes.legend()
    return _image(figure, title)


def seasonality_plot(indices: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """The shop's index of each month, with the range of the single years, as an image inside Markdown.

    Args:
        indices: contract `SeasonalityIndex`.
    """
    months = indices.filter((pl.col("scope") == "shop") & (pl.col("cycle") == "month")).sort("position")
    figure, axes = _figure("Revenue by month of the year, 100 is the mean")
    position, index = months["position"].to_numpy(), months["revenue_index"].to_numpy()
    axes.bar(position, index)
    axes.vlines(position, months["lowest_index"].to_numpy(), months["highest_index"].to_numpy(), colors="black")
    axes.set_xticks(range(1, 13))
    return _image(figure, "Revenue by month of the year")


def heat_map_plot(
    rows: pl.DataFrame, title: str, row_label: str, column_label: str, largest: float | None = None
) -> dg.MarkdownMetadataValue:
    """A table of numbers in shades of one colour, each number in its cell, as an image inside Markdown.

    Args:
        rows: the names of the rows, then a column of numbers for each column of the picture; null leaves a cell empty.
        title: what is shown.
        row_label: what the rows are.
        column_label: what the columns are.
        largest: the number that is darkest, and all above it; by default the largest.
    """
    names, numbers = rows.to_series(0).to_list(), rows.drop(rows.columns[0]).cast(pl.Float64).to_numpy()
    figure, axes = _figure(title, width=max(7, 0.45 * numbers.shape[1] + 2), height=0.28 * len(names) + 1.4)
    axes.grid(visible=False)
    axes.imshow(numbers, cmap="Blues", aspect="auto", vmin=0, vmax=largest)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xticks(range(numbers.shape[1]), [name.replace(" ", "\n") for name in rows.columns[1:]], fontsize=8)
    axes.set_ylabel(row_label)
    axes.set_xlabel(column_label)
    darkest = largest or np.nanmax(numbers, initial=1)
    for (row, column), number in np.ndenumerate(numbers):
        if not np.isnan(number):
            colour = "white" if number > 0.6 * darkest else "black"
            axes.text(column, row, f"{number:,.0f}", ha="center", va="center", fontsize=7, color=colour)
    return _image(figure, title)


def stacked_plot(days: Sequence[date], parts: Mapping[str, Sequence[int]], title: str) -> dg.MarkdownMetadataValue:
    """How a whole is divided over time, as an image inside Markdown.

    Args:
        days: the days, in order.
        parts: the name of each part, from the bottom up, with its number on each day.
        title: what is shown.
    """
    figure, axes = _figure(title)
    axes.stackplot(np.array(days, dtype="datetime64[D]"), list(parts.values()), labels=list(parts))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True, fontsize=8)
    return _image(figure, title)


def _figure(title: str, width: float = 9, height: float = 3) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # takes a second to import, and most runs draw nothing

    figure = Figure(figsize=(width, height), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _panels(title: str, number: int, columns: int, right: float) -> tuple[Any, list[Any]]:
    """A figure of small pictures over the same days, in rows, with a margin on the right in inches."""
    from matplotlib.figure import Figure  # as in `_figure`

    rows = -(-number // columns)
    width, height = 5 + 3.5 * columns, 1 + 1.6 * rows
    figure = Figure(figsize=(width, height), dpi=80)
    # Fixed margins: a layout that measures every label takes as long again as the drawing.
    figure.subplots_adjust(
        left=0.8 / width, right=1 - right / width, bottom=0.5 / height, top=1 - 0.7 / height, wspace=0.18, hspace=0.35
    )
    figure.suptitle(title)
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    for axes in panels[number:]:
        axes.remove()
    for position, axes in enumerate(panels[:number]):
        axes.grid(alpha=0.3)
        is_last = position + columns >= number
        axes.tick_params(axis="x", rotation=30, labelsize="small", labelbottom=is_last)
    return figure, panels[:number]


def _image(figure: Any, title: str) -> dg.MarkdownMetadataValue:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    encoded = base64.b64encode(image.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
