"""The task "xrd-classification": patterns in any form → ranked space groups, extinction symbols, crystal systems."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Pipeline

from .answers_simxrd import answer_logits
from .conversion_simxrd import prepare
from .reading_simxrd import read_pattern


class XRDClassificationPipeline(Pipeline):
    """Classifies powder patterns by symmetry.

    One pattern is an array on the model's grid, a file path, or a mapping with "intensity", one of "two_theta", "d",
    "q", "wavelength" (Å; a 2θ axis means nothing without) and optionally "composition" (a formula), or a row of a
    dataset; {"patterns": [...]} holds several patterns of one sample. A list of patterns, a two-dimensional array, a
    dataset or a generator is a batch.

    Call arguments: `top_k` (answers per list, default 5, None for all), `wavelength` (Å, where an input names none),
    `negative` ("error" or "clip"), `batch_size`; and, where the pipeline was opened with a library, `elements` (what
    the sample is made of, "Ti,Zn,O": others are absent, "C?" may be there, "!Si" is not) and `phases` (how many).

    Every answer is a dict of lists, best first: "space_group" (label, score, number), "extinction_symbol",
    "bravais_lattice", "crystal_system"; scores of the coarser lists are sums over the groups, after the temperature
    stored with the model. "prediction_set" follows if the model stores a conformal threshold; "input" states axis,
    range and wavelength of what was given.

    Example:
        >>> pipe = pipeline("xrd-classification", model=folder, trust_remote_code=True)
        >>> pipe({"two_theta": angles, "intensity": counts, "wavelength": 1.5406})["space_group"][0]
        {'label': 'Fm-3m', 'score': 0.93, 'number': 225}
    """

    _load_processor = False
    _load_image_processor = False
    _load_feature_extractor = True
    _load_tokenizer = False

    # Reads a path into a mapping; the installed package puts its reader of instrument files here.
    reader: Callable[[str | Path], Mapping[str, Any]] = staticmethod(read_pattern)
    # Takes logits and prepared arrays of one sample, returns them corrected by what cells and known crystals say, and
    # entries for its answer; it comes with the package too.
    correct: Callable[..., tuple[Any, dict[str, Any]]] | None = None

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        known = {"top_k", "wavelength", "negative", "elements", "phases"}
        if unknown := set(kwargs) - known - {"trust_remote_code"}:
            raise ValueError(f"unknown argument {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        top_k = kwargs.get("top_k")
        if top_k is not None and not (isinstance(top_k, int | np.integer) and top_k >= 1):
            raise ValueError(f"top_k must be a number of answers from 1 on, or None for all, got {top_k!r}")
        preprocess = {name: kwargs[name] for name in ("wavelength", "negative") if kwargs.get(name) is not None}
        about = {name: kwargs[name] for name in ("elements", "phases") if kwargs.get(name) is not None}
        if about and self.correct is None:
            raise ValueError(f"{' and '.join(about)}: for pipelines that simxrd_hf.pipeline opens with a library")
        return preprocess, about, {"top_k": kwargs["top_k"]} if "top_k" in kwargs else {}

    def __call__(self, inputs: Any, *args: Any, batch_size: int | None = None, **kwargs: Any) -> Any:
        """Classify one pattern (a dict comes back), a batch (a list) or a stream (an iterator)."""
        kwargs.pop("num_workers", None)
        preprocess, about, postprocess = self._sanitize_parameters(**kwargs)
        preprocess = {**self._preprocess_params, **preprocess}
        postprocess = {**self._postprocess_params, **postprocess}
        single = _is_one(inputs)
        patterns = [inputs] if single else inputs
        stream = self._stream(patterns, batch_size or self._batch_size, preprocess, about, postprocess)
        if single:
            return next(stream)
        return list(stream) if isinstance(inputs, list | tuple | np.ndarray | torch.Tensor) else stream

    def _stream(
        self,
        inputs: Iterable[Any],
        batch_size: int | None,
        preprocess: dict[str, Any],
        about: dict[str, Any],
        postprocess: dict[str, Any],
    ) -> Iterator[dict[str, Any]]:
        """Preprocess, run and answer in chunks; a bad input is named by its place."""
        pending = enumerate(inputs)
        while chunk := list(islice(pending, batch_size or 32)):
            prepared = []
            for index, item in chunk:
                try:
                    prepared.append(self.preprocess(item, **preprocess))
                except ValueError as error:
                    where = f"{item}: " if isinstance(item, str | Path) and str(item) not in str(error) else ""
                    place = f"input {index}: " if len(chunk) > 1 else ""
                    raise ValueError(f"{place}{where}{error}") from error
            merged = {
                name: torch.cat([item[name] for item in prepared])
                for name in ("intensity", "mask", "composition")
                if name in prepared[0]
            }
            table = self.forward(dict(merged))["logits"].float().cpu()
            sizes = [len(item["intensity"]) for item in prepared]
            for item, logits in zip(prepared, table.split(sizes), strict=True):
                more: dict[str, Any] = {}
                if self.correct is not None:
                    arrays = {name: item[name].numpy() for name in ("intensity", "mask")}
                    corrected, more = self.correct(logits.numpy(), arrays, **about)
                    logits = torch.from_numpy(corrected)
                yield self.postprocess({"logits": logits, "info": item["info"]}, **postprocess) | more

    def preprocess(self, inputs: Any, wavelength: float | None = None, negative: str | None = None) -> dict[str, Any]:
        """One input → "intensity", "mask" (patterns, n_points), "info", and "composition" where the model takes it."""
        prepared = prepare(
            inputs,
            self.feature_extractor.converter(),
            self.reader,
            wavelength=wavelength,
            negative=negative,
            use_composition=getattr(self.model.config, "use_composition", False),
        )
        info = prepared.pop("info")
        return {**{name: torch.from_numpy(array) for name, array in prepared.items()}, "info": info}

    def _forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {"logits": self.model(**model_inputs).logits}

    def postprocess(self, model_outputs: dict[str, Any], top_k: int | None = 5) -> dict[str, Any]:
        """Logits of the patterns of one sample → its answer."""
        return answer_logits(model_outputs["logits"].numpy(), model_outputs["info"], self.model.config, top_k)


def _is_one(inputs: Any) -> bool:
    """Whether the inputs are one pattern: a path, a mapping, or numbers in one dimension."""
    if isinstance(inputs, str | Path | Mapping):
        return True
    if isinstance(inputs, np.ndarray | torch.Tensor):
        return inputs.ndim <= 1
    return isinstance(inputs, list | tuple) and bool(inputs) and isinstance(inputs[0], int | float | np.number)
