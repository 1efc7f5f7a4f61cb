"""Turn the repair logs of the districts into the workload of the depots."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
