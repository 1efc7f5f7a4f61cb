"""Functions that compare the models in a table and a plot."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure


def compare_scores(member: dict[str, float], casual: dict[str, float]) -> pd.DataFrame:
    """Put the scores of both models into one table."""
    return pd.DataFrame([{"rider": "member", **member}, {"rider": "casual", **casual}])


def plot_forecasts(member: pd.DataFrame, casual: pd.DataFrame, plot: dict[str, Any]) -> Figure:
    """Draw actual and predicted trips, one panel for each kind of rider.

    Args:
        member: The forecast for members.
        casual: The forecast for casual riders.
        plot: The ``size`` in inches and the two ``colors``.

    Returns:
        The figure.
    """
    figure = Figure(figsize=plot["size"], layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for panel, name, forecast in zip(
        panels, ("Members", "Casual riders"), (member, casual), strict=True
    ):
        days = pd.to_datetime(forecast["date"])
        panel.plot(days, forecast["actual"], color=plot["colors"]["actual"], label="actual")
        panel.plot(
            days, forecast["predicted"], color=plot["colors"]["predicted"], label="predicted"
        )
        panel.set_title(name, loc="left")
        panel.set_ylabel("trips a day")
        panel.set_ylim(bottom=0)
    panels[0].legend(loc="lower right", ncols=2)
    figure.autofmt_xdate()
    return figure
