"""What the commands of ``kedro dagster`` do."""
