"""Opens the "xrd-classification" pipeline for a checkpoint, with the package's own code and file readers."""

from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_folders import DEFAULT_MODEL, check_weights, read_config, resolve_folder


def pipeline(
    model: Any = DEFAULT_MODEL,
    *,
    indexing: bool = True,
    library: Any = None,
    elements: Any = None,
    phases: int | None = None,
    **kwargs: Any,
) -> Any:
    """The "xrd-classification" pipeline of a model.

    Like `transformers.pipeline`, but no code from the checkpoint is run: the installed package's classes are used.
    Threads may share one.

    Args:
        model: Checkpoint folder, Hub repository id, or a loaded model (then pass `feature_extractor` too, unless the
            default for the model's grid will do). By default the checkpoint that comes with the package.
        indexing: Let the cells that fit the lines of a pattern correct the answers, if the checkpoint says how
            (`evidence.json`).
        library: "packaged", a file of `simxrd library`, "hf://datasets/OWNER/NAME", or a `LineLibrary`: its crystals
            are compared with every pattern; the answers list them under "matches", and are corrected by them where the
            library is large; crystals that explain a pattern together stand under "phases".
        elements: What the samples are made of ("Ti,Zn,O"; see `ElementFilter.parse`): other crystals are left out. A
            call may say so of its own sample: `identify("scan.xy", elements="Ti,Zn,O", phases=2)`.
        phases: How many crystals explain a pattern together; by default as many as pay, 0 for no such search.
        **kwargs: For `transformers.pipeline` (`device`, `dtype`, `batch_size` …) or the pipeline (`top_k`,
            `wavelength`, `negative`).

    Returns:
        An `XRDClassificationPipeline`.

    Raises:
        BadInput: No such checkpoint, or one that is cut off.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import pipeline as transformers_pipeline

    from simxrd_hf.identify.correction import Correction
    from simxrd_hf.identify.measured_input import read_measured
    from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor
    from simxrd_hf.models.pipeline_simxrd import XRDClassificationPipeline

    correction = None
    if isinstance(model, str | Path):
        folder = resolve_folder(model)
        read_config(folder)
        check_weights(folder)
        correction = Correction(folder, indexing=indexing, library=library, elements=elements, phases=phases)
        model = str(folder)
        if not (folder / "preprocessor_config.json").exists():
            from transformers import AutoConfig

            kwargs.setdefault("feature_extractor", SimXRDFeatureExtractor(AutoConfig.from_pretrained(model).grid))
    else:
        if library is not None:
            raise BadInput("library: goes with a checkpoint folder or repository, not with a loaded model")
        kwargs.setdefault("feature_extractor", SimXRDFeatureExtractor(model.config.grid))
    try:
        made = transformers_pipeline(
            "xrd-classification", model=model, pipeline_class=XRDClassificationPipeline, **kwargs
        )
    except StrictDataclassError as error:  # a field of another type or version
        raise BadInput(f"{model}: config.json: {error}") from error
    made.reader = read_measured  # instrument files, which the reader that travels with a checkpoint does not know
    if correction is not None and correction.active:
        config = made.model.config
        config.conformal = correction.conformal(config.conformal)

        def correct(logits: Any, prepared: Any, **about: Any) -> Any:
            if about and correction.library is None:
                raise BadInput(f"{' and '.join(about)}: open the pipeline with a library first (library='packaged')")
            return correction(logits, prepared, made.feature_extractor.grid, config.temperature, **about)

        made.correct = correct
    return made
