"""The plan as Dagster objects."""
