"""Train one demand model for each kind of rider."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
