"""What people without the package do with a model's folder. Run as a script, in a process where it cannot be imported.

python strangers.py tune FOLDER OUT     fine-tune for other labels; save in every way, into folders below OUT
python strangers.py load FOLDER …       open each folder by its path alone and answer; prints one JSON object
"""

import json
import sys
from pathlib import Path


class Absent:
    """Hides an installed simxrd_hf."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "simxrd_hf":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Absent())

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments, pipeline  # noqa: E402

AXIS = np.arange(5, 90, 0.02)
PATTERN = 1 + 99 * np.exp(-0.5 * ((AXIS - 40) / 0.1) ** 2)


def tune(folder: str, out: Path) -> None:
    """Head swap, two steps of the Trainer, and the ways of saving."""
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=True, num_labels=3, ignore_mismatched_sizes=True
    )
    assert (model.config.temperature, model.config.conformal, model.dtype) == (1.0, None, torch.float32)
    pipe = pipeline("xrd-classification", model=folder, trust_remote_code=True)
    rows = [{"intensity": torch.rand(3501) * 100, "labels": index % 3} for index in range(4)]
    args = TrainingArguments(
        out / "trainer", max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True,
        save_strategy="no",
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=rows, processing_class=pipe.feature_extractor)
    trainer.train()
    trainer.save_model(out / "save_model")
    model.eval().save_pretrained(out / "model")
    pipe.model = model
    pipe.save_pretrained(out / "pipe")


def load(folders: list[str]) -> dict:
    """The most probable answer of each folder to one pattern, and what its pipeline makes of wavelengths and rows."""
    answers = {}
    for folder in folders:
        pipe = pipeline("xrd-classification", model=folder, trust_remote_code=True)
        with torch.inference_mode():
            answer = pipe({"two_theta": AXIS, "intensity": PATTERN, "wavelength": 1.5406}, top_k=None)
        assert pipeline(model=folder, trust_remote_code=True).feature_extractor.grid == pipe.model.config.grid
        first = next(name for name in ("space_group", "crystal_system", "classes") if name in answer)
        answers[folder] = {entry["label"]: entry["score"] for entry in answer[first]}
    return answers | {"wavelengths": wavelengths(pipe)}


def wavelengths(pipe) -> dict:
    """What a pattern of molybdenum radiation is answered with: by a file that names it, and without a word of it."""
    found = {}
    axis = np.arange(5, 40, 0.01)
    intensity = 1 + 99 * np.exp(-0.5 * ((axis - 20) / 0.05) ** 2)
    table = "\n".join(f"{x:.3f} {y:.3f}" for x, y in zip(axis, intensity, strict=True))
    for name, head in (("named", "# wavelength 0.7093 A\n"), ("silent", "")):
        path = Path(f"{name}.xy").resolve()
        path.write_text(head + table)
        try:
            found[name] = pipe(str(path))["input"]["wavelength"]
        except ValueError as error:
            found[name] = str(error)
    try:
        pipe({"two_theta": axis, "intensity": intensity})
    except ValueError as error:
        found["mapping"] = str(error)
    return found


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    if task == "tune":
        tune(arguments[0], Path(arguments[1]))
    else:
        print(json.dumps(load(arguments)))
    assert "simxrd_hf" not in sys.modules
