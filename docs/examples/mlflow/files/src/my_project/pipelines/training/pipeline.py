"""The pipeline ``training``: its nodes know nothing of MLflow, but for one metric."""

import mlflow
from kedro.pipeline import Pipeline, node

Line = dict[str, float]
Points = list[tuple[float, float]]


def fit_line(points: Points, fit: dict[str, bool]) -> Line:
    """Fit a line by least squares."""
    x_mean = y_mean = 0.0
    if not fit["through_origin"]:
        x_mean = sum(x for x, _ in points) / len(points)
        y_mean = sum(y for _, y in points) / len(points)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points)
    slope /= sum((x - x_mean) ** 2 for x, _ in points)
    return {"slope": slope, "start": y_mean - slope * x_mean}


def judge_line(line: Line, points: Points) -> float:
    """Say how far the points are from the line."""
    errors = [abs(y - line["start"] - line["slope"] * x) for x, y in points]
    mlflow.log_metric("worst", max(errors))  # a node may also log by itself
    return sum(errors) / len(errors)


def create_pipeline(**kwargs: object) -> Pipeline:
    """Fit a line and judge it."""
    return Pipeline(
        [
            node(fit_line, ["numbers", "params:fit"], "line", name="fit_line"),
            node(judge_line, ["line", "numbers"], "error", name="judge_line"),
        ]
    )
