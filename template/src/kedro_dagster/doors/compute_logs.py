"""Dagster's local compute logs, which are private to it, and which ``dagster.yaml`` names."""

from .fallback import unsupported

try:
    from dagster._core.storage.compute_log_manager import CapturedLogContext
    from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
except ImportError as error:
    raise unsupported("dagster", str(error)) from error

__all__ = ["CapturedLogContext", "LocalComputeLogManager"]
