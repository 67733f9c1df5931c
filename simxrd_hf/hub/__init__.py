"""The way to the Hugging Face Hub: cards, publishing, results of models, leaderboard and Spaces."""

from typing import Any

from simxrd_hf.lazy import load

_NAMES = {
    "BENCHMARK_TASKS": "benchmark",
    "BenchmarkTask": "benchmark",
    "benchmark_scores": "benchmark",
    "write_eval_yaml": "benchmark",
    "add_results": "cards",
    "check_card": "cards",
    "model_card": "cards",
    "read_model_record": "cards",
    "save_card_figures": "figures",
    "collect_results": "leaderboard",
    "leaderboard_rows": "leaderboard",
    "publish": "publish",
    "PublishFailed": "upload",
    "make_result": "results",
    "read_results": "results",
    "write_eval_results": "results",
    "write_result": "results",
    "class_probabilities": "scoring",
    "evaluate_pipeline": "scoring",
    "score_hidden": "scoring",
    "score_model": "scoring",
    "score_targets": "scoring",
    "submit_results": "submit",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    return load(__name__, _NAMES, name)
