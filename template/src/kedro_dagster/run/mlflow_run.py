"""One MLflow run for all processes of a Dagster run, where kedro-mlflow is installed.

kedro-mlflow opens the MLflow run in ``before_pipeline_run`` and closes it in the last pipeline
hook, both of which are called in the run worker; its hook keeps the id. The processes of the
steps have hooks of their own: there, kedro-mlflow is told to resume the run that is open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from pluggy import PluginManager

from ..doors.kedro import RUN_ID_PARAM

# The tags of a Dagster run
RUN_ID_TAG = "mlflow/run_id"
RUN_URL_TAG = "mlflow/run_url"  # on the tracking server, or where `kedro mlflow ui` shows it

# The metadata of an asset
MODEL_URI = "mlflow/model_uri"


def find_hook(hook_manager: PluginManager) -> Any:
    """Find the hook of kedro-mlflow; ``None`` where it is not installed, or is disabled."""
    for plugin in hook_manager.get_plugins():
        if any(kind.__module__.startswith("kedro_mlflow.") for kind in type(plugin).__mro__):
            return plugin
    return None


def _hook_of_run(hook_manager: PluginManager) -> Any:
    """The hook of kedro-mlflow, where it has a run."""
    hook = find_hook(hook_manager)
    return hook if hook and hook.run_id is not None else None


def opened(hook_manager: PluginManager) -> dict[str, str]:
    """Give the tags of the MLflow run that ``before_pipeline_run`` has opened, if it has."""
    if (hook := _hook_of_run(hook_manager)) is None:
        return {}
    import mlflow  # noqa: PLC0415

    hook.mlflow_config.tracking.run.nested = False  # see join
    run, tracking_uri = mlflow.get_run(hook.run_id), mlflow.get_tracking_uri()
    tags = {RUN_ID_TAG: run.info.run_id}
    if not tracking_uri.startswith("databricks"):
        address = ui_address(hook.mlflow_config, tracking_uri)
        path = f"experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        tags[RUN_URL_TAG] = f"{address}/#/{path}"
    return tags


def join(
    hook: Any,
    tags: Mapping[str, str],
    run_params: Mapping[str, Any],
    pipeline: Pipeline,
    catalog: CatalogProtocol[Any, Any],
) -> None:
    """Resume the MLflow run of a Dagster run in another process.

    Only kedro-mlflow's own ``before_pipeline_run`` is called: it resumes the run whose id is
    configured, and sets all that its node hooks rely on.
    """
    import mlflow  # noqa: PLC0415

    if run_id := tags.get(RUN_ID_TAG):
        run = mlflow.get_run(run_id)
        if run.data.tags.get(RUN_ID_PARAM) == run_params[RUN_ID_PARAM]:  # a tag may be inherited
            options = hook.mlflow_config.tracking.run
            options.id, options.name = run_id, run.info.run_name
    hook.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)
    # Else kedro-mlflow would stack the run on itself before each node of this process
    hook.mlflow_config.tracking.run.nested = False


def leave(hook_manager: PluginManager, joined: bool) -> None:
    """End the runs that nodes have left open, and let go of a run that was joined."""
    if (hook := _hook_of_run(hook_manager)) is None:
        return
    import mlflow  # noqa: PLC0415

    while active := mlflow.active_run():
        if active.info.run_id != hook.run_id:
            mlflow.end_run()
        elif joined:
            mlflow.end_run("RUNNING")
        else:
            break
    if joined:
        hook.run_id = None


@contextmanager
def closing(hook_manager: PluginManager, status: str) -> Iterator[None]:
    """Have the MLflow run active for the last pipeline hook, and closed after it.

    kedro-mlflow relies on the former in ``on_pipeline_error``. Its hook is one for the process:
    unless it forgets the run, the next one would be written to it.
    """
    hook = _hook_of_run(hook_manager)
    if hook is None or hook._already_active_mlflow:
        yield
        return
    import mlflow  # noqa: PLC0415

    if mlflow.active_run() is None:
        mlflow.start_run(run_id=hook.run_id)
    try:
        yield
    except BaseException:
        status = "FAILED"
        raise
    finally:
        while mlflow.active_run():
            mlflow.end_run(status)
        hook.run_id = None


def ui_address(config: Any, tracking_uri: str) -> str:
    """Find the address that ``kedro mlflow ui`` opens."""
    parts = urlsplit(tracking_uri)
    if parts.scheme not in ("http", "https"):
        return f"http://{config.ui.host}:{config.ui.port}"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def told_of_run(hook_manager: PluginManager, tags: Mapping[str, str]) -> dict[str, Any]:
    """The MLflow run that nodes write to, and its address, as metadata of what they make."""
    if (hook := _hook_of_run(hook_manager)) is None:
        return {}
    same = tags.get(RUN_ID_TAG) == hook.run_id and RUN_URL_TAG in tags
    address = {RUN_URL_TAG: dg.MetadataValue.url(tags[RUN_URL_TAG])} if same else {}
    return {RUN_ID_TAG: hook.run_id, **address}


def saved_model(dataset: Any) -> dict[str, str]:
    """Where kedro-mlflow has logged the model that a dataset has saved in this process."""
    uri = getattr(dataset, "_last_saved_model_uri", None)
    return {MODEL_URI: uri} if uri else {}


def find_model(
    dataset: Any, asset_key: dg.AssetKey, instance: dg.DagsterInstance, run_ids: Iterable[str]
) -> None:
    """Let a dataset load the model that another process of a run has saved: it knows its own."""
    if getattr(dataset, "_last_saved_model_uri", "") is not None:
        return
    for run_id in run_ids:
        kind = dg.DagsterEventType.ASSET_MATERIALIZATION
        for record in instance.get_records_for_run(run_id, of_type=kind).records:
            made = record.asset_materialization
            if made and made.asset_key == asset_key and MODEL_URI in made.metadata:
                dataset._last_saved_model_uri = made.metadata[MODEL_URI].value
                return
