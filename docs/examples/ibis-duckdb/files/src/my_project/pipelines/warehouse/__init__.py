"""Find the busy days in a DuckDB file."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
