"""Dagster's local compute logs, which are private to it, and which ``dagster.yaml`` names."""

from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

__all__ = ["CapturedLogContext", "LocalComputeLogManager"]
