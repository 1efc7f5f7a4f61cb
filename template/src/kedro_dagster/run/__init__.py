"""What happens inside a Dagster run."""
