"""The image of a project that was given Dagster, and whose wheel knows nothing of the helper."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
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
    image = build(project, tmp_path / "stages")
    project.rename(tmp_path / "elsewhere")

    code = "from company.shop.definitions import defs; print(*[j.name for j in defs.jobs])"
    process = subprocess.run(
        [image.python / "bin" / "python", "-c", code],
        cwd=image.workdir,
        env=image.variables,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.stdout == "default\n", process.stderr
    (packages,) = image.python.glob("lib/python3*/site-packages")
    assert (packages / "company" / "shop").is_dir()
    assert not (packages / "kedro_dagster").exists()
