"""One folder for each pipeline: ``kedro pipeline create <name>`` adds one."""
