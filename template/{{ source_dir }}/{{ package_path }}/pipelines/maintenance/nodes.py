"""Functions that turn the repair logs of the districts into the workload of the depots.

Partitions reach a node as a dict of load functions and leave it as a dict of tables. ``kedro run``
gives a node all of them at once; a Dagster job runs it once for each, side by side.
"""

import logging
from collections.abc import Callable

import pandas as pd

logger = logging.getLogger(__name__)

Tables = dict[str, pd.DataFrame]
LoadFunctions = dict[str, Callable[[], pd.DataFrame]]


def clean_repairs(repairs: LoadFunctions, limits: dict[str, float]) -> Tables:
    """Drop repairs that were entered twice or whose duration is implausible.

    Args:
        repairs: The repair log of each district.
        limits: The shortest and the longest repair to keep, ``min`` and ``max``, in minutes.

    Returns:
        The repairs of each district.
    """
    cleaned = {}
    for district, load in repairs.items():
        unique = load().drop_duplicates("repair_id")
        cleaned[district] = unique[unique["minutes"].between(limits["min"], limits["max"])]
    return cleaned


def check_repairs(clean_repairs: LoadFunctions, stations: pd.DataFrame) -> None:
    """Stop the run when a district reports repairs at stations that are not its own.

    Args:
        clean_repairs: The repairs of each district.
        stations: The stations and their districts.

    Raises:
        ValueError: If there are such repairs.
    """
    for district, load in clean_repairs.items():
        own = stations.loc[stations["district"] == district, "station_id"]
        strange = sorted(set(load()["station_id"]) - set(own))
        if strange:
            raise ValueError(f"{district} reports repairs at {strange}, which are not its own.")
        logger.info("The repairs of %s are fine", district)


def sum_workload(clean_repairs: LoadFunctions) -> Tables:
    """Sum up the work of each depot, station by station."""
    repairs = pd.concat([load() for load in clean_repairs.values()])
    return {
        depot: rows.groupby("station_id", as_index=False).agg(
            repairs=("repair_id", "count"), minutes=("minutes", "sum")
        )
        for depot, rows in repairs.groupby("depot")
    }


def compare_depots(
    depot_workload: LoadFunctions,
    station_ranking: pd.DataFrame,
    repairs_checked: None,  # there is nothing to read: it makes this node wait for the check
) -> pd.DataFrame:
    """Set the work of each depot against the trips that started at its stations."""
    workload = pd.concat(load().assign(depot=depot) for depot, load in depot_workload.items())
    by_station = workload.merge(station_ranking[["station_id", "departures"]], on="station_id")
    depots = by_station.groupby("depot")[["repairs", "minutes", "departures"]].sum()
    per_thousand = 1000 * depots["repairs"] / depots["departures"]
    return depots.assign(repairs_per_1000_departures=per_thousand.round(1)).reset_index()
