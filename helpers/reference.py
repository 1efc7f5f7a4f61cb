"""Writes ``docs/reference.md``: each key of ``dagster.yml``, and each public class and function.

The keys are those of the JSON schema that the helper has; the rest is what docstrings say.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HELPER = Path(__file__).parent / "kedro_dagster"
SCHEMA = HELPER / "dagster.schema.json"
PAGE = Path(__file__).parents[1] / "docs" / "reference.md"

TRANSLATORS = (
    *(f"{kind}Translator" for kind in ("KedroProject", "Catalog", "Node", "Pipeline")),
    "KedroProjectComponent",
)
DATASETS = ("DagsterPartitionedDataset", "DagsterNothingDataset", "partition_ids")
NAMED = {
    "kedro_dagster.compute_logs": "in `dagster.yaml`",
    "kedro_dagster.launcher": "in `dagster.yaml`",
    "kedro_dagster.logging": "in `logging.yml`",
}
"""Modules whose classes are not called, but named in a file of another library."""

INTRODUCTION = """\
# Reference

Each key of `dagster.yml`, and each public class and function. It is made from the source by
`nox -s schema`: do not edit this page.

## dagster.yml

What the keys are for, with examples: [configuration.md](configuration.md), [jobs.md](jobs.md) and
[executors.md](executors.md). Editors read the same from the JSON schema that the first line of
`dagster.yml` names. Where a number or a truth value may stand, `${...}` of OmegaConf may stand too.
"""

Schema = Mapping[str, Any]


def reference() -> str:
    """The whole page."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return "\n".join((INTRODUCTION, *keys_of_file(schema), *python()))


def keys_of_file(schema: Schema) -> Iterator[str]:
    """A table for the file, and for each model that it leads to; those of executors come last."""
    yield from table("The file", schema)
    found = models_in(schema["properties"], schema["$defs"])
    for name in sorted(found, key=lambda one: one.endswith("ExecutorOptions")):
        model = schema["$defs"][name]
        yield from executors(model) if name == "ExecutorOptions" else table(name, model)


def executors(model: Schema) -> Iterator[str]:
    """A table of the executors, without the longer names that they have too."""
    yield "### ExecutorOptions\n"
    yield "One executor, by its name or its dotted path, with options that are Dagster's own:\n"
    yield "| executor | its options |\n| --- | --- |"
    for name, options in model["properties"].items():
        if not name.endswith(("_executor", "_job")):
            yield f"| `{name}` | {takes(options)} |"
    yield ""


def models_in(part: Any, models: Schema, found: dict[str, None] | None = None) -> dict[str, None]:
    """The names of the models, in the order in which the file leads to them."""
    found = {} if found is None else found
    references = re.findall(r'"#/\$defs/(\w+)"', json.dumps(part))
    new = [name for name in dict.fromkeys(references) if name not in found]
    found.update(dict.fromkeys(new))
    for name in new:
        models_in(models[name], models, found)
    return found


def table(title: str, model: Schema) -> Iterator[str]:
    """The keys of a model."""
    yield f"### {title}\n"
    if about := model.get("description"):
        yield f"{plain(about.partition(chr(10) * 2)[0])}\n"
    yield "| key | takes | by default | |\n| --- | --- | --- | --- |"
    for key, value in model["properties"].items():
        if value.get("description", "").startswith("[DEPRECATED]"):
            continue
        default = value.get("default")
        shown = "" if default in (None, "", [], {}) else f"`{json.dumps(default)}`"
        if key in model.get("required", ()):
            shown = "required"
        yield f"| `{key}` | {takes(value)} | {shown} | {first_sentence(value)} |"
    yield ""


def takes(value: Schema) -> str:
    """What a key takes, in a few words."""
    return " or ".join(dict.fromkeys(kinds(value)))


def kinds(value: Schema) -> Iterator[str]:
    """The kinds of values that a key takes, but for `null` and what OmegaConf replaces."""
    kind, properties = value.get("type", "anything"), value.get("properties")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    if reference := value.get("$ref"):
        name = reference.rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    elif words := value.get("enum") or ([value["const"]] if "const" in value else None):
        yield ", ".join(f"`{word}`" for word in words)
    elif "anyOf" in value:
        for one in value["anyOf"]:
            yield from kinds(one)
    elif kind == "array":
        yield f"list of: {takes(value['items'])}"
    elif kind == "object" and isinstance(value.get("additionalProperties"), dict):
        yield f"by name: {takes(value['additionalProperties'])}"
    elif properties:
        listed = ", ".join(f"`{key}`" for key in properties)
        yield "`{env: NAME}`" if properties.keys() == {"env"} else f"keys {listed}"
    elif kind != "null" and not str(value.get("pattern")).startswith("\\$"):
        least = f", at least {value['minimum']}" if "minimum" in value else ""
        yield f"{KINDS[kind]}{least}"


KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
    "anything": "anything",
}


def first_sentence(value: Schema) -> str:
    """How the description of a key begins; those of Dagster's executors go on for long."""
    text = plain(value.get("description", ""))
    return re.split(r"(?<=[a-z)`]\.) (?=[A-Z])", text)[0].replace("|", "\\|")


def python() -> Iterator[str]:
    """The public classes and functions."""
    yield "## Python\n"
    yield "How translators are derived: [overriding.md](overriding.md).\n"
    for name in TRANSLATORS:
        found = getattr(importlib.import_module("kedro_dagster"), name)
        yield from described(found, "kedro_dagster")
        yield from methods(found)
    for name in DATASETS:
        found = getattr(importlib.import_module("kedro_dagster.datasets"), name)
        yield from described(found, "kedro_dagster.datasets")
    yield "### Named in files\n"
    yield "| class | |\n| --- | --- |"
    for module, file in NAMED.items():
        for name, found in classes(module):
            yield f"| `{module}.{name}` | {file}. {summary(found)} |"
    yield "\n### Errors\n"
    yield "In `kedro_dagster.errors`. Their messages: [troubleshooting.md](troubleshooting.md).\n"
    yield "| class | is a | |\n| --- | --- | --- |"
    for name, found in classes("kedro_dagster.errors"):
        if issubclass(found, Exception):
            bases = ", ".join(f"`{base.__name__}`" for base in found.__bases__)
            yield f"| `{name}` | {bases} | {summary(found)} |"
    yield ""


def classes(module: str) -> Iterator[tuple[str, Any]]:
    """The classes of a module that others may use, by their public names."""
    names = importlib.import_module(module)
    seen = set[Any]()
    for name, found in vars(names).items():
        own = inspect.isclass(found) and found.__module__ == module and found not in seen
        if own and not name.startswith("_"):
            seen.add(found)
            yield name, found


def described(found: Any, module: str) -> Iterator[str]:
    """A class or a function, with its arguments."""
    name = found.__name__
    yield f"### {name}\n"
    yield f"```python\nfrom {module} import {name}\n```\n"
    yield f"`{name}({', '.join(parameters(found))})`\n"
    yield from docstring(found)


def methods(found: Any) -> Iterator[str]:
    """The methods and properties of a class, a line each."""
    yield "| | |\n| --- | --- |"
    for key, member in vars(found).items():
        getter = getattr(member, "func", getattr(member, "fget", None))  # of a property
        if not key.startswith("_") and (getter or inspect.isfunction(member)):
            call = key if getter else f"{key}({', '.join(parameters(member))})"
            yield f"| `{call}` | {summary(getter or member)} |"
    yield ""


def summary(found: Any) -> str:
    """The first paragraph of a docstring."""
    return plain((inspect.getdoc(found) or "").partition("\n\n")[0]).replace("|", "\\|")


def parameters(function: Any) -> Iterator[str]:
    """The parameters of a function, with their defaults."""
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "self":
            stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
            default = getattr(parameter.default, "__name__", repr(parameter.default))
            given = "" if parameter.default is parameter.empty else f"={default}"
            yield f"{stars.get(parameter.kind, '')}{name}{given}"


def docstring(found: Any) -> Iterator[str]:
    """What a docstring says, with its sections as lists."""
    text = inspect.getdoc(found) or ""
    about, *sections = re.split(r"^(Args|Returns|Raises|Yields):\n", text, flags=re.MULTILINE)
    yield f"{plain(about)}\n"
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        words = {"Args": "Arguments"}.get(title, title)
        lines = items(body)
        yield f"{words}:\n"
        yield from (f"- {line}" for line in lines)
        yield ""


def items(body: str) -> Iterator[str]:
    """The entries of a section of a docstring, a line each."""
    for entry in re.split(r"\n(?=\S)", inspect.cleandoc(body)):
        name, colon, text = plain(entry).partition(": ")
        yield f"`{name}`: {text}" if colon and " " not in name else plain(entry)


def plain(text: str) -> str:
    """A text of a docstring as Markdown, on one line for each paragraph."""
    text = re.sub(r":(?:class|func|meth|data):`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def main() -> None:
    """Write the page."""
    PAGE.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}: {PAGE.stat().st_size / 1024:.0f} kB\n")


if __name__ == "__main__":
    main()
