"""Train and score a matrix of models, resumable, and render one results table (CSV, JSON, Markdown, PNG)."""

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = (
    "simxrd benchmark benchmarks/configs/cpu_table.yaml --data simxrd_data --output table\n"
    "  simxrd benchmark benchmarks/configs/cpu_table.yaml --models cnn5 gru --patterns 20000 --output quick\n"
    "  simxrd benchmark --render table                     # the table of the cells finished so far"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("plan", nargs="?", metavar="PLAN", help="YAML file: settings, models, methods, tasks, …")
    parser.add_argument("--output", help="folder of runs and results (default: as in PLAN)")
    parser.add_argument("--data", help="dataset folder (default: as in PLAN)")
    parser.add_argument("--patterns", type=int, metavar="N", help="equal budget: every model sees N patterns")
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="only these methods, and those they go on from")
    parser.add_argument("--tasks", nargs="+", choices=("crystal_system", "space_group"))
    parser.add_argument("--configs", nargs="+", choices=("in_library", "out_of_library", "tiny"))
    parser.add_argument("--variants", nargs="+", choices=("corrected", "as_published"))
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--test-rows", type=int, metavar="N", help="score on N test rows, drawn evenly (default: all)")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="further training settings for all cells"
    )
    parser.add_argument("--keep-checkpoints", action="store_true", help="keep checkpoints of finished cells")
    parser.add_argument("--list", action="store_true", help="list the cells and stop")
    parser.add_argument("--render", metavar="FOLDER", help="only make the table of the cells finished in FOLDER")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON on the last line")


def run(args: argparse.Namespace) -> int:
    """Run or render; 1 if a cell failed."""
    from simxrd_hf.errors import BadInput
    from simxrd_hf.training import keep_freed_memory, leave_process_group
    from simxrd_hf.training.matrix import BenchmarkPlan, run_benchmark
    from simxrd_hf.training.matrix_table import finished_rows, render, render_markdown

    if args.render:
        if not finished_rows(Path(args.render)):
            raise BadInput(f"{args.render}: holds no finished cell to render")
        rows = render(Path(args.render))
        print(json.dumps(rows) if args.json else render_markdown(rows))
        return 0
    if not args.plan:
        raise BadInput("PLAN: name a YAML file (see benchmarks/configs), or --render FOLDER")
    settings: dict[str, Any] = {}
    for item in args.set:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadInput(f"--set: {item!r} is not NAME=VALUE")
        settings[name] = yaml.safe_load(value)
    settings |= {name: getattr(args, name) for name in ("data", "patterns") if getattr(args, name) is not None}
    names = ("models", "methods", "tasks", "configs", "variants", "seeds", "test_rows", "output")
    plan = BenchmarkPlan.from_yaml(args.plan, settings=settings, **{name: getattr(args, name) for name in names})
    if args.list:
        for cell in plan.cells:
            print(cell.name, cell.config.digest)
        return 0
    keep_freed_memory()
    rows = run_benchmark(plan, keep_checkpoints=args.keep_checkpoints)
    leave_process_group()
    print(render_markdown(rows))
    print(f"results.csv, results.json, results.md and results.png in {plan.output}")
    if args.json:
        print(json.dumps(rows))
    return int(any(row["status"] != "ok" for row in rows))
