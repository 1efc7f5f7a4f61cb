"""The image of a project that was given Dagster, and whose wheel knows nothing of the helper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from copier import run_copy

from production.image import build
from template.existing import write_project

pytestmark = pytest.mark.slow

PYPROJECT = """\
[build-system]
requires = ["setuptools>=69"]
build-backend = "setuptools.build_meta"

[project]
name = "shop"
version = "0.1.0"
dependencies = ["kedro>=1.0", "kedro-datasets>=8"]

[tool.setuptools.packages.find]
where = ["code"]

[tool.kedro]
package_name = "company.shop"
project_name = "shop"
kedro_init_version = "1.0.0"
source_dir = "code"
"""


def test_its_definitions_load_with_the_configuration_of_the_image(
    template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "shop"
    files = {"code/company/__init__.py": "", "pyproject.toml": PYPROJECT}
    write_project(project, package="company.shop", source="code", conf="config", files=files)
    run_copy(str(template), project, data={"deployment": True}, defaults=True, quiet=True)
    workflow = yaml.safe_load((project / ".github" / "workflows" / "ci.yml").read_text())
    image = build(project, tmp_path / "stages")
    project.rename(tmp_path / "elsewhere")

    docker, _, command = workflow["jobs"]["image"]["steps"][-1]["run"].partition(" company-shop ")
    process = subprocess.run(
        [image.python / "bin" / command.split()[0], *command.split()[1:]],
        cwd=image.workdir,
        env={**image.variables, "DAGSTER_HOME": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert docker == "docker run --rm --env DAGSTER_HOME="
    assert process.returncode == 0, process.stderr
    assert "All code locations passed validation" in process.stdout
    (packages,) = image.python.glob("lib/python3*/site-packages")
    assert (packages / "company" / "shop").is_dir()
    assert not (packages / "kedro_dagster").exists()
