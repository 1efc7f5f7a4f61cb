"""The pipeline ``orders``: plain Kedro, which runs all deliveries at once under ``kedro run``."""

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Pipeline, node


def count_orders(orders: dict[str, Callable[[], list[dict[str, Any]]]]) -> dict[str, Any]:
    """Sum up each delivery."""
    totals = {}
    for delivery, load in orders.items():
        prices = [order["price"] for order in load()]
        totals[delivery] = {"orders": len(prices), "worth": sum(prices)}
    return totals


def create_pipeline(**kwargs: object) -> Pipeline:
    """Count the orders of each delivery."""
    return Pipeline([node(count_orders, "orders", "order_totals", name="count_orders")])
