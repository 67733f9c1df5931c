"""Puts what `simxrd benchmark` measured on two cores into the records of model_cards/: training, cost, results.

    python -m tools.model_records

Reads benchmarks/results/cpu_table.csv; a record gets the cells of its own network, task and variant, first seed.
"""

import csv
from pathlib import Path
from typing import Any

import yaml

from simxrd_hf.files import write_whole
from simxrd_hf.hub import add_results, make_result
from simxrd_hf.hub.cards import check_model_record
from simxrd_hf.hub.results import SCORE_COLUMNS

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "benchmarks" / "results" / "cpu_table.csv"
DATASET = "simxrd_1000"
OURS = {"simxrd-former-tiny": "former_tiny"}
BUDGET = "8000"


def cells_of(name: str, record: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of the table that are this record's: an equal budget of patterns for every network.

    Slow networks were trained on crystal systems only; their records then show that run.
    """
    model = OURS.get(name, record["architecture"])
    wanted = {"model": model, "variant": record.get("variant") or "corrected"}
    wanted |= {"patterns": BUDGET, "status": "ok", "seed": "100"}
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]
    return [row for row in rows if row["task"] == record["task"]] or rows


def result_of(name: str, row: dict[str, str]) -> dict[str, Any]:
    """A cell as a result record."""
    scores = {key: float(row[key]) for key in (*SCORE_COLUMNS, "n") if row.get(key)}
    return make_result(
        name,
        scores,
        dataset_id=DATASET,
        config=row["config"],
        split="test",
        target=row["task"],
        date=f"{row['date']}T00:00:00Z",
        notes=f"after {int(row['patterns']):,} training patterns, seed {row['seed']}; test rows drawn evenly; "
        "far from converged, and no checkpoint was kept",
    )


def main() -> None:
    """Rewrite the records that the table knows."""
    for path in sorted((ROOT / "model_cards").glob("*.yaml")):
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        cells = cells_of(record["name"], record)
        if not cells or record["name"] == "simxrd-former-light":  # released, with a record of its own
            continue
        first = cells[0]
        record["training"] = {
            "data": {
                "name": "1,000 sampled crystals, as benchmarks/configs/cpu_table.yaml says",
                "preset": "simxrd-4m",
                "crystals": 1000,
                "digest": first["data_digest"],
                "patterns_seen": int(first["patterns"]),
            },
            "cost": {"device": first["device"], "hours": round(sum(float(c["minutes"]) for c in cells) / 60, 3)},
            "settings": {"plan": "benchmarks/configs/cpu_table.yaml", "steps": int(first["steps"])},
        }
        record["results"] = []
        check_model_record(record, str(path))
        write_whole(path, yaml.safe_dump(record, sort_keys=False, allow_unicode=True, width=116))
        add_results(path, [result_of(record["name"], cell) for cell in cells])


if __name__ == "__main__":
    main()
