"""Prediction as a tool of agents: one function of plain values, and its schema for function calling."""

from functools import cache
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_folders import DEFAULT_MODEL
from simxrd_hf.identify.predictor import Predictor


@cache
def _predictor() -> Predictor:
    return Predictor(DEFAULT_MODEL)


def identify_pattern(path: str, wavelength: float | None = None, top_k: int = 5) -> dict[str, Any]:
    """Identify the crystal symmetry of one measured powder X-ray diffraction pattern.

    Args:
        path: File of the pattern: two columns (2θ and intensity), or a diffractometer's own format (.xrdml, .raw,
            .brml, .ras, .udf and others).
        wavelength: Wavelength in Å (Cu Kα is 1.54184); needed where the file does not state it, and never assumed.
        top_k: How many answers each list holds.

    Returns:
        "space_group", "extinction_symbol", "bravais_lattice" and "crystal_system", each a list of {"label", "score"},
        most probable first, "prediction_set" with its coverage, and "input", what the file was read as.

    Raises:
        BadInput: The file cannot be read as a powder pattern; the message says what to give instead.
    """
    try:
        answer = _predictor()([path], top_k=top_k, wavelength=wavelength)[0]
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{path}: {error}") from error
    return {key: value for key, value in answer.items() if key != "matches"}


def tool_schema() -> dict[str, Any]:
    """`identify_pattern` as a JSON schema, as chat templates of transformers and the usual agents take it."""
    from transformers.utils import get_json_schema

    schema: dict[str, Any] = get_json_schema(identify_pattern)
    return schema
