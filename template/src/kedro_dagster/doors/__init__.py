"""What is private to Kedro, Dagster and kedro-datasets: one module for each of them."""
