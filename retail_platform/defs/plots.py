"""Plots for the Dagster UI: images inside Markdown, for where a person would rather look. Nothing is computed here."""

import base64
import io
from collections.abc import Sequence
from datetime import date
from typing import Any

import dagster as dg
import numpy as np
import polars as pl


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
    dates = _dates(days["sale_date"])
    low, expected, high, revenue = (_floats(days[f"{name}_revenue"]) for name in ("low", "expected", "high", "net"))
    axes.fill_between(dates, low, high, alpha=0.2, linewidth=0, label="expected band")
    axes.plot(dates, expected, linewidth=0.6, color="tab:blue", label="expected")
    axes.plot(dates, revenue, linewidth=0.6, color="black", label="net revenue")
    outside = days["is_anomaly"].to_numpy()
    axes.plot(dates[outside], revenue[outside], "o", markersize=5, color="tab:red", label="anomaly")
    figure.legend(loc="outside right upper", fontsize="small")
    return _image(figure, title)


def forecast_plot(forecast: pl.DataFrame, past: pl.DataFrame, title: str) -> dg.MarkdownMetadataValue:
    """The days before a forecast, its path with both bands, and the two other scenarios, as an image inside Markdown.

    Args:
        forecast: contract `RevenueForecast` of one country group, by day.
        past: sale_date and amount of the days before, by day.
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
    axes.plot(_dates(base["forecast_date"]), _floats(base["expected_revenue"]), marker=".", label="baseline")
    for name, path in by_scenario.items():
        axes.plot(_dates(path["forecast_date"]), _floats(path["expected_revenue"]), "--", linewidth=0.8, label=name)
    axes.tick_params(axis="x", labelsize="small")
    figure.legend(loc="outside right upper", fontsize="small")
    return _image(figure, title)


def _dates(days: pl.Series) -> Any:
    return days.to_numpy().astype("datetime64[D]")


def _floats(amounts: pl.Series) -> Any:
    return amounts.cast(pl.Float64).to_numpy()


def _figure(title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # takes a second to import, and most runs draw nothing

    figure = Figure(figsize=(9, 3), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _image(figure: Any, title: str) -> dg.MarkdownMetadataValue:
    image = io.BytesIO()
    figure.savefig(image, format="png")
    encoded = base64.b64encode(image.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
