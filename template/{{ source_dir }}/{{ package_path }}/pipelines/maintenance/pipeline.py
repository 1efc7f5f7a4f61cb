"""The pipeline ``maintenance``: partitioned by district, then by depot, then one table."""

from kedro.pipeline import Pipeline, node

from .nodes import check_repairs, clean_repairs, compare_depots, sum_workload


def create_pipeline(**kwargs: object) -> Pipeline:
    """Clean and check the repairs of each district, and sum them up for each depot."""
    return Pipeline(
        [
            node(
                clean_repairs,
                inputs=["repairs", "params:cleaning.repair_minutes"],
                outputs="clean_repairs",
                name="clean_repairs",
            ),
            node(
                check_repairs,
                inputs=["clean_repairs", "stations"],
                outputs="repairs_checked",
                name="check_repairs",
                tags="quality",
            ),
            node(
                sum_workload,
                inputs="clean_repairs",
                outputs="depot_workload",
                name="sum_workload",
            ),
            node(
                compare_depots,
                inputs=["depot_workload", "station_ranking", "repairs_checked"],
                outputs="depot_comparison",
                name="compare_depots",
            ),
        ]
    )
