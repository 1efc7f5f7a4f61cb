"""The checks of Kedro datasets as asset checks: one for each dataset, whatever it checks."""

from __future__ import annotations

import dagster as dg

from ..plan.model import DatasetPlan
from ..plan.names import KEDRO, check_identifier
from ..run.checks import NAME
from ..run.steps import StepBody


def check_spec(dataset: DatasetPlan, key: dg.AssetKey) -> dg.AssetCheckSpec:
    """Describe the check of a dataset."""
    check = dataset.check
    assert check is not None
    parts = [
        f"Kedro validator `{one.path}`, on {' and '.join(one.on)}"
        + ("; a failure is a warning." if one.warns else "; a failure ends the run.")
        for one in check.validators
    ]
    if check.schema_drift:
        parts.append("The columns and their types are those of the last materialisation.")
    return dg.AssetCheckSpec(
        NAME,
        asset=key,
        description="\n\n".join(parts),
        blocking=check.blocks and check.on_save,
        metadata={"kedro/validator": ", ".join(one.path for one in check.validators)},
    )


def check_alone(dataset: DatasetPlan, key: dg.AssetKey, body: StepBody) -> dg.AssetChecksDefinition:
    """Make a check that loads its dataset: of what no step of the asset layer makes or checks."""
    output = check_identifier(dataset.name)
    definition: dg.AssetChecksDefinition = dg.AssetChecksDefinition.create(
        keys_by_input_name={dataset.identifier: key},
        node_def=dg.OpDefinition(
            name=f"{output}__check",
            compute_fn=lambda context, _: body.run_check(
                dataset.name, context.op_execution_context
            ),
            ins={dataset.identifier: dg.In(dg.Nothing)},
            outs={output: dg.Out(dg.Nothing)},
            required_resource_keys={KEDRO},
        ),
        check_specs_by_output_name={output: check_spec(dataset, key)},
        can_subset=False,
    )
    return definition
