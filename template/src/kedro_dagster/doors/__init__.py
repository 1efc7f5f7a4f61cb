"""What is private to Kedro, Dagster, kedro-datasets and OmegaConf: one module for each of them."""
