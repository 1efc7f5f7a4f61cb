"""The ``io_manager`` of a job outside of its steps, with all that it requires."""

import dagster as dg
from dagster import DagsterInstance

from kedro_dagster.run.shared_storage import SharedStorage

stored: dict[tuple[str, ...], object] = {}


class Account(dg.ConfigurableResource):  # type: ignore[type-arg]
    root: str


class Bucket(dg.ConfigurableResource):  # type: ignore[type-arg]
    account: Account


class Store(dg.ConfigurableIOManager):
    bucket: Bucket

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        stored[(self.bucket.account.root, *context.get_identifier())] = obj

    def load_input(self, context: dg.InputContext) -> object:
        assert context.upstream_output is not None
        upstream = context.upstream_output.get_identifier()
        return stored[(self.bucket.account.root, *upstream)]


@dg.op
def step() -> None: ...


def test_a_resource_within_another_may_be_configured_at_launch() -> None:
    account = Account.configure_at_launch()
    resources = {"account": account, "io_manager": Store(bucket=Bucket(account=account))}
    graph = dg.GraphDefinition("job", node_defs=[step])
    (job,) = dg.Definitions(jobs=[graph.to_job()], resources=resources).resolve_all_job_defs()
    config = {"resources": {"account": {"config": {"root": "here"}}}}
    with DagsterInstance.ephemeral() as instance:
        run = instance.create_run_for_job(job, run_config=config)
        storage = SharedStorage(job.resource_defs, instance, run)
        storage.save("step", "values", 1)
        assert storage.load("step", "values") == 1
    assert list(stored) == [("here", run.run_id, "step", "values")]
