"""Writes the JSON schema of ``dagster.yml``, by which editors complete and check it.

It is made from the models that read the file, and from the config schema of each executor, under
the names that the documentation gives its options (``MultiprocessExecutorOptions``), with what
``descriptions.yml`` says of each key. Executors whose packages are not installed are left out, so
`nox -s schema` installs all of them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from kedro_dagster.plan.executors import EXECUTORS, import_executor
from kedro_dagster.read.dagster_yml import KedroDagsterConfig

HERE = Path(__file__).parent
SCHEMA = HERE / "kedro_dagster" / "dagster.schema.json"
DESCRIPTIONS = yaml.safe_load((HERE / "descriptions.yml").read_text(encoding="utf-8"))

JsonSchema = dict[str, Any]
INTERPOLATION: JsonSchema = {"type": "string", "pattern": r"\$\{.+\}"}
"""What OmegaConf replaces, which may stand where a value is."""

TEXT: JsonSchema = {"type": "string"}
NUMBER: JsonSchema = {"type": "number"}
MAPPING: JsonSchema = {"type": "object"}


class FileSchema(GenerateJsonSchema):
    """Describes what a file may say, which is more than what its models hold after reading it."""

    def function_before_schema(self, schema: Any) -> JsonSchema:
        """Add the other ways to write a value, which a validator turns into the plain one."""
        inner = self.generate_inner(schema["schema"])
        others = {
            "_as_list": [TEXT, {"type": "integer"}],
            "_by_name": [{"type": "array", "items": MAPPING}],
            "_seconds": [{"type": "string", "pattern": r"^[\d.hms ]+$"}],
        }.get(schema["function"]["function"].__name__, [])
        if schema["function"]["function"].__name__ in ("_level", "_upper"):
            return {"anyOf": [inner, {"type": "string", "pattern": case_blind(inner["enum"])}]}
        return {"anyOf": [inner, *others]} if others else inner

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchema:
        """A name, or options, which may be written as a name too."""
        union = super().tagged_union_schema(schema)
        return {"anyOf": union["oneOf"]}

    def int_schema(self, schema: core_schema.IntSchema) -> JsonSchema:
        """An integer, or an interpolation."""
        return {"anyOf": [super().int_schema(schema), INTERPOLATION]}

    def float_schema(self, schema: core_schema.FloatSchema) -> JsonSchema:
        """A number, or an interpolation."""
        return {"anyOf": [super().float_schema(schema), INTERPOLATION]}

    def bool_schema(self, schema: core_schema.BoolSchema) -> JsonSchema:
        """A truth value, or an interpolation."""
        return {"anyOf": [super().bool_schema(schema), INTERPOLATION]}


def case_blind(words: list[str]) -> str:
    """A pattern for some words in any case."""
    return "^(" + "|".join("".join(f"[{c}{c.lower()}]" for c in one) for one in words) + ")$"


def file_schema() -> JsonSchema:
    """The schema of the whole file."""
    schema = KedroDagsterConfig.model_json_schema(by_alias=True, schema_generator=FileSchema)
    definitions = schema["$defs"]
    for model in (schema, *definitions.values()):
        describe(model)
    titles: dict[str, str] = {}
    kinds: JsonSchema = {}
    for name, path in EXECUTORS.items():
        title = "".join(part.capitalize() for part in name.split("_")) + "ExecutorOptions"
        if path not in titles:  # the first of several names
            definitions[title] = {"title": title, **executor_options(name)}
        reference = f"#/$defs/{titles.setdefault(path, title)}"
        kinds[name] = {"anyOf": [{"$ref": reference}, {"type": "null"}]}
    definitions["ExecutorOptions"] |= {
        "type": ["object", "string"],
        "properties": kinds,
        "required": [],
        "additionalProperties": MAPPING,
        "maxProperties": 1,
        "minProperties": 1,
    }
    definitions["RunnerOptions"] |= {
        "type": ["object", "string"],
        "properties": {"type": {**TEXT, "description": DESCRIPTIONS["RunnerOptions"]["type"]}},
        "required": ["type"],
        "additionalProperties": True,
    }
    schema["patternProperties"] = {"^_": {}}  # Kedro leaves such keys out
    for section in schema["properties"].values():
        allow_nothing(section)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def describe(model: JsonSchema) -> None:
    """Say of each key what it is."""
    for key, text in DESCRIPTIONS.get(model["title"], {}).items():
        model["properties"][key]["description"] = text


def allow_nothing(section: JsonSchema) -> None:
    """Let a section be empty, as one is whose entries are comments."""
    if "type" in section:
        section["type"] = [section["type"], "null"]
    elif "$ref" in section:
        section["anyOf"] = [{"$ref": section.pop("$ref")}, {"type": "null"}]


def executor_options(name: str) -> JsonSchema:
    """The options of an executor, out of its own schema in Dagster."""
    options = from_dagster(import_executor(name).config_schema.config_type)
    if name == "multiprocess":  # an option of the helper's own stands among them
        model = KedroDagsterConfig.model_json_schema()["$defs"]["ExecutorOptions"]
        describe(model)
        options["properties"]["max_steps_per_worker"] = model["properties"]["max_steps_per_worker"]
    return options


def from_dagster(config: Any) -> JsonSchema:
    """A type of Dagster's config as JSON schema."""
    makers: Mapping[str, Callable[[Any], JsonSchema]] = {
        "ANY": lambda _: {},
        "SCALAR": scalar,
        "ENUM": lambda one: {"anyOf": [{"enum": sorted(one.config_values)}, INTERPOLATION]},
        "ARRAY": lambda one: {"type": "array", "items": from_dagster(one.inner_type)},
        "NONEABLE": lambda one: {"anyOf": [from_dagster(one.inner_type), {"type": "null"}]},
        "MAP": lambda one: {**MAPPING, "additionalProperties": from_dagster(one.inner_type)},
        "SCALAR_UNION": lambda one: {
            "anyOf": [from_dagster(one.scalar_type), from_dagster(one.non_scalar_type)]
        },
        "STRICT_SHAPE": lambda one: shape(one, additionalProperties=False),
        "PERMISSIVE_SHAPE": lambda one: shape(one, additionalProperties=True),
        "SELECTOR": lambda one: shape(one, additionalProperties=False, maxProperties=1),
    }
    return makers[config.kind.name](config)


def scalar(config: Any) -> JsonSchema:
    """A scalar of Dagster's config; OmegaConf may give it."""
    types = {"INT": "integer", "FLOAT": "number", "BOOL": "boolean", "STRING": "string"}
    kind = types[config.scalar_kind.name]
    return TEXT if kind == "string" else {"anyOf": [{"type": kind}, INTERPOLATION]}


def shape(config: Any, **rest: Any) -> JsonSchema:
    """A mapping with known keys."""
    fields = {
        name: {**from_dagster(field.config_type), **described(field.description)}
        for name, field in sorted(config.fields.items())
    }
    required = [name for name, field in config.fields.items() if field.is_required]
    if required and "maxProperties" not in rest:  # of a selector, one key is enough
        rest["required"] = required
    return {**MAPPING, "properties": fields, **rest}


def described(text: str | None) -> JsonSchema:
    """The description of a key, on one line."""
    return {"description": " ".join(text.split())} if text else {}


def main() -> None:
    """Write the schema."""
    SCHEMA.write_text(json.dumps(file_schema(), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{SCHEMA.name}: {SCHEMA.stat().st_size / 1024:.0f} kB\n")


if __name__ == "__main__":
    main()
