"""Makes the SimXRD model types and their task known to transformers, as soon as it loads what must know them.

`import simxrd_hf` calls `watch`, which costs next to nothing: transformers is not imported. From then on a finder in
front of Python's own sees its modules load, and ours are registered when those are there; or at once, if they are.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_AUTO = "transformers.models.auto"
_OURS = "simxrd_hf.models."


def _configurations() -> None:
    from transformers.models.auto.configuration_auto import AutoConfig

    from simxrd_hf.models.configuration_simxrd_baseline import SimXRDBaselineConfig
    from simxrd_hf.models.configuration_simxrd_common import SimXRDConfig
    from simxrd_hf.models.configuration_simxrd_former import SimXRDFormerConfig

    SimXRDConfig._task_is_installed = True
    for config in (SimXRDBaselineConfig, SimXRDFormerConfig):
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _models() -> None:
    from transformers.models.auto.modeling_auto import AutoModel, AutoModelForSequenceClassification

    from simxrd_hf.models.modeling_simxrd_baseline import SimXRDBaselineForSequenceClassification, SimXRDBaselineModel
    from simxrd_hf.models.modeling_simxrd_former import SimXRDFormerForSequenceClassification, SimXRDFormerModel

    for model in (SimXRDBaselineModel, SimXRDFormerModel):
        AutoModel.register(model.config_class, model, exist_ok=True)
    for model in (SimXRDBaselineForSequenceClassification, SimXRDFormerForSequenceClassification):
        AutoModelForSequenceClassification.register(model.config_class, model, exist_ok=True)


def _extractors() -> None:
    from transformers.models.auto.feature_extraction_auto import AutoFeatureExtractor

    from simxrd_hf.models.configuration_simxrd_baseline import SimXRDBaselineConfig
    from simxrd_hf.models.configuration_simxrd_former import SimXRDFormerConfig
    from simxrd_hf.models.feature_extraction_simxrd import SimXRDFeatureExtractor

    for config in (SimXRDBaselineConfig, SimXRDFormerConfig):
        AutoFeatureExtractor.register(config, SimXRDFeatureExtractor, exist_ok=True)


def _task() -> None:
    from transformers.models.auto.modeling_auto import AutoModelForSequenceClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    from simxrd_hf.models.pipeline_simxrd import XRDClassificationPipeline
    from simxrd_hf.models.saving_simxrd import TASK

    PIPELINE_REGISTRY.register_pipeline(
        TASK, pipeline_class=XRDClassificationPipeline, pt_model=AutoModelForSequenceClassification, type="multimodal"
    )


# What registers -> modules of transformers that must be there first.
_waiting: dict[Callable[[], None], tuple[str, ...]] = {
    _configurations: (f"{_AUTO}.configuration_auto",),
    _models: (f"{_AUTO}.configuration_auto", f"{_AUTO}.modeling_auto"),
    _extractors: (f"{_AUTO}.configuration_auto", f"{_AUTO}.feature_extraction_auto"),
    _task: (f"{_AUTO}.modeling_auto", "transformers.pipelines"),
}
_WATCHED = {name for names in _waiting.values() for name in names}
_loading: set[str] = set()  # modules of ours that are being imported
_loaded: set[str] = set()  # modules of transformers that were
_busy = threading.Lock()


def _register() -> None:
    """Register what can be registered now; while a module of ours is half imported, it waits for its end."""
    if _loading or not _busy.acquire(blocking=False):  # what registers imports our modules, which leads here again
        return
    try:
        while ready := [action for action, needed in _waiting.items() if all(map(_is_loaded, needed))]:
            del _waiting[ready[0]]
            ready[0]()
    except Exception as error:  # whoever imports transformers must not stumble over us
        warnings.warn(f"simxrd_hf could not make its models known to transformers: {error}", stacklevel=2)
    finally:
        _busy.release()


def _is_loaded(name: str) -> bool:
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return name in _loaded or (spec is not None and not getattr(spec, "_initializing", False))


class _Finder(MetaPathFinder):
    """Finds nothing itself: lets Python's own finder do so, and has `_register` called when the module is there."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = fullname.startswith(_OURS) and "_simxrd" in fullname.rpartition(".")[2]
        if not ours and fullname not in _WATCHED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            if ours:
                _loading.add(fullname)
            try:
                execute(module)
            finally:
                _loading.discard(fullname)
            if not ours:
                _loaded.add(fullname)
            _register()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def watch() -> None:
    """Register now what transformers has loaded already, and the rest when it loads."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    if "transformers" in sys.modules:
        _register()
