"""Validators of the catalog, which Kedro has from 1.6 on; one of its names is private."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from kedro.io import CatalogProtocol

from ..errors import BadValueError
from .fallback import or_else
from .kedro import KEDRO

try:
    from kedro import validation
except ImportError:  # Kedro 1.0
    validation = None  # type: ignore[assignment]

Tell: TypeAlias = Callable[[Any, Exception | None], None]
"""Takes what a validator has made of some data, and its error if it has refused them."""


def validator_of(name: str, entry: Mapping[str, Any]) -> Any:
    """The validator that a catalog entry declares, if this Kedro knows validators."""
    if "validator" not in entry or not hasattr(validation, "ValidatorSpec"):
        return None
    try:
        return validation.ValidatorSpec.from_dataset_config(name, entry["validator"])
    except validation.ValidationConfigurationError as error:
        message = str(error).partition(f"'{name}': ")[2] or str(error)
        raise BadValueError(("validator",), message) from error


class WatchedValidator:
    """A validator that tells how it has judged some data."""

    def __init__(self, inner: Any, tell: Tell) -> None:
        self._inner = inner
        self._tell = tell

    def validate(self, data: Any) -> Any:
        """Validate as the validator does."""
        try:
            validated = self._inner.validate(data)
        except Exception as error:
            self._tell(data, error)
            raise
        self._tell(validated, None)
        return validated


def watch_validator(catalog: CatalogProtocol[Any, Any], name: str, mode: str, tell: Tell) -> None:
    """Have Kedro apply a validator, if it is about to apply it, that tells how it judges."""
    found = _validators_of(catalog, name, mode)
    if found is None or isinstance(found[0].get(name), WatchedValidator):
        return
    validators, spec = found
    try:
        validator = validators.get(name) or validation.resolve_validator(spec)
    except Exception:  # noqa: BLE001  # Kedro will meet it too, and tell of it
        return
    validators[name] = WatchedValidator(validator, tell)


@or_else(KEDRO, "validators of the catalog are no asset checks", None)
def _validators_of(
    catalog: CatalogProtocol[Any, Any], name: str, mode: str
) -> tuple[dict[str, Any], Any] | None:
    if not (spec := getattr(catalog, "validator_specs", {}).get(name)):
        return None
    applies = spec.enabled and mode in spec.on and catalog._is_validation_enabled()  # type: ignore[attr-defined]
    return (catalog._validators, spec) if applies else None  # type: ignore[attr-defined]


def result_of(variant: str, path: str, mode: str, error: Exception | None) -> dict[str, Any]:
    """How a validator has judged, as Kedro's ``ValidationResult``."""
    if error is None:
        return validation.ValidationResult(variant, path, "passed").to_dict()
    if not isinstance(error, validation.DataValidationError):  # as Kedro tells of any other
        error = validation.DataValidationError(
            str(error), dataset_name=variant, mode=mode, validator=path
        )
    failures, message = list(error.failures), str(error)
    result = validation.ValidationResult(variant, path, "failed", failures, message)
    return result.to_dict()


def validate(catalog: Any, variant: str, data: Any, mode: str) -> dict[str, Any]:
    """Judge some data at any time, as Kedro's ``ValidationResult``."""
    return validation.validate_dataset(catalog, variant, data, on=mode).to_dict()
