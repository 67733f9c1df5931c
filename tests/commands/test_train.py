"""`simxrd train`, `evaluate` and `benchmark` on simulated patterns of a few crystals, as a user runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from simxrd_hf.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a dataset of 14 crystals and a run of cnn5 on it."""
    import torch

    from simxrd_hf.crystals import prototypes
    from simxrd_hf.data import generate

    folder = tmp_path_factory.mktemp("commands")
    table = prototypes().table
    systems = [i for i in range(len(table)) if len(table["atomic_numbers"][i]) <= 12][:14]
    generate(table.take(systems), folder / "simxrd_data", conditions=[0, 1, 2, 3, 30, 31], progress=False)
    (folder / "config.yaml").write_text(
        yaml.safe_dump(
            {"model": "cnn5", "data": str(folder / "simxrd_data"), "epochs": 2, "batch_size": 16, "progress": False}
        )
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert main(["train", str(folder / "config.yaml"), "--output", str(folder / "run"), "--cpu"]) == 0
    yield folder
    torch.set_num_threads(threads)


def test_train_again_prints_the_result(place, capsys):
    assert main(["train", str(place / "config.yaml"), "--output", str(place / "run"), "--json", "--cpu"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["steps"] == 7 and summary["about"]["train_rows"] == 56
    card = yaml.safe_load((place / "run" / "config.yaml").read_text())
    assert card["network"] == {"model": "cnn5"} and card["batches"]["batch_size"] == 16


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--learning-rate", "0"], "learning_rate: must be above 0"),
        (["--model", "cnn99"], "no model 'cnn99'"),
        (["--data", "nowhere"], "no such dataset folder"),
        (["--learning-rate", "0.5"], "another config (learning_rate: 0.001 there, 0.5 here)"),
    ],
)
def test_train_refuses(place, capsys, flags, says):
    output = str(place / "run") if "0.5" in flags else str(place / "new")
    assert main(["train", str(place / "config.yaml"), "--output", output, *flags, "--cpu"]) == 2
    assert says in capsys.readouterr().err


def test_unknown_key_names_the_nearest(place, capsys):
    (place / "typo.yaml").write_text("model: cnn5\nlearningrate: 1\n")
    assert main(["train", str(place / "typo.yaml")]) == 2
    assert "typo.yaml: there is no setting 'learningrate'; did you mean 'learning_rate'?" in capsys.readouterr().err


def test_evaluate(place, capsys):
    arguments = [
        "evaluate",
        str(place / "run" / "model"),
        str(place / "simxrd_data"),
        "--output",
        str(place / "scores"),
    ]
    assert main([*arguments, "--cpu"]) == 0
    text = capsys.readouterr().out
    assert "accuracy" in text and "precision" in text and "frequent third" in text
    table = pq.read_table(place / "scores" / "predictions.parquet")
    stored = json.loads((place / "scores" / "scores.json").read_text())
    labels, predicted = (table[name].to_numpy() for name in ("label", "predicted"))
    assert len(table) == 14 == stored["scores"]["n"]
    assert stored["scores"]["accuracy"] == pytest.approx(np.mean(labels == predicted))
    assert set(table["condition"].to_pylist()) == {31} and (place / "scores" / "confusion.png").stat().st_size > 5000
    assert main([*arguments[:3], "--json", "--cpu", "--limit", "5", "--split", "validation"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["n"] == 5 and found["split"] == "validation" and found["temperature"] > 0


def test_evaluate_refuses(place, capsys):
    assert main(["evaluate", str(place), str(place / "simxrd_data")]) == 2
    assert "is no model folder" in capsys.readouterr().err
    assert main(["evaluate", str(place / "run" / "model"), str(place / "none")]) == 2
    assert "no such dataset folder" in capsys.readouterr().err


def test_exported_model_has_its_calibration(place):
    import torch

    from simxrd_hf.training.evaluation import load_model

    model = load_model(place / "run" / "model")
    about = json.loads((place / "run" / "run.json").read_text())["about"]
    assert model.config.temperature == pytest.approx(about["calibration"]["temperature"])
    assert model.config.conformal["method"] == "lac" and model.config.conformal["n"] == 14
    assert model(intensity=torch.rand(2, 3501)).logits.shape == (2, 7)


def test_simulated_on_the_fly_and_scored_from_its_config(place, capsys):
    run = place / "fly"
    options = ["--crystals", "prototypes", "--limit-crystals", "20", "--patterns", "32", "--batch-size", "8", "--cpu"]
    former = ["--model", "simxrd_former", "--task", "space_group", "--loss", "model", "--no-progress"]
    assert main(["train", *former, *options, "--output", str(run), "--num-workers", "1"]) == 0
    assert main(["evaluate", str(run / "model"), str(run / "config.yaml"), "--json", "--cpu"]) == 0
    found = json.loads(capsys.readouterr().out.split("\n", 4)[-1])
    assert found["scores"]["n"] == 40 and "extinction_symbol_accuracy" in found["scores"]


def test_benchmark_runs_goes_on_and_renders(place, capsys):
    plan = {
        "settings": {"data": str(place / "simxrd_data"), "batch_size": 16, "progress": False, "cpu": True},
        "models": {"cnn5": {"learning_rate": 2e-3}, "cnn9": {}},
        "tasks": ["space_group"],
        "configs": ["in_library"],
        "variants": ["corrected", "as_published"],
        "seeds": [1, 2],
        "output": str(place / "table"),
    }
    (place / "plan.yaml").write_text(yaml.safe_dump(plan))
    base = ["benchmark", str(place / "plan.yaml"), "--patterns", "32"]
    assert main([*base, "--list"]) == 0
    cells = capsys.readouterr().out.splitlines()
    assert len(cells) == 6  # cnn9 was published without a defect: one variant
    assert main([*base, "--models", "cnn5"]) == 0
    first = capsys.readouterr().out
    assert first.count("\n[") == 3 and "cnn5 | as published" in first and "±" in first
    assert main([*base, "--models", "cnn5", "--json"]) == 0
    again = capsys.readouterr().out
    rows = json.loads(again.splitlines()[-1])
    assert "[1/4]" not in again and len(rows) == 4
    assert all(row["patterns"] == 32 and row["n"] == 14 and row["ece"] is not None for row in rows)
    assert {row["config_digest"] for row in rows} == {line.split()[-1] for line in cells if "cnn5" in line}
    assert not (place / "table" / "runs" / "cnn5-corrected-space_group-in_library-1" / "checkpoints").exists()
    for name in ("results.csv", "results.json", "results.md", "results.png"):
        assert (place / "table" / name).stat().st_size > 300
    capsys.readouterr()
    # What was finished before stays in the table.
    assert main([*base, "--models", "cnn9", "--seeds", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(rows) == 5 and rows == json.loads((place / "table" / "results.json").read_text())
    assert main(["benchmark", "--render", str(place / "table"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == rows
    assert main(["benchmark", "--render", str(place)]) == 2
    assert "no finished cell" in capsys.readouterr().err
    assert main([*base, "--models", "cnn5", "--set", "learning_rate=0.1"]) == 0  # the model's own setting wins
    assert main([*base, "--models", "cnn5", "--set", "weight_decay=0.5"]) == 2
    assert "another config" in capsys.readouterr().err


def test_two_runs_of_a_plan_share_its_cells(place):
    """The same command twice at one time: every cell is run once, the table holds all."""
    plan = {
        "settings": {
            "data": str(place / "simxrd_data"),
            "patterns": 64,
            "batch_size": 16,
            "progress": False,
            "cpu": True,
        },
        "models": {"cnn5": {}},
        "tasks": ["crystal_system"],
        "configs": ["in_library"],
        "variants": ["corrected"],
        "seeds": list(range(8)),
        "output": str(place / "shared"),
    }
    (place / "shared.yaml").write_text(yaml.safe_dump(plan))
    command = [sys.executable, "-m", "simxrd_hf", "benchmark", str(place / "shared.yaml")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=240) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    begun = [re.findall(r"^\[\d+/\d+\] (.*)$", out, flags=re.MULTILINE) for out, _ in said]
    assert sorted(begun[0] + begun[1]) == sorted({*begun[0], *begun[1]}) and len(begun[0] + begun[1]) == 8
    assert begun[0] and begun[1]
    rows = json.loads((place / "shared" / "results.json").read_text())
    assert sorted(row["seed"] for row in rows) == list(range(8))
    assert {path.name for path in (place / "shared").iterdir() if path.name[0] != "."} == {
        "results.csv", "results.json", "results.md", "results.png", "runs",
    }  # fmt: skip


def test_a_failing_cell_does_not_stop_the_others(place, capsys):
    (place / "bad.yaml").write_text(
        yaml.safe_dump(
            {
                "settings": {"data": str(place / "simxrd_data"), "patterns": 16, "batch_size": 16, "cpu": True},
                "models": {"cnn77": {}, "cnn5": {"progress": False}},
                "tasks": ["crystal_system"],
                "configs": ["in_library"],
                "test_rows": 5,
                "output": str(place / "bad"),
            },
            sort_keys=False,
        )
    )
    assert main(["benchmark", str(place / "bad.yaml"), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["status"] for row in rows] == ["ok", "failed"] and "cnn77" in rows[1]["error"]
    assert rows[0]["n"] == 5
    (place / "typo2.yaml").write_text("model: [cnn5]\n")
    assert main(["benchmark", str(place / "typo2.yaml")]) == 2
    assert "did you mean 'models'" in capsys.readouterr().err


def test_several_sizes_of_a_model_in_one_plan():
    from simxrd_hf.training.matrix import BenchmarkPlan

    plan = BenchmarkPlan(
        settings={"data": "anywhere", "patterns": 16},
        models={name: {"model": "simxrd_former", "size": name} for name in ("tiny", "light")},
        tasks=["space_group"],
        configs=["in_library"],
        variants=["corrected", "as_published"],
    )
    assert [(cell.key["model"], cell.config.model, cell.config.size) for cell in plan.cells] == [
        ("tiny", "simxrd_former", "tiny"),
        ("light", "simxrd_former", "light"),
    ]
    assert len({cell.folder for cell in plan.cells}) == 2


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_published_configs_are_valid(path):
    from simxrd_hf.training import TrainConfig
    from simxrd_hf.training.matrix import BenchmarkPlan

    content = yaml.safe_load(path.read_text())
    assert (BenchmarkPlan if "models" in content else TrainConfig).from_yaml(path)


@pytest.mark.slow
def test_trainer_example_of_the_docs(place):
    text = (ROOT / "docs" / "training.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1).replace("max_steps=20", "max_steps=2")
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 0 <= float(done.stdout.splitlines()[-1]) <= 1


@pytest.mark.slow
def test_documented_launch_with_two_processes(place):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(Path(sys.executable).parent / "simxrd"), "train", str(place / "config.yaml"), "--cpu"]
    command += ["--output", str(place / "two"), "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("stopped by budget") == 1 and "n = 14" in done.stdout
    assert json.loads((place / "two" / "run.json").read_text())["about"]["processes"] == 2


def test_documented_launch_lines_parse():
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    text = (ROOT / "docs" / "training.md").read_text()
    for name, parser, expected in (
        ("accelerate launch", launch_command_parser(), 2),
        ("torchrun", get_args_parser(), 2),
    ):
        lines = re.findall(rf"^{name} (.*?)(?:  +#.*)?$", text, re.MULTILINE)
        assert len(lines) == expected
        for line in lines:
            known, _ = parser.parse_known_args(line.replace("$(which simxrd)", "simxrd").split())
            assert known.training_script == "simxrd" and known.training_script_args[:2] == ["train", "CONFIG.yaml"]
    assert subprocess.run(["bash", "-n", str(ROOT / "docs" / "train.slurm")]).returncode == 0


def test_methods_of_a_plan(place, capsys):
    """Trained, corrected afterwards, and the classifier retrained; the last two start from the first."""
    plan = {
        "settings": {
            "source": {"data": str(place / "simxrd_data")},
            "budget": {"patterns": 64},
            "batches": {"batch_size": 16},
            "execution": {"progress": False, "cpu": True},
        },
        "models": ["cnn5"],
        "methods": {
            "cross_entropy": {},
            "after": {"after": "cross_entropy", "adjust": 1.0},
            "crt": {"after": "cross_entropy", "trained": "classifier", "sampling": "class_balanced", "patterns": 32},
            "former_only": {"only": ["former"], "loss": "model"},
        },
        "tasks": ["crystal_system"],
        "configs": ["in_library"],
        "output": str(place / "methods"),
    }
    (place / "methods.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    assert main(["benchmark", str(place / "methods.yaml"), "--json"]) == 0
    text = capsys.readouterr().out
    assert "| cnn5 | cross entropy | corrected |" in text
    rows = {row["method"]: row for row in json.loads(text.splitlines()[-1])}
    assert set(rows) == {"cross_entropy", "after", "crt"}
    assert [rows[name]["patterns"] for name in ("cross_entropy", "after", "crt")] == [64, 64, 32]

    # After training: the probabilities over those of a method without it go as 1 / class frequency.
    stem = place / "methods" / "runs"
    names = {name: f"cnn5-{name}-corrected-crystal_system-in_library-0" for name in rows}
    stored = {name: pq.read_table(stem / names[name] / "test" / "predictions.parquet") for name in rows}
    files = sorted((place / "simxrd_data").glob("patterns/*/train-*.parquet"))
    systems = np.concatenate([pq.read_table(file)["crystal_system"].to_numpy() for file in files])
    counts = np.bincount(systems, minlength=7)
    best, fair = (stored[name]["top_5"].to_pylist()[0] for name in ("cross_entropy", "after"))
    p, q = (stored[name]["top_5_probability"].to_pylist()[0] for name in ("cross_entropy", "after"))
    a, b = [one for one in best if one in fair][:2]
    ratio = (q[fair.index(a)] / q[fair.index(b)]) / (p[best.index(a)] / p[best.index(b)])
    prior = np.maximum(counts, 0.5)
    assert ratio == pytest.approx(prior[b] / prior[a], rel=1e-3)
    assert rows["after"]["conformal_coverage"] is None and rows["cross_entropy"]["conformal_coverage"] is not None

    # The classifier retrained: nothing else has moved.
    from safetensors.torch import load_file

    before, after = (load_file(stem / names[name] / "model" / "model.safetensors") for name in ("cross_entropy", "crt"))
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved == {"classifier.weight", "classifier.bias"}

    assert main(["benchmark", str(place / "methods.yaml"), "--methods", "crt", "--list"]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["cross_entropy", "crt"]
    (place / "wrong.yaml").write_text(yaml.safe_dump(plan | {"methods": {"x": {"after": "y", "adjust": 1.0}}}))
    assert main(["benchmark", str(place / "wrong.yaml")]) == 2
    assert "comes after 'y', which is no method before it" in capsys.readouterr().err
    (place / "wrong.yaml").write_text(yaml.safe_dump(plan | {"methods": {"x": {"adjust": 1.0, "loss": "focal"}}}))
    assert main(["benchmark", str(place / "wrong.yaml")]) == 2
    assert "adjust needs `after: METHOD` and no settings" in capsys.readouterr().err


def test_a_classifier_is_retrained_on_a_saved_model_only(place, capsys):
    assert main(["train", str(place / "config.yaml"), "--output", str(place / "crt"), "--trained", "classifier"]) == 2
    assert "'cnn5' is no saved model" in capsys.readouterr().err
