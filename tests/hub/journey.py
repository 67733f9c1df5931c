"""The whole way over a Hub, in the processes of three people. Run as a script against the server in HF_ENDPOINT.

    python tests/hub/journey.py publish FOLDER     the host: dataset, model, metric, results, submissions
    python tests/hub/journey.py read FOLDER        somebody without simxrd_hf: datasets, transformers, evaluate

Each prints one JSON object as its last line.
"""

import json
import runpy
import sys
import time
from pathlib import Path

DATASET, MODEL, METRIC = "tester/simxrd-mini", "tester/simxrd-cnn5", "tester/symmetry_classification"
RESULTS, FOREIGN = "tester/simxrd-results", "other/foreign-model"

RECORD = {
    "name": "cnn5-test",
    "title": "CNN5, for tests",
    "summary": "The smallest convolutional network of the benchmark, with random weights.",
    "architecture": "cnn5",
    "variant": "corrected",
    "task": "space_group",
    "parameters": 400_662,
    "license": "mit",
    "reference": {"text": "Maffettone et al. 2021", "url": "https://doi.org/10.1038/s43588-021-00059-2"},
    "training": {"data": {"name": "none", "preset": "simxrd-4m"}, "cost": {"device": "CPU", "hours": 0}},
    "leakage": "Nothing was learnt, so nothing has leaked.",
    "limits": ["The weights are random."],
}


def publish_all(folder: Path) -> dict:
    """Everything a benchmark host does, with the package."""
    import numpy as np
    import pyarrow.parquet as pq
    from datasets import load_dataset
    from huggingface_hub import HfApi

    import simxrd_hf
    from simxrd_hf.crystals import prototypes
    from simxrd_hf.hub import (
        make_result,
        model_card,
        publish,
        save_card_figures,
        score_hidden,
        score_model,
        submit_results,
        write_eval_results,
        write_result,
    )
    from simxrd_hf.metrics import METRIC_FOLDERS
    from simxrd_hf.models import create_model, export_model

    out: dict = {}
    table = prototypes().table
    small = table.take([i for i, a in enumerate(table["atomic_numbers"].to_pylist()) if len(a) <= 4][:24])
    data = folder / "data"
    simxrd_hf.generate(
        small, data, conditions=[0, 1, 30, 31, 32], hidden_test=True, key_dir=folder / "key", progress=False,
        configs=("in_library", "out_of_library"),
    )  # fmt: skip
    first = publish("dataset", data, DATASET, benchmark=True)
    again = publish("dataset", data, DATASET, benchmark=True)
    out["dataset"] = {
        "created": first.created,
        "files": len(first.changes),
        "again_committed": again.committed,
        "tag": first.tag,
    }

    model_folder = folder / "model"
    export_model(create_model("cnn5", "space_group"), None, model_folder)
    pipe = simxrd_hf.pipeline(model_folder)
    rows = load_dataset(str(data), "in_library", split="test")
    scores, labels, probabilities = score_model(pipe, rows, target="space_group", limit=40, progress=False)
    system, _, _ = score_model(pipe, rows, target="crystal_system", limit=10, progress=False)
    out["scores"] = {"n": scores["n"], "system_n": system["n"], "accuracy": scores["accuracy"]}
    revision = HfApi().dataset_info(DATASET).sha
    result = make_result(
        MODEL, scores, dataset_id=DATASET, dataset_revision=revision, config="in_library", split="test",
        target="space_group",
    )  # fmt: skip
    write_result(result, model_folder / "results")
    write_result(result, folder / "results")
    write_eval_results([result], model_folder)
    confusion, reliability = save_card_figures(model_folder, labels, probabilities, target="space_group")
    card = model_card(RECORD, model_id=MODEL, results=[result], confusion=confusion, reliability=reliability)
    (model_folder / "README.md").write_text(card)
    report = publish("model", model_folder, MODEL, public=True, benchmark=True)
    out["model"] = {"url": report.url, "changes": sorted(c.path for c in report.changes)}

    publish("metric", METRIC_FOLDERS["symmetry_classification"], METRIC)
    publish("results", folder / "results", RESULTS, public=True)
    own = submit_results(MODEL, [result])
    foreign = make_result(FOREIGN, scores, dataset_id=DATASET, config="in_library", split="test", target="space_group")
    pull = submit_results(FOREIGN, [foreign])
    pull_again = submit_results(FOREIGN, [foreign])
    out["submit"] = {
        "own_pr": own.pull_request,
        "own_sent": own.sent,  # the folder held them already
        "foreign_pr": pull.pull_request,
        "foreign_url": pull.url,
        "foreign_again": [pull_again.sent, pull_again.url],
    }

    hidden = load_dataset(str(data), "hidden", split="test")
    key = pq.read_table(folder / "key" / "key.parquet")
    truth = dict(zip(key["row_id"].to_pylist(), key["space_group"].to_pylist(), strict=True))
    import pyarrow as pa

    perfect = pa.table({"row_id": hidden["row_id"][:], "space_group": [truth[r] for r in hidden["row_id"]]})
    out["hidden"] = {
        "columns": hidden.column_names,
        "perfect": score_hidden(perfect, key, target="space_group")["all"]["accuracy"],
        "n": len(hidden),
    }
    np.save(folder / "first.npy", np.asarray(rows.with_format("numpy")[0]["intensity"]))
    (folder / "revision").write_text(first.tag)
    return out


