"""Count the orders of each delivery."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
