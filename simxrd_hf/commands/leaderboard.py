"""Collect result records from folders and the Hub and show them as a ranked table, in the terminal or the browser."""

import argparse
import json
import sys

EXAMPLE = """simxrd leaderboard runs/results --target space_group --sort macro_f1
  simxrd leaderboard your-name/simxrd-results --serve"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("sources", nargs="+", help="folders or files of result records, results datasets on the Hub")
    parser.add_argument("--target", choices=["space_group", "crystal_system"], default="space_group")
    parser.add_argument("--config", help="only this config, e.g. out_of_library")
    parser.add_argument("--sort", default="accuracy", metavar="SCORE", help="score to rank by (default: accuracy)")
    parser.add_argument("--serve", action="store_true", help="show the leaderboard in the browser")
    parser.add_argument("--port", type=int, default=7860, help="port of --serve")
    parser.add_argument("--json", action="store_true", help="print the ranked rows as JSON")


def run(args: argparse.Namespace) -> int:
    """Print or serve the table."""
    from simxrd_hf.hub.leaderboard import collect_results, leaderboard_rows, text_table
    from simxrd_hf.hub.results import Skipped
    from simxrd_hf.hub.upload import PublishFailed

    skipped: list[Skipped] = []
    try:
        records = collect_results(args.sources, skipped=skipped)
    except PublishFailed as error:
        print(f"simxrd leaderboard: {error}", file=sys.stderr)
        return 1
    for one in skipped[:5]:
        print(f"skipped {one.where}: {one.reason}", file=sys.stderr)
    if skipped:
        print(f"{len(skipped)} records skipped, {len(records)} shown", file=sys.stderr)
    if args.serve:
        from simxrd_hf.hub.serve import serve_leaderboard

        return serve_leaderboard(records, port=args.port)
    rows = leaderboard_rows(records, target=args.target, config=args.config, sort_by=args.sort)
    if args.json:
        print(json.dumps(rows))
        return 0
    columns = ["accuracy", "macro_f1", "top_5_accuracy", "crystal_system_accuracy", "extinction_symbol_accuracy", "ece"]
    if args.target == "crystal_system":
        columns = ["accuracy", "macro_f1", "ece"]
    if args.sort not in columns:
        columns.insert(0, args.sort)
    print(text_table(rows, columns) if rows else f"no results for {args.target}")
    return 0
