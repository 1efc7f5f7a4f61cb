"""The pipeline ``warehouse``: DuckDB runs what the nodes describe, when a table is saved."""

from typing import Any

import ibis.expr.types as ir
from kedro.pipeline import Pipeline, node


def count_trips(trips: ir.Table) -> ir.Table:
    """Count the trips of each day."""
    return trips.group_by("day").agg(trips=trips.count(), minutes=trips.minutes.sum())


def find_busy_days(trips_by_day: ir.Table, busy: int) -> ir.Table:
    """Keep the days with many trips."""
    return trips_by_day.filter(trips_by_day.trips >= busy)


def report_days(busy_days: ir.Table) -> list[dict[str, Any]]:
    """Read the busy days out of the database."""
    rows: list[dict[str, Any]] = busy_days.order_by("day").to_pyarrow().to_pylist()
    return [{**row, "day": str(row["day"])} for row in rows]


def create_pipeline(**kwargs: object) -> Pipeline:
    """Count, keep, report."""
    return Pipeline(
        [
            node(count_trips, "trips", "trips_by_day", name="count_trips"),
            node(
                find_busy_days,
                ["trips_by_day", "params:busy"],
                "busy_days",
                name="find_busy_days",
            ),
            node(report_days, "busy_days", "report", name="report_days"),
        ]
    )
