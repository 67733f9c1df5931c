"""Makes the packaged checkpoint and its card from a finished training run and its scores.

    simxrd evaluate RUN/model RUN/config.yaml --split test --output RUN/test
    simxrd library CRYSTALS -o RUN/lines.parquet
    simxrd evidence CRYSTALS --model RUN/model --library RUN/lines.parquet
    python benchmarks/measured.py --patterns MEASURED --model RUN/model --json RUN/measured.json
    python benchmarks/measured.py --patterns MEASURED --model RUN/model --library RUN/lines.parquet \
        --json RUN/library.json
    python benchmarks/release.py RUN --calibrate MEASURED --record RECORD --output simxrd_hf/models/default

A released checkpoint whose evidence was fitted anew (RUN holds it as `model`, and the config of its training) is
released again with `--same-network`: what its record says of training and of the network alone stays.

The card of a released checkpoint is written anew, with a reliability diagram, from predictions of `simxrd evaluate`:

    simxrd evaluate FOLDER RUN/config.yaml --split test --limit 12000 --output SCORES
    python benchmarks/release.py SCORES --card-only --record RECORD --output FOLDER
"""

import argparse
import sys
from pathlib import Path

from simxrd_hf.errors import BadInput
from simxrd_hf.hub.packaged_model import illustrate, release


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the training run")
    parser.add_argument(
        "--calibrate", type=Path, metavar="MEASURED", help="Parquet table of labelled measured patterns"
    )
    parser.add_argument(
        "--card-only", action="store_true", help="RUN holds predictions.parquet; draw and write the card"
    )
    parser.add_argument("--library", type=Path, help="lines of known crystals (RUN/lines.parquet if absent)")
    parser.add_argument(
        "--before",
        type=Path,
        nargs="*",
        default=[],
        help="folders of the runs it went on from, or the record of a released one",
    )
    parser.add_argument(
        "--same-network", action="store_true", help="RUN is the released checkpoint with evidence fitted anew"
    )
    parser.add_argument("--record", type=Path, required=True, help="model record, completed with training and results")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--data-name", default="crystals of the Materials Project (CC BY 4.0), simulated while training"
    )
    parser.add_argument("--device", default="2 cores of an Intel Xeon (AMX)")
    args = parser.parse_args()
    try:
        if args.card_only:
            illustrate(args.output, args.record, args.run / "predictions.parquet")
            return 0
        if args.calibrate is None:
            raise BadInput("--calibrate: name the measured patterns")
        thresholds = release(
            args.run,
            args.record,
            args.output,
            calibrate=args.calibrate,
            library=args.library,
            before=args.before,
            same_network=args.same_network,
            data_name=args.data_name,
            device=args.device,
        )
    except BadInput as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    print("prediction sets, network alone, with cell search, with library:", *thresholds.values(), sep="\n  ")
    for file in sorted(args.output.iterdir()):
        print(f"{file.stat().st_size:>10,} {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
