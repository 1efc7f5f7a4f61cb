"""The pipeline ``reporting``."""

from kedro.pipeline import Pipeline, node

from .nodes import compare_scores, plot_forecasts


def create_pipeline(**kwargs: object) -> Pipeline:
    """Compare the models that ``training`` made."""
    return Pipeline(
        [
            node(
                compare_scores,
                inputs=["member_score", "casual_score"],
                outputs="model_comparison",
                name="compare_scores",
            ),
            node(
                plot_forecasts,
                inputs=["member_forecast", "casual_forecast", "params:plot"],
                outputs="forecast_plot",
                name="plot_forecasts",
                tags="plot",
            ),
        ]
    )
