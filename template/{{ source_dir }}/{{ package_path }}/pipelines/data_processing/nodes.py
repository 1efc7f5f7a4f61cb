"""Functions that clean the raw files and count the trips of each day."""

import logging
from typing import Any

import pandas as pd

logger = logging.getLogger(__name__)


def clean_trips(trips: pd.DataFrame, limits: dict[str, float]) -> pd.DataFrame:
    """Drop duplicated trips and trips of an implausible duration.

    Args:
        trips: The raw trips.
        limits: The shortest and the longest duration to keep, ``min`` and ``max``, in minutes.

    Returns:
        The trips to count, with a ``date`` column.
    """
    unique = trips.drop_duplicates("trip_id")
    kept = unique[unique["minutes"].between(limits["min"], limits["max"])]
    logger.info("Kept %d of %d trips", len(kept), len(trips))
    return kept.assign(date=kept["started_at"].str[:10]).reset_index(drop=True)


def clean_weather(weather: pd.DataFrame) -> pd.DataFrame:
    """Fill gaps in the measured temperature from the days around them."""
    return weather.assign(temperature_c=weather["temperature_c"].interpolate().round(1))


def count_daily_trips(trips: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Count the trips of each kind of rider on each day, beside that day's weather."""
    counts = pd.crosstab(trips["date"], trips["rider"])
    daily = weather.merge(counts, left_on="date", right_index=True, how="inner")
    weekend = pd.to_datetime(daily["date"]).dt.day_of_week >= 5
    return daily.assign(weekend=weekend.astype(int)).reset_index(drop=True)


def rank_stations(trips: pd.DataFrame, stations: pd.DataFrame) -> pd.DataFrame:
    """Count departures and arrivals of each station, the busiest first."""
    by_id = stations.set_index("station_id")
    ranked = by_id.assign(
        departures=trips["start_station"].value_counts(),
        arrivals=trips["end_station"].value_counts(),
    )
    ranked = ranked.fillna({"departures": 0, "arrivals": 0}).astype(
        {"departures": int, "arrivals": int}
    )
    trips_of_station = ranked["departures"] + ranked["arrivals"]
    ranked["trips_per_dock"] = (trips_of_station / ranked["docks"]).round(1)
    return ranked.reset_index().sort_values(["departures", "station_id"], ascending=[False, True])


def check_daily_trips(daily_trips: pd.DataFrame, quality: dict[str, Any]) -> None:
    """Stop the run when the data is too thin to train on.

    Args:
        daily_trips: One row for each day.
        quality: The thresholds ``min_days`` and ``max_missing_share``.

    Raises:
        ValueError: If a threshold is missed.
    """
    days = len(daily_trips)
    if days < quality["min_days"]:
        raise ValueError(f"Only {days} days of trips, at least {quality['min_days']} are needed.")
    missing = float(daily_trips.isna().to_numpy().mean())
    if missing > quality["max_missing_share"]:
        raise ValueError(f"{missing:.1%} of the values in daily_trips are missing.")
    logger.info("daily_trips is fine: %d days, %.1f%% missing values", days, 100 * missing)
