"""Settings as plain data: fields with a help text and bounds, checked when they are made, read from YAML."""

import contextlib
import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.errors import BadInput


def setting(
    default: Any,
    help: str,
    *,
    choices: Iterable[str] | None = None,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    runtime: bool = False,
    later: bool = False,
) -> Any:
    """A field of a section.

    Args:
        default: Its default; a list or dict is copied.
        help: What `--help` says of it.
        choices: Values allowed.
        above: Smallest value, itself not allowed.
        least: Smallest value.
        most: Largest value.
        runtime: It says how a run is carried out, not what comes out, and may change when the run goes on.
        later: It came when there were runs already: at its default the digest leaves it out, so that they go on.
    """
    metadata = {
        "help": help,
        "choices": tuple(choices) if choices else None,
        "above": above,
        "least": least,
        "most": most,
        "runtime": runtime,
        "later": later,
    }
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Section:
    """A group of settings that belong together; its subclasses declare them by `setting`.

    Raises:
        BadInput: A setting of the wrong type or out of range.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for spec in dataclasses.fields(self):
            object.__setattr__(self, spec.name, checked(spec, hints[spec.name], getattr(self, spec.name)))


def default_of(spec: "dataclasses.Field[Any]") -> Any:
    """The default of a field."""
    return spec.default_factory() if callable(spec.default_factory) else spec.default


def plain_type(hint: Any) -> tuple[type, bool]:
    """The type inside `X | None` (or `list[X]`) and whether None is allowed."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = next(option for option in options if option is not type(None))
    return typing.get_origin(kind) or kind, type(None) in options


def checked(spec: "dataclasses.Field[Any]", hint: Any, value: Any) -> Any:
    """`value` in the field's type and bounds. YAML reads 1e-3 as text and 1 as int where a float is meant.

    Raises:
        BadInput: It is of another type or out of bounds.
    """
    kind, optional = plain_type(hint)
    if value is None and optional:
        return None
    if kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if kind is str and isinstance(value, Path):
        value = str(value)
    if kind is list and isinstance(value, tuple | str):
        value = [value] if isinstance(value, str) else list(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadInput(f"{spec.name}: must be {kind.__name__}, not {value!r}")
    if isinstance(value, float) and not abs(value) < float("inf"):
        raise BadInput(f"{spec.name}: must be a finite number")
    limits = spec.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise BadInput(f"{spec.name}: must be one of {', '.join(limits['choices'])}, not {value!r}")
    if limits["above"] is not None and not value > limits["above"]:
        raise BadInput(f"{spec.name}: must be above {limits['above']:g}, not {value}")
    if limits["most"] is not None and not limits["least"] <= value <= limits["most"]:
        raise BadInput(f"{spec.name}: must lie between {limits['least']:g} and {limits['most']:g}, not {value}")
    if limits["least"] is not None and value < limits["least"]:
        raise BadInput(f"{spec.name}: must be at least {limits['least']:g}, not {value}")
    return value


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise BadInput naming the first unknown key and the nearest known one."""
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise BadInput(f"{where}: there is no setting {name!r}{hint}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that must hold a mapping.

    Raises:
        BadInput: Not there, not YAML, or not a mapping.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such config file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: is not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: must hold 'name: value' lines, not {type(content).__name__}")
    return content
