"""The way to the Hugging Face Hub: cards, publishing, results of models, leaderboard and Spaces."""

import importlib
from typing import Any

_NAMES = {
    "BENCHMARK_TASKS": "simxrd_hf.hub.benchmark",
    "BenchmarkTask": "simxrd_hf.hub.benchmark",
    "benchmark_scores": "simxrd_hf.hub.benchmark",
    "write_eval_yaml": "simxrd_hf.hub.benchmark",
    "add_results": "simxrd_hf.hub.cards",
    "check_card": "simxrd_hf.hub.cards",
    "model_card": "simxrd_hf.hub.cards",
    "read_model_record": "simxrd_hf.hub.cards",
    "save_card_figures": "simxrd_hf.hub.figures",
    "collect_results": "simxrd_hf.hub.leaderboard",
    "leaderboard_rows": "simxrd_hf.hub.leaderboard",
    "publish": "simxrd_hf.hub.publish",
    "PublishFailed": "simxrd_hf.hub.upload",
    "make_result": "simxrd_hf.hub.results",
    "read_results": "simxrd_hf.hub.results",
    "write_eval_results": "simxrd_hf.hub.results",
    "write_result": "simxrd_hf.hub.results",
    "class_probabilities": "simxrd_hf.hub.scoring",
    "evaluate_pipeline": "simxrd_hf.hub.scoring",
    "score_hidden": "simxrd_hf.hub.scoring",
    "score_model": "simxrd_hf.hub.scoring",
    "score_targets": "simxrd_hf.hub.scoring",
    "submit_results": "simxrd_hf.hub.submit",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'simxrd_hf.hub' has no attribute {name!r}")
