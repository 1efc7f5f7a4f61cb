"""Read the Kedro project and its ``dagster.yml``; nothing is built here."""
