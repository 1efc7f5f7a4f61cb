"""The pipeline ``data_processing``."""

from kedro.pipeline import Pipeline, node

from .nodes import check_daily_trips, clean_trips, clean_weather, count_daily_trips, rank_stations


def create_pipeline(**kwargs: object) -> Pipeline:
    """Clean the raw files, count the trips, and check the result."""
    return Pipeline(
        [
            node(
                clean_trips,
                inputs=["trips", "params:cleaning.trip_minutes"],
                outputs="clean_trips",
                name="clean_trips",
                tags="nightly",
            ),
            node(
                clean_weather,
                inputs="weather",
                outputs="clean_weather",
                name="clean_weather",
                tags="nightly",
            ),
            node(
                count_daily_trips,
                inputs=["clean_trips", "clean_weather"],
                outputs="daily_trips",
                name="count_daily_trips",
                tags="nightly",
            ),
            node(
                check_daily_trips,
                inputs=["daily_trips", "params:quality"],
                outputs=None,
                name="check_daily_trips",
                tags=["nightly", "quality"],
            ),
            node(
                rank_stations,
                inputs=["clean_trips", "stations"],
                outputs="station_ranking",
                name="rank_stations",
            ),
        ]
    )
