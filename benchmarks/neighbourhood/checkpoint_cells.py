"""The packaged checkpoint through the libraries a model meets: loading, compiling, exporting, quantising, adapting."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Care, Cell, demand, folder_of

BATCH = 64


class Checkpoint:
    """The packaged model in float32, exported as a user's repository, and its logits of simulated patterns.

    Args:
        scratch: Folder to write in.
    """

    def __init__(self, scratch: Path):
        self.folder = folder_of(scratch, "checkpoint")

    @cached_property
    def repository(self) -> Path:
        """An exported folder, as one publishes it."""
        import torch

        import simxrd_hf.models
        from simxrd_hf.models import export_model

        source = Path(simxrd_hf.models.__file__).parent / "default"
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(source, dtype=torch.float32)
        return export_model(model, None, self.folder / "exported")

    def load(self, **options: Any) -> Any:
        """The model by its Auto class with its own code, ready to answer."""
        import torch
        from transformers import AutoModelForSequenceClassification

        options.setdefault("dtype", torch.float32)
        return AutoModelForSequenceClassification.from_pretrained(
            self.repository, trust_remote_code=True, **options
        ).eval()

    @cached_property
    def patterns(self) -> Any:
        """Intensities, float32 (BATCH, 3501)."""
        import torch

        from .parquet import patterns

        return torch.from_numpy(patterns(4 * BATCH)[::4].copy())

    @cached_property
    def right(self) -> np.ndarray:
        """Logits in float32."""
        return self.logits(self.load())

    def logits(self, model: Any, patterns: Any = None) -> np.ndarray:
        """Logits of a model, float32."""
        import torch

        with torch.no_grad():
            answer = model(self.patterns if patterns is None else patterns)
        return np.asarray((answer.logits if hasattr(answer, "logits") else answer).float())

    def judge(self, found: np.ndarray, *, kept: float = 1.0, close: float | None = None, said: str = "") -> str:
        """Words for logits against the right ones."""
        demand(bool(np.isfinite(found).all()), "logits that are not finite")
        same = float((found.argmax(1) == self.right.argmax(1)).mean())
        apart = float(np.abs(found - self.right).max())
        words = f"{said}{same:.0%} of {len(found)} answers kept, logits within {apart:.1g}"
        demand(same >= kept and (close is None or apart <= close), words)
        return words


def auto_class(it: Checkpoint) -> str:
    code = (
        "import sys, torch, numpy\n"
        "from transformers import AutoModelForSequenceClassification as A\n"
        "assert 'simxrd_hf' not in sys.modules\n"
        "m = A.from_pretrained(sys.argv[1], trust_remote_code=True, dtype=torch.float32).eval()\n"
        "x = torch.from_numpy(numpy.load(sys.argv[2]))\n"
        "with torch.no_grad(): numpy.save(sys.argv[3], m(x).logits.numpy())\n"
        "assert 'simxrd_hf' not in sys.modules\n"
    )
    given, made = it.folder / "x.npy", it.folder / "y.npy"
    np.save(given, it.patterns.numpy())
    done = subprocess.run(
        [sys.executable, "-c", code, str(it.repository), str(given), str(made)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return it.judge(np.load(made), close=1e-4, said="in a process without this package, ")


def default_dtype(it: Checkpoint) -> str:
    from transformers import AutoModelForSequenceClassification

    import simxrd_hf.models

    default = Path(simxrd_hf.models.__file__).parent / "default"
    packaged = AutoModelForSequenceClassification.from_pretrained(default).dtype
    exported = AutoModelForSequenceClassification.from_pretrained(it.repository, trust_remote_code=True).dtype
    words = f"packaged {str(packaged).removeprefix('torch.')}, exported {str(exported).removeprefix('torch.')}"
    if "float32" not in str(packaged):
        raise Care(f"{words}: a fine-tuning recipe that names no dtype trains in half precision")
    return words


def lower_precision(it: Checkpoint, kind: str, kept: float) -> str:
    import torch

    model = it.load(dtype=getattr(torch, kind))
    return it.judge(it.logits(model, it.patterns.to(model.dtype)), kept=kept)


def lower_precision_float_input(it: Checkpoint, kind: str, kept: float) -> str:
    import torch

    return it.judge(it.logits(it.load(dtype=getattr(torch, kind))), kept=kept, said="float32 patterns given, ")


def autocast(it: Checkpoint) -> str:
    import torch

    model = it.load()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = it.logits(model)
    return it.judge(found, kept=0.9)


def round_trip_half(it: Checkpoint, kind: str) -> str:
    import torch

    folder = it.folder / f"saved-{kind}"
    it.load(dtype=getattr(torch, kind)).save_pretrained(folder)
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True, dtype=torch.float32)
    return it.judge(it.logits(model.eval()), kept=0.9, said="saved, read as float32, ")


def compiled(it: Checkpoint, **options: Any) -> str:
    import torch

    torch._dynamo.reset()
    model = it.load()
    fast = torch.compile(model, **options)
    start = time.perf_counter()
    found = it.logits(fast)
    seconds = time.perf_counter() - start
    graphs = torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    torch._dynamo.utils.counters.clear()
    for rows in (7, 1):
        it.logits(fast, it.patterns[:rows])
    again = torch._dynamo.utils.counters["stats"].get("unique_graphs", 0)
    said = f"{graphs} graph, {breaks} breaks, {seconds:.0f} s; {again} more graphs for batches of 7 and 1; "
    return it.judge(found, close=1e-3, said=said)


def compiled_bf16(it: Checkpoint) -> str:
    import torch

    torch._dynamo.reset()
    fast = torch.compile(it.load(dtype=torch.bfloat16))
    return it.judge(it.logits(fast, it.patterns.bfloat16()), kept=0.9)


class _Plain:
    """Makes a module of two tensors to one, as exporters want it."""

    def __new__(cls, model: Any) -> Any:
        import torch

        class Plain(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model = model

            def forward(self, intensity: Any, mask: Any) -> Any:
                return self.model(intensity, mask=mask).logits

        return Plain().eval()


def _mask(patterns: Any) -> Any:
    import torch

    return torch.ones_like(patterns, dtype=torch.bool)


def exported(it: Checkpoint) -> str:
    program = _program(it)
    found = np.asarray(program.module()(it.patterns, _mask(it.patterns)).detach())
    one = np.asarray(program.module()(it.patterns[:1], _mask(it.patterns[:1])).detach())
    demand(float(np.abs(one - it.right[:1]).max()) < 1e-3, "one pattern is answered otherwise than 64")
    return it.judge(found, close=1e-3, said="batch free (64 and 1), ")


def _program(it: Checkpoint) -> Any:
    import torch

    batch = torch.export.Dim("batch", min=1, max=4096)
    shapes = {"intensity": {0: batch}, "mask": {0: batch}}
    sample = (it.patterns[:4], _mask(it.patterns[:4]))
    return torch.export.export(_Plain(it.load()), sample, dynamic_shapes=shapes)


def exported_saved(it: Checkpoint) -> str:
    import torch

    path = it.folder / "program.pt2"
    torch.export.save(_program(it), path)
    code = (
        "import sys, torch, numpy\n"
        "p = torch.export.load(sys.argv[1]).module()\n"
        "x = torch.from_numpy(numpy.load(sys.argv[2]))\n"
        "numpy.save(sys.argv[3], p(x, torch.ones_like(x, dtype=torch.bool)).detach().numpy())\n"
    )
    given, made = it.folder / "x.npy", it.folder / "z.npy"
    np.save(given, it.patterns.numpy())
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(given), str(made)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return it.judge(
        np.load(made), close=1e-3, said=f"{path.stat().st_size / 1e6:.0f} MB, in a process without model code, "
    )


def ahead_of_time(it: Checkpoint) -> str:
    import torch

    start = time.perf_counter()
    with torch.no_grad():
        package = torch._inductor.aoti_compile_and_package(_program(it), package_path=str(it.folder / "aoti.pt2"))
        seconds = time.perf_counter() - start
        run = torch._inductor.aoti_load_package(package)
        found = run(it.patterns, _mask(it.patterns))
    found = np.asarray(found[0] if isinstance(found, list | tuple) else found)
    return it.judge(found, close=1e-3, said=f"compiled in {seconds:.0f} s, ")


def traced(it: Checkpoint) -> str:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.trace(_Plain(it.load()), (it.patterns[:4], _mask(it.patterns[:4])), check_trace=False)
    return it.judge(
        np.asarray(made(it.patterns, _mask(it.patterns)).detach()), close=1e-3, said="traced at 4, run at 64, "
    )


# -- ONNX --------------------------------------------------------------------------------------------------------------


def _onnx(it: Checkpoint) -> Path:
    from simxrd_hf.models.onnx import export_onnx

    path = it.folder / "model.onnx"
    if not path.exists():
        export_onnx(it.load(), path)
    return path


def _onnx_logits(path: Path, patterns: np.ndarray, kind: Any = np.float32) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {"intensity": patterns.astype(kind), "mask": np.ones(patterns.shape, bool)}
    return np.asarray(session.run(None, inputs)[0], np.float32)


def onnx_run(it: Checkpoint) -> str:
    path = _onnx(it)
    found = _onnx_logits(path, it.patterns.numpy())
    one = _onnx_logits(path, it.patterns[:1].numpy())
    demand(float(np.abs(one - it.right[:1]).max()) < 1e-3, "one pattern is answered otherwise than 64")
    return it.judge(found, close=1e-3, said=f"{path.stat().st_size / 1e6:.0f} MB, batches of 64 and 1, ")


def onnx_check(it: Checkpoint) -> str:
    import onnx

    model = onnx.load(_onnx(it))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    opset = {o.domain or "ai.onnx": o.version for o in inferred.opset_import}
    return f"checker and strict shape inference pass, {len(model.graph.node)} nodes, opset {opset}"


def onnx_reference(it: Checkpoint) -> str:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(_onnx(it)))
    few = it.patterns[:2].numpy()
    found = session.run(None, {"intensity": few, "mask": np.ones(few.shape, bool)})[0]
    apart = float(np.abs(found - it.right[:2]).max())
    demand(apart < 1e-3, f"logits off by {apart:.1g}")
    return f"onnx.reference (numpy) within {apart:.1g}"


def onnx_dynamic(it: Checkpoint, kept: float) -> str:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    source, path = _onnx(it), it.folder / "dynamic.onnx"
    quantize_dynamic(str(_prepared(it, source)), str(path), weight_type=QuantType.QInt8)
    ratio = path.stat().st_size / source.stat().st_size
    return it.judge(_onnx_logits(path, it.patterns.numpy()), kept=kept, said=f"file {ratio:.2f} of float32, ")


def _prepared(it: Checkpoint, source: Path) -> Path:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = it.folder / "prepared.onnx"
    if not path.exists():
        quant_pre_process(str(source), str(path), skip_symbolic_shape=True)
    return path


def onnx_static(it: Checkpoint, method: str, kept: float, per_channel: bool = True) -> str:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, quantize_static

    from .parquet import patterns

    chosen = patterns(480)[1::8]  # other conditions than those judged

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(
                {"intensity": row[None].astype(np.float32), "mask": np.ones((1, len(row)), bool)} for row in chosen
            )

        def get_next(self) -> Any:
            return next(self.rows, None)

    path = it.folder / f"static-{method}.onnx"
    quantize_static(
        str(_prepared(it, _onnx(it))),
        str(path),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=per_channel,
        calibrate_method=getattr(CalibrationMethod, method),
    )
    return it.judge(_onnx_logits(path, it.patterns.numpy()), kept=kept, said=f"{len(chosen)} patterns to calibrate, ")


def onnx_half(it: Checkpoint) -> str:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    path = it.folder / "half.onnx"
    onnx.save(convert_float_to_float16(onnx.load(_onnx(it)), keep_io_types=True), path)
    ratio = path.stat().st_size / _onnx(it).stat().st_size
    return it.judge(_onnx_logits(path, it.patterns.numpy()), kept=0.9, said=f"file {ratio:.2f} of float32, ")


# -- quantisers of weights ---------------------------------------------------------------------------------------------


def torch_dynamic(it: Checkpoint) -> str:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(it.load(), {torch.nn.Linear}, dtype=torch.qint8)
    return it.judge(it.logits(model), kept=0.9)


def torchao_weights(it: Checkpoint, config: str, kept: float, **options: Any) -> str:
    import torchao.quantization as quantization

    model = it.load()
    quantization.quantize_(model, getattr(quantization, config)(**options))
    return it.judge(it.logits(model), kept=kept)


def torchao_transformers(it: Checkpoint) -> str:
    import torchao.quantization as quantization
    from transformers import TorchAoConfig

    model = it.load(quantization_config=TorchAoConfig(quantization.Int8WeightOnlyConfig()))
    folder = it.folder / "torchao"
    model.save_pretrained(folder)
    found = it.judge(it.logits(model), kept=0.9)
    size = sum(p.stat().st_size for p in folder.glob("*.safetensors")) / 1e6
    return f"{found}; saved in {size:.0f} MB"


def quanto(it: Checkpoint) -> str:
    from optimum.quanto import freeze, qint8, quantize

    model = it.load()
    quantize(model, weights=qint8)
    freeze(model)
    return it.judge(it.logits(model), kept=0.9)


def bits_and_bytes(it: Checkpoint) -> str:
    from transformers import BitsAndBytesConfig

    model = it.load(quantization_config=BitsAndBytesConfig(load_in_8bit=True), device_map="cpu")
    return it.judge(it.logits(model), kept=0.9)


# -- adapters and loaders ----------------------------------------------------------------------------------------------


def _adapter(it: Checkpoint, **options: Any) -> Any:
    import peft
    import torch

    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, **options)
    return peft.get_peft_model(it.load(), config).eval()


def lora(it: Checkpoint) -> str:
    import peft

    model = _adapter(it)
    before = it.logits(model)
    folder = it.folder / "lora"
    model.save_pretrained(folder)
    again = peft.PeftModel.from_pretrained(it.load(), folder).eval()
    apart = float(np.abs(it.logits(again) - before).max())
    demand(apart < 1e-3, f"reloaded adapter differs by {apart:.1g}")
    merged = again.merge_and_unload()
    apart = max(apart, float(np.abs(it.logits(merged) - before).max()))
    demand(apart < 1e-2, f"merged weights differ by {apart:.1g}")
    demand(float(np.abs(before - it.right).max()) > 1e-2, "the adapter changes nothing")
    share = model.get_nb_trainable_parameters()
    return f"saved, reloaded, merged within {apart:.0e}; {share[0]:,} of {share[1]:,} parameters train"


def lora_task(it: Checkpoint) -> str:
    import torch

    model = _adapter(it, task_type="SEQ_CLS")
    with torch.no_grad():
        try:
            answer = model(intensity=it.patterns[:4]).logits
        except TypeError as error:
            raise Care(f"its forward hands on input_ids: {error}") from None
    return f"answers of shape {tuple(answer.shape)} by keyword"


def lora_auto(it: Checkpoint) -> str:
    import peft

    folder = it.folder / "lora"
    if not folder.exists():
        lora(it)
    model = peft.AutoPeftModel.from_pretrained(folder, trust_remote_code=True)
    demand(it.logits(model.eval()).shape == it.right.shape, "logits of another shape")
    return "found its base model and its code by the adapter's folder alone"


def lora_head(it: Checkpoint) -> str:
    """A new head of 3 classes beside an adapter, as one fine-tunes to own labels."""
    import peft
    import torch

    model = it.load(num_labels=3, ignore_mismatched_sizes=True)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules="all-linear"))
    loss = wrapped(it.patterns[:4], labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    demand(bool(torch.isfinite(loss)), f"loss {loss}")
    trained = [n for n, p in wrapped.named_parameters() if p.requires_grad and "lora_" not in n]
    if not trained:
        raise Care(f"loss {float(loss.detach()):.2f}, but the new head stays at its random start: name it to PEFT")
    return f"loss {float(loss.detach()):.2f}; trained beside the adapter: {trained[:2]}"


def accelerate_dispatch(it: Checkpoint) -> str:
    import torch
    from accelerate import init_empty_weights, load_checkpoint_and_dispatch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(it.repository, trust_remote_code=True)
    with init_empty_weights():
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True, dtype=torch.float32)
    loaded = load_checkpoint_and_dispatch(model, str(it.repository / "model.safetensors"), device_map={"": "cpu"})
    return it.judge(it.logits(loaded.eval()), close=1e-3)


def safetensors_numpy(it: Checkpoint) -> str:
    from safetensors.numpy import load_file

    found = load_file(it.repository / "model.safetensors")
    kinds = {str(v.dtype) for v in found.values()}
    names = set(it.load().state_dict())
    demand(set(found) <= names, f"{len(set(found) - names)} names are not the model's")
    return f"{len(found)} arrays of {', '.join(sorted(kinds))}, {sum(v.size for v in found.values()):,} numbers"


def copied(it: Checkpoint) -> str:
    return it.judge(it.logits(copy.deepcopy(it.load())), close=1e-4)


def flops(it: Checkpoint) -> str:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        it.logits(it.load(), it.patterns[:1])
    return f"{counter.get_total_flops() / 1e6:.1f} MFLOP a pattern"


def sequence_pipeline(it: Checkpoint) -> str:
    from transformers import pipeline

    from simxrd_hf.diffraction import PatternGrid

    grid = PatternGrid()
    ask = pipeline("xrd-classification", model=str(it.repository), trust_remote_code=True)
    given = {"two_theta": grid.two_theta, "intensity": it.patterns[0].numpy(), "wavelength": grid.wavelength}
    answer = ask(given)
    answer = answer if isinstance(answer, dict) else {"answers": answer}
    text = json.dumps(answer, default=str)
    demand(len(text) > 50, f"answer {text}")
    return f"answers with {sorted(answer)[:6]}"


def timm_hub(it: Checkpoint) -> str:
    import timm

    model = timm.create_model(f"local-dir:{it.repository}")
    return f"{type(model).__name__}"


def skops_card(it: Checkpoint) -> str:
    from skops.card import parse_modelcard

    card = parse_modelcard(it.repository / "README.md")
    again = card.render()
    demand("trust_remote_code" in again, "the text is changed")
    kept = again.strip() == (it.repository / "README.md").read_text().strip()
    if not kept:
        raise Care("parsed; rendered again it differs (blank lines, order of metadata)")
    return "parsed and rendered again, equal"


def hub_card(it: Checkpoint) -> str:
    from huggingface_hub import ModelCard

    card = ModelCard.load(it.repository / "README.md")
    return f"library {card.data.library_name}, license {card.data.license}, {len(card.data.tags)} tags"


def cells(scratch: Path) -> list[Cell]:
    """Every way of loading, compiling, exporting, quantising and adapting."""
    it = Checkpoint(scratch)
    rows: list[tuple[str, str, str, Callable[..., str], str]] = [
        ("exported checkpoint", "transformers", "Auto class with its own code", auto_class, ""),
        (
            "exported checkpoint",
            "transformers",
            "dtype that from_pretrained takes",
            default_dtype,
            "`dtype=torch.float32`",
        ),
        ("exported checkpoint", "transformers", "pipeline xrd-classification", sequence_pipeline, ""),
        (
            "float16 checkpoint",
            "transformers",
            "dtype=float16, float16 patterns",
            partial(lower_precision, kind="float16", kept=0.97),
            "float32",
        ),
        (
            "float16 checkpoint",
            "transformers",
            "dtype=float16, float32 patterns",
            partial(lower_precision_float_input, kind="float16", kept=0.97),
            "`.to(model.dtype)`",
        ),
        (
            "float16 checkpoint",
            "transformers",
            "saved and read as float32",
            partial(round_trip_half, kind="float16"),
            "",
        ),
        (
            "bfloat16 checkpoint",
            "transformers",
            "dtype=bfloat16, bfloat16 patterns",
            partial(lower_precision, kind="bfloat16", kept=0.9),
            "autocast, or float32",
        ),
        (
            "bfloat16 checkpoint",
            "transformers",
            "dtype=bfloat16, float32 patterns",
            partial(lower_precision_float_input, kind="bfloat16", kept=0.9),
            "`.to(model.dtype)`",
        ),
        (
            "bfloat16 checkpoint",
            "transformers",
            "saved and read as float32",
            partial(round_trip_half, kind="bfloat16"),
            "float16 or float32",
        ),
        ("exported checkpoint", "torch", "autocast to bfloat16", autocast, "float32"),
        ("exported checkpoint", "torch", "torch.compile", compiled, ""),
        ("exported checkpoint", "torch", "torch.compile(dynamic=True)", partial(compiled, dynamic=True), ""),
        ("bfloat16 checkpoint", "torch", "torch.compile", compiled_bf16, ""),
        ("exported checkpoint", "torch", "torch.export, free batch", exported, ""),
        ("exported checkpoint", "torch", "torch.export saved, read elsewhere", exported_saved, ""),
        ("exported checkpoint", "torch", "AOTInductor package", ahead_of_time, ""),
        ("exported checkpoint", "torch", "torch.jit.trace (deprecated)", traced, "torch.export"),
        ("exported checkpoint", "torch", "copy.deepcopy", copied, ""),
        ("exported checkpoint", "torch", "FlopCounterMode", flops, ""),
        ("ONNX", "onnxruntime", "run", onnx_run, ""),
        ("ONNX", "onnx", "checker, shape inference", onnx_check, ""),
        ("ONNX", "onnx", "reference evaluator", onnx_reference, "onnxruntime"),
        ("ONNX", "onnxruntime", "quantize_dynamic, int8", partial(onnx_dynamic, kept=0.9), "float16"),
        (
            "ONNX",
            "onnxruntime",
            "quantize_static QDQ int8, MinMax",
            partial(onnx_static, method="MinMax", kept=0.9),
            "quantize_dynamic or float16",
        ),
        (
            "ONNX",
            "onnxruntime",
            "quantize_static QDQ int8, Percentile",
            partial(onnx_static, method="Percentile", kept=0.9),
            "quantize_dynamic or float16",
        ),
        ("ONNX", "onnxruntime", "convert_float_to_float16", onnx_half, ""),
        ("exported checkpoint", "torch", "torch.ao quantize_dynamic of Linear", torch_dynamic, "torchao"),
        (
            "exported checkpoint",
            "torchao",
            "Int8WeightOnlyConfig",
            partial(torchao_weights, config="Int8WeightOnlyConfig", kept=0.9),
            "",
        ),
        (
            "exported checkpoint",
            "torchao",
            "Int8DynamicActivationInt8WeightConfig",
            partial(torchao_weights, config="Int8DynamicActivationInt8WeightConfig", kept=0.9),
            "Int8WeightOnlyConfig",
        ),
        (
            "exported checkpoint",
            "torchao",
            "Int4WeightOnlyConfig",
            partial(torchao_weights, config="Int4WeightOnlyConfig", kept=0.8),
            "Int8WeightOnlyConfig",
        ),
        ("exported checkpoint", "torchao+transformers", "TorchAoConfig, saved", torchao_transformers, ""),
        ("exported checkpoint", "optimum-quanto", "quantize(weights=qint8)", quanto, "torchao"),
        ("exported checkpoint", "bitsandbytes", "load_in_8bit on a CPU", bits_and_bytes, "torchao"),
        ("fine-tuned checkpoint", "peft", "LoRA: train, save, reload, merge", lora, ""),
        ("fine-tuned checkpoint", "peft", "LoRA with task_type SEQ_CLS", lora_task, "no task_type"),
        (
            "fine-tuned checkpoint",
            "peft",
            "AutoPeftModel from the adapter alone",
            lora_auto,
            "its `import_allowlist`, or PeftModel on a loaded model",
        ),
        (
            "fine-tuned checkpoint",
            "peft",
            "LoRA with a new head of 3 classes",
            lora_head,
            "`modules_to_save=[…]` with the name of the head",
        ),
        ("exported checkpoint", "accelerate", "init_empty_weights, dispatch", accelerate_dispatch, ""),
        ("exported checkpoint", "safetensors", "numpy", safetensors_numpy, ""),
        (
            "exported checkpoint",
            "timm",
            "create_model('local-dir:…')",
            timm_hub,
            "transformers; timm reads its own architectures alone",
        ),
        ("exported checkpoint", "skops", "parse_modelcard", skops_card, ""),
        ("exported checkpoint", "huggingface_hub", "ModelCard.load", hub_card, ""),
    ]
    return [
        Cell(artefact, library, operation, partial(check, it), instead)
        for artefact, library, operation, check, instead in rows
    ]
