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