def read_all(folder: Path) -> dict:
    """A stranger with datasets, transformers and evaluate, but without simxrd_hf."""
    sys.modules["simxrd_hf"] = None  # type: ignore[assignment]
    import evaluate
    import numpy as np
    from datasets import get_dataset_config_names, load_dataset
    from huggingface_hub import HfApi, ModelCard
    from transformers import AutoFeatureExtractor, AutoModelForSequenceClassification, pipeline

    out: dict = {"configs": get_dataset_config_names(DATASET)}
    rows = load_dataset(DATASET, "in_library", split="test", revision=(folder / "revision").read_text())
    stream = load_dataset(DATASET, "in_library", split="test", streaming=True)
    first = next(iter(stream.with_format("numpy")))
    out["map"] = {"n": len(rows), "labels": rows.features["space_group"].num_classes}
    out["stream_equal"] = bool(
        np.array_equal(first["intensity"], rows.with_format("numpy")[0]["intensity"])
        and np.array_equal(first["intensity"], np.load(folder / "first.npy"))
    )
    out["stream_n"] = sum(1 for _ in stream)

    model = AutoModelForSequenceClassification.from_pretrained(MODEL, trust_remote_code=True)
    AutoFeatureExtractor.from_pretrained(MODEL, trust_remote_code=True)
    out["model"] = {"labels": model.config.num_labels, "224": model.config.id2label[224]}
    card = ModelCard.load(MODEL)
    snippet = card.text.split("```python")[1].split("```")[0]
    (folder / "snippet.py").write_text(snippet)
    scope = runpy.run_path(str(folder / "snippet.py"))  # the card's own usage, word for word
    out["snippet"] = len(scope["answer"]["space_group"])
    out["model_index"] = [r.metric_type for r in card.data.eval_results]
    pipe = pipeline(model=MODEL, task="xrd-classification", trust_remote_code=True)
    out["pipeline"] = pipe(np.asarray(first["intensity"]), top_k=2)["space_group"][0]["label"]

    # saved and shared again, by the model alone and by its pipeline: each loads by its name
    model.push_to_hub("tester/pushed-model")
    pipe.push_to_hub("tester/pushed-pipe")
    out["pushed"] = [
        pipeline("xrd-classification", model=name, trust_remote_code=True)(np.asarray(first["intensity"]), top_k=2)[
            "space_group"
        ][0]["label"]
        for name in ("tester/pushed-model", "tester/pushed-pipe")
    ]

    metric = evaluate.load(METRIC, "labels")
    out["metric"] = metric.compute(predictions=[224], references=[224])["accuracy"]

    api = HfApi()
    board = api.get_dataset_leaderboard(DATASET)
    out["leaderboard"] = sorted({(row.model_id, row.pull_request or 0) for row in board})
    info = api.model_info(MODEL, expand=["evalResults"])
    out["eval_results"] = sorted(entry.task_id for entry in info.eval_results)
    out["results_rows"] = load_dataset("tester/simxrd-results", split="train").num_rows
    api.merge_pull_request(FOREIGN, 1, repo_type="model", token="hf_test_other_token")
    board = api.get_dataset_leaderboard(DATASET)
    out["merged"] = sorted({(row.model_id, row.pull_request or 0) for row in board})
    return out


if __name__ == "__main__":
    began = time.perf_counter()
    work = Path(sys.argv[2])
    print(
        json.dumps({"publish": publish_all, "read": read_all}[sys.argv[1]](work) | {"s": time.perf_counter() - began})
    )
