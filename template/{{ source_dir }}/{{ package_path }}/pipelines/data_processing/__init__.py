"""Clean the raw files and count the trips of each day."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
