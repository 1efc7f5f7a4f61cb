"""Functions that train and judge a model of daily demand."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class DemandModel:
    """A linear model of the trips on one day.

    Attributes:
        rider: The kind of rider whose trips it predicts.
        columns: The columns it reads.
        means: Mean of each column in the training data.
        scales: Standard deviation of each column in the training data.
        weights: The intercept, then one weight for each column.
    """

    rider: str
    columns: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]

    def predict(self, features: pd.DataFrame) -> pd.Series:
        """Predict the trips on each day (never fewer than none)."""
        scaled = (features[list(self.columns)].to_numpy(float) - self.means) / self.scales
        trips = self.weights[0] + scaled @ np.asarray(self.weights[1:])
        return pd.Series(np.clip(trips, 0, None), index=features.index)


def split_days(
    daily_trips: pd.DataFrame, options: dict[str, Any]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the last days for the test.

    Args:
        daily_trips: One row for each day, in order.
        options: ``test_days``, the number of days to keep for the test.

    Returns:
        The days to train on, and the days to test on.
    """
    test_days = options["test_days"]
    return daily_trips.iloc[:-test_days], daily_trips.iloc[-test_days:]


def train_model(train_days: pd.DataFrame, rider: str, options: dict[str, Any]) -> DemandModel:
    """Fit a ridge regression.

    Args:
        train_days: The days to train on.
        rider: The column of trips to predict.
        options: ``columns`` to read and the ``ridge`` penalty.

    Returns:
        The fitted model.
    """
    columns = tuple(options["columns"])
    x = train_days[list(columns)].to_numpy(float)
    means, scales = x.mean(axis=0), x.std(axis=0)
    scales = np.where(scales == 0, 1.0, scales)
    design = np.column_stack([np.ones(len(x)), (x - means) / scales])
    penalty = options["ridge"] * np.diag([0.0] + [1.0] * len(columns))
    weights = np.linalg.solve(
        design.T @ design + penalty, design.T @ train_days[rider].to_numpy(float)
    )
    return DemandModel(
        rider=rider,
        columns=columns,
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        weights=tuple(weights.tolist()),
    )


def predict_demand(model: DemandModel, test_days: pd.DataFrame) -> pd.DataFrame:
    """Put the predicted beside the actual trips of the test days."""
    return pd.DataFrame(
        {
            "date": test_days["date"],
            "actual": test_days[model.rider],
            "predicted": model.predict(test_days).round(2),
        }
    ).reset_index(drop=True)


def score_model(forecast: pd.DataFrame) -> dict[str, float]:
    """Compare the prediction with what happened: mean error in trips, and R squared."""
    error = forecast["actual"] - forecast["predicted"]
    spread = forecast["actual"] - forecast["actual"].mean()
    return {
        "mean_absolute_error": round(float(error.abs().mean()), 3),
        "r2": round(float(1 - (error**2).sum() / (spread**2).sum()), 3),
    }
