"""Read the Kedro project and its ``dagster.yml``."""
