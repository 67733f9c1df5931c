"""Opens a checkpoint and classifies patterns without importing transformers, so that the command line starts fast."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.correction import Correction
from simxrd_hf.identify.measured_input import read_measured
from simxrd_hf.identify.model_folders import check_weights, read_config, read_json, resolve_folder
from simxrd_hf.models.answers_simxrd import answer_logits
from simxrd_hf.models.conversion_simxrd import Converter, prepare
from simxrd_hf.models.networks_simxrd_baseline import (
    PUBLISHED_SOFTMAXES,
    BaselineBody,
    published_probabilities,
    scale_intensity,
)
from simxrd_hf.models.networks_simxrd_former import SymmetryTree, body_from_config, classifier_width, is_hierarchical
from simxrd_hf.models.resampling_simxrd import DEFAULT_GRID, check_grid

if TYPE_CHECKING:
    from simxrd_hf.matching import Mixture

_CONFIG_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """The part of `config.json` that prediction needs, under the names the configuration classes use."""

    task: str
    full_grid: dict[str, float]
    id2label: dict[int, str]
    temperature: float
    conformal: dict[str, Any] | None
    returns_probabilities: bool
    use_composition: bool
    problem_type: str | None


class _Baseline(nn.Module):
    def __init__(self, config: Mapping[str, Any], num_labels: int, n_points: int):
        super().__init__()
        self.config = config
        self.body = BaselineBody(
            config["architecture"],
            n_points,
            seven_way=config["task"] == "crystal_system",
            corrected=config["variant"] == "corrected",
        )
        self.classifier = nn.Linear(self.body.width, num_labels)

    def forward(self, intensity: Tensor, mask: Tensor, composition: Tensor | None = None) -> Tensor:
        x = self.body(scale_intensity(intensity, mask, self.config["intensity_scaling"]))
        logits: Tensor = self.classifier(x)
        if self.config["variant"] == "as_published":
            logits = published_probabilities(logits, self.config["architecture"])
        return logits


class _Former(nn.Module):
    def __init__(self, config: Mapping[str, Any], num_labels: int, n_points: int):
        super().__init__()
        self.body = body_from_config(config, n_points)
        labels = config["task"], num_labels, config.get("problem_type")
        self.classifier = nn.Linear(config["hidden_size"], classifier_width(*labels))
        self.tree = SymmetryTree() if is_hierarchical(*labels) else None

    def forward(self, intensity: Tensor, mask: Tensor, composition: Tensor | None = None) -> Tensor:
        scores = self.classifier(self.body(intensity, mask, composition)[1])
        result: Tensor = scores if self.tree is None else self.tree(scores)[-1]
        return result


_NETWORKS: dict[str, type[nn.Module]] = {"simxrd_baseline": _Baseline, "simxrd_former": _Former}


class Predictor:
    """A checkpoint ready to classify patterns on the CPU.

    Gives the answers of `simxrd_hf.pipeline`. No code from the checkpoint is run. Threads may share one: nothing of it
    changes after it is made.

    Args:
        model: Checkpoint folder or Hub repository id.
        reader: Reads a path into a mapping with "intensity" and an axis.
        indexing: Let the cells that fit the lines of a pattern correct the answers, if the checkpoint says how
            (`evidence.json`).
        library: "packaged", a file of `simxrd library`, "hf://datasets/OWNER/NAME", or a `LineLibrary`: its crystals
            are compared with every pattern.
        elements: What the samples are made of, in any way `ElementFilter.parse` reads: other crystals are left out.
        phases: How many crystals explain a pattern together; by default as many as pay, 0 for no such search.
        prior: Correct for groups being less or more frequent among measured compounds than among the crystals of
            training; only with indexing.
        weigh: Does the cell search, as `simxrd_hf.indexing.extinction_log_likelihoods` does by default.

    Raises:
        BadInput: No such checkpoint, of another version or family, or cut off.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        reader: Callable[[str | Path], Mapping[str, Any]] = read_measured,
        indexing: bool = True,
        library: Any = None,
        prior: bool = True,
        elements: Any = None,
        phases: int | None = None,
        weigh: Callable[..., NDArray[Any]] | None = None,
    ) -> None:
        folder = resolve_folder(model)
        config = read_config(folder)
        model_type = config.get("model_type")
        if model_type not in _NETWORKS:
            raise BadInput(f"{folder}: model_type is {model_type!r}; this command reads {' and '.join(_NETWORKS)}")
        version = config.get("config_version", _CONFIG_VERSION)
        if version != _CONFIG_VERSION:
            raise BadInput(
                f"{folder}: config_version is {version}, this code reads version {_CONFIG_VERSION}: "
                "use the simxrd_hf release the checkpoint was written with, or a newer one"
            )
        weights: dict[str, Tensor] = {}
        for path in check_weights(folder):
            try:
                weights |= load_file(path)
            except SafetensorError as error:
                raise BadInput(f"{path}: damaged ({error}); copy or download it again") from error
        self.folder = folder
        self.reader = reader
        try:
            self.settings = _settings(config)
            n_points = check_grid(self.settings.full_grid)
            with torch.device("meta"):
                self.network = _NETWORKS[model_type](config, len(self.settings.id2label), n_points)
            state = {name.removeprefix("model."): tensor.float() for name, tensor in weights.items()}
            self.network.load_state_dict(state, assign=True)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise BadInput(f"{folder}: config.json and weights do not make a model: {error}") from error
        if isinstance(self.network, _Former) and self.network.tree is not None:
            self.network.tree = SymmetryTree()  # its tables are constants, not weights
        self.network.eval().requires_grad_(False)
        preprocessor = folder / "preprocessor_config.json"
        settings = read_json(preprocessor) if preprocessor.exists() else {}
        known = {name: settings[name] for name in ("negative", "max_gap", "min_overlap") if name in settings}
        try:
            self.converter = Converter(settings.get("grid", self.settings.full_grid), **known)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{preprocessor}: {error}; copy or download it again") from error
        self.correction = Correction(
            folder, indexing=indexing, library=library, prior=prior, elements=elements, phases=phases, weigh=weigh
        )
        self.settings = replace(self.settings, conformal=self.correction.conformal(self.settings.conformal))

    def prepare(self, item: Any, *, wavelength: float | None = None, negative: str | None = None) -> dict[str, Any]:
        """One input in any form → the arrays the network reads; see `conversion_simxrd.prepare`."""
        return prepare(
            item,
            self.converter,
            self.reader,
            wavelength=wavelength,
            negative=negative,
            use_composition=self.settings.use_composition,
        )

    @torch.inference_mode()
    def logits(self, prepared: Mapping[str, Any]) -> Tensor:
        """Arrays from `prepare` → logits of the network (patterns, classes), float32."""
        names = ("intensity", "mask", "composition")
        result: Tensor = self.network(**{name: torch.from_numpy(prepared[name]) for name in names if name in prepared})
        return result

    def scores(self, prepared: Mapping[str, Any]) -> NDArray[Any]:
        """Arrays from `prepare` → logits (patterns, classes) of the answer: the network's, corrected."""
        return self.answer(prepared)[0]

    def answer(self, prepared: Mapping[str, Any], **about: Any) -> tuple[NDArray[Any], dict[str, Any]]:
        """Arrays from `prepare` → corrected logits, and what the answer says beside them; see `Correction`."""
        logits = self.logits(prepared).numpy()
        if not self.correction.active:
            return logits, {}
        return self.correction(logits, prepared, self.converter.grid, self.settings.temperature, **about)

    def mixture(self, item: Any, *, wavelength: float | None = None, negative: str | None = None) -> "Mixture | None":
        """Crystals of the library that together make one input; None without a library. Arguments as for calls."""
        return self.correction.mixture(
            self.prepare(item, wavelength=wavelength, negative=negative), self.converter.grid
        )

    def __call__(
        self,
        items: Sequence[Any],
        *,
        top_k: int | None = 5,
        wavelength: float | None = None,
        negative: str | None = None,
        elements: Any = None,
        phases: int | None = None,
    ) -> list[dict[str, Any]]:
        """Classify inputs one after the other.

        Args:
            items: Paths, arrays on the grid, or mappings, as for the pipeline.
            top_k: Answers per list.
            wavelength: Å, for 2θ axes that come without one.
            negative: "error" or "clip".
            elements: What these samples are made of, instead of what was said when the predictor was opened.
            phases: How many crystals explain these, instead of what was said then.

        Returns:
            One answer per input, as the pipeline gives.

        Raises:
            ValueError: An input cannot be used.
        """
        answers = []
        for item in items:
            prepared = self.prepare(item, wavelength=wavelength, negative=negative)
            logits, more = self.answer(prepared, elements=elements, phases=phases)
            answers.append(answer_logits(logits, prepared["info"], self.settings, top_k) | more)
        return answers


def _settings(config: Mapping[str, Any]) -> Settings:
    return Settings(
        task=config["task"],
        full_grid={**DEFAULT_GRID, **(config.get("grid") or {})},
        id2label={int(index): name for index, name in config["id2label"].items()},
        temperature=float(config.get("temperature", 1.0)),
        conformal=config.get("conformal"),
        returns_probabilities=config.get("variant") == "as_published"
        and config.get("architecture") in PUBLISHED_SOFTMAXES,
        use_composition=bool(config.get("use_composition", False)),
        problem_type=config.get("problem_type"),
    )
