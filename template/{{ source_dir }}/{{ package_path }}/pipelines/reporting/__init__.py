"""Compare the models in a table and a plot."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
