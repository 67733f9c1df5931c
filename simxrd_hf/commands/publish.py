"""Put a dataset, library, model, metric, results or a Space on the Hugging Face Hub; private unless told otherwise."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from simxrd_hf.printable import printable

if TYPE_CHECKING:
    from simxrd_hf.hub.upload import Change

EXAMPLE = """simxrd publish dataset simxrd_demo/data your-name/simxrd-tiny --dry-run
  simxrd publish model runs/former your-name/simxrd-former --public
  simxrd publish library lines.parquet your-name/lines --license cc-by-4.0
  simxrd publish metric symmetry_classification your-name/symmetry_classification
  simxrd publish space leaderboard your-name/simxrd-leaderboard"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("kind", choices=["dataset", "library", "model", "metric", "results", "space"])
    parser.add_argument(
        "path",
        help="the folder; a packaged Space (demo, demo_static, leaderboard) or metric also by its name; for a library "
        "the file of `simxrd library`, or packaged",
    )
    parser.add_argument("repo_id", metavar="NAMESPACE/NAME")
    parser.add_argument("--dry-run", action="store_true", help="list what would go and send nothing")
    parser.add_argument("--public", action="store_true", help="make the repository public once all is up")
    parser.add_argument("--tag", help="tag of the commit (default: v and the format version)")
    parser.add_argument("--message", help="first line of the commit")
    parser.add_argument(
        "--benchmark",
        action="store_true",
        help="also offer eval.yaml (dataset) or .eval_results (model), in a commit of its own that the Hub may refuse",
    )
    parser.add_argument("--collection", metavar="TITLE", help="add the repository to this collection of the namespace")
    parser.add_argument(
        "--license", metavar="ID", help="terms of the crystals of a library, as the Hub names licences (cc-by-4.0)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _announce(changes: "Sequence[Change]") -> None:
    """What will happen to each file, before it happens."""
    words = {"add": "add", "change": "replace", "delete": "delete", "keep": "keep"}
    for change in changes:
        if change.action in words:
            print(f"{words[change.action]:>7}  {change.size:>13,}  {printable(change.path)}", flush=True)


def run(args: argparse.Namespace) -> int:
    """Publish and print what happened to each file."""
    from simxrd_hf.hub.publishing import publish
    from simxrd_hf.hub.upload import PublishFailed

    try:
        report = publish(
            args.kind,
            args.path,
            args.repo_id,
            public=args.public,
            dry_run=args.dry_run,
            tag=args.tag,
            message=args.message,
            benchmark=args.benchmark,
            collection=args.collection,
            license=args.license,
            announce=None if args.json else _announce,
        )
    except PublishFailed as error:
        print(f"simxrd publish: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(asdict(report) | {"dry_run": args.dry_run}))
        return 0
    if args.dry_run:
        _announce(report.changes)
    sent = [change for change in report.changes if change.action in {"add", "change"}]
    same = sum(change.action == "same" for change in report.changes)
    verb = "would be sent" if args.dry_run else "sent and verified by hash"
    print(f"{len(sent)} files, {sum(change.size for change in sent):,} bytes {verb}; {same} up to date already")
    if args.dry_run:
        state = "a new private repository" if report.created else "the repository that is there"
        print(f"to {report.url} ({state}), tag {report.tag}; nothing was sent")
    else:
        print(f"{report.url} at {report.commit[:12]}, tag {report.tag}")
    for note in report.notes:
        print(printable(note, 400))
    return 0
