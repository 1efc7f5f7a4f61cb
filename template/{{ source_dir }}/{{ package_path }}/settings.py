"""Project settings: https://docs.kedro.org/en/stable/configure/configuration_basics/."""

# Hooks run at fixed points of a Kedro run, and at the same points in Dagster.
# HOOKS = (ProjectHooks(),)

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
}
