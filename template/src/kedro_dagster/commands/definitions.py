"""The code location as the project's ``definitions.py`` has it, loaded in any process."""

from __future__ import annotations

import runpy
import warnings

import dagster as dg
from dagster.components.definitions import LazyDefinitions

from ..errors import KedroDagsterError
from ..plan.names import KEDRO
from ..read.registry import describe_cause
from ..run.resources import RunResource


def load_run_resource(package: str) -> RunResource:
    """Find the plan in the definitions of a project: steps and assets may have the user's names."""
    resource = load_repository(package).get_top_level_resources().get(KEDRO)
    if not isinstance(resource, RunResource):
        raise KedroDagsterError(f"{package}.definitions has nothing of a KedroProjectTranslator.")
    return resource


def load_repository(package: str) -> dg.RepositoryDefinition:
    """Load the definitions of a project anew, and build all of their jobs.

    The module is not imported: a process may run several jobs of one name, one after the other.
    """
    module = f"{package}.definitions"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
            found = runpy.run_module(module, run_name=module)
        # Those of `dg` are made by a function, which Dagster calls
        made = [one() if isinstance(one, LazyDefinitions) else one for one in found.values()]
        definitions = [one for one in made if isinstance(one, dg.Definitions)]
        if len(definitions) == 1:
            repository: dg.RepositoryDefinition = definitions[0].get_repository_def()
            repository.get_all_jobs()
            return repository
    except KedroDagsterError:
        raise
    except Exception as error:
        raise KedroDagsterError(f"{module} cannot be loaded: {describe_cause(error)}") from error
    raise KedroDagsterError(
        f"{module} holds {len(definitions)} dagster.Definitions, and must hold one: join several "
        "by Definitions.merge."
    )
