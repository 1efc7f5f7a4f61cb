"""``--conf-source``: another folder, an archive or a bucket, for every process of a run."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from projects import Project, make_project

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("conf_source")]

PIPELINES = """
    from kedro.pipeline import Pipeline, node

    def first(where):
        return [where]

    def second(before, where):
        return [*before, where]

    def register_pipelines():
        return {
            "__default__": Pipeline([
                node(first, "params:where", "passed", name="first"),
                node(second, ["passed", "params:where"], "out", name="second"),
            ])
        }
"""
SETTINGS = """\
import os

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Bucket(LocalFileSystem):
    \"\"\"What an S3 file system is to Kedro, on this disk.\"\"\"

    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path):
        name = str(path).removeprefix("s3://")
        return super()._strip_protocol(os.path.join(os.environ["BUCKETS"], name))


fsspec.register_implementation("s3", Bucket, clobber=True)
"""
KINDS = {
    "folder": "elsewhere/folder/conf",
    "zip": "elsewhere/zip.zip",
    "tar": "elsewhere/tar.tar.gz",
    "bucket": "s3://bucket/conf",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("conf_source")
    project = make_project(
        folder / "shop",
        pipelines=PIPELINES,
        settings=SETTINGS,
        catalog={"out": {"type": "json.JSONDataset", "filepath": "data/out.json"}},
        parameters={"where": "the project"},
        dagster={"jobs": {"all": {"pipeline": {}}}},
    )
    elsewhere = project.path / "elsewhere"
    for kind in KINDS:
        conf = elsewhere / kind / "conf"
        shutil.copytree(project.path / "conf", conf)
        (conf / "base/parameters.yml").write_text(f"where: {kind}\n")
        (conf / "base/dagster.yml").write_text(f"jobs: {{of_{kind}: {{pipeline: {{}}}}}}\n")
    shutil.make_archive(str(elsewhere / "tar"), "gztar", elsewhere / "tar", "conf")
    with zipfile.ZipFile(elsewhere / "zip.zip", "w") as archive:
        for path in sorted((elsewhere / "zip").rglob("*")):
            archive.write(path, path.relative_to(elsewhere / "zip"))
    return project


def environment(project: Project) -> dict[str, str]:
    elsewhere = project.path / "elsewhere"
    (elsewhere / "buckets").mkdir(exist_ok=True)
    if not (elsewhere / "buckets/bucket").exists():
        shutil.copytree(elsewhere / "bucket", elsewhere / "buckets/bucket")
    return {"BUCKETS": str(elsewhere / "buckets")}


def made(project: Project) -> list[str]:
    out = project.path / "data/out.json"
    content: list[str] = json.loads(out.read_text())
    out.unlink()
    return content


@pytest.mark.parametrize("kind", KINDS)
def test_the_processes_of_a_run_read_the_configuration_that_kedro_run_reads(
    project: Project, kind: str
) -> None:
    variables = environment(project)
    project.kedro("run", "--conf-source", KINDS[kind], **variables)
    assert made(project) == [kind, kind]
    for method in ("fork", "spawn"):
        more = {"KEDRO_CONF_SOURCE": KINDS[kind], "KEDRO_MP_CONTEXT": method}
        project.execute(f"of_{kind}", **variables, **more)
        assert made(project) == [kind, kind]


def test_a_command_takes_it_as_an_option(project: Project) -> None:
    option = ("--conf-source", KINDS["zip"])
    assert "of_zip" in project.kedro("dagster", "plan", *option, **environment(project)).stdout
    project.kedro("dagster", "run", "of_zip", *option, **environment(project))
    assert made(project) == ["zip", "zip"]


def test_the_translator_takes_it(project: Project, tmp_path: Path) -> None:
    own = project.copy(tmp_path / "shop")
    definitions = own.path / "src/shop/definitions.py"
    place = str(project.path / KINDS["tar"])
    definitions.write_text(
        definitions.read_text().replace('"shop")', f'"shop", conf_source={place!r})')
    )
    own.execute("of_tar", KEDRO_MP_CONTEXT="spawn", **environment(project))
    assert made(own) == ["tar", "tar"]


def test_where_there_is_no_configuration_is_said(project: Project) -> None:
    variables = environment(project)
    run = project.execute(
        "all", check=False, KEDRO_CONF_SOURCE="nowhere", COLUMNS="900", **variables
    )
    assert run.returncode
    message = f"KEDRO_CONF_SOURCE: there is no {project.path / 'nowhere'}. Name a folder"
    assert message in run.stdout + run.stderr
