"""The pipeline ``training``: the same steps for each kind of rider, in a namespace of its own."""

from kedro.pipeline import Pipeline, node

from .nodes import predict_demand, score_model, split_days, train_model

RIDERS = ("member", "casual")


def create_pipeline(**kwargs: object) -> Pipeline:
    """Train, predict and score, once for each kind of rider."""
    steps = Pipeline(
        [
            node(
                split_days,
                inputs=["daily_trips", "params:split"],
                outputs=["train_days", "test_days"],
                name="split_days",
            ),
            node(
                train_model,
                inputs=["train_days", "params:rider", "params:model"],
                outputs="model",
                name="train_model",
                tags="model",
            ),
            node(
                predict_demand,
                inputs=["model", "test_days"],
                outputs="forecast",
                name="predict_demand",
            ),
            node(score_model, inputs="forecast", outputs="score", name="score_model"),
        ]
    )
    riders = [
        # Other pipelines read the forecast and the score: those leave the namespace.
        Pipeline(
            steps,
            namespace=rider,
            inputs="daily_trips",
            outputs={"forecast": f"{rider}_forecast", "score": f"{rider}_score"},
            parameters="params:split",
        )
        for rider in RIDERS
    ]
    return sum(riders, start=Pipeline([]))
