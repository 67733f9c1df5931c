"""Averages the weights of a run's model with those of the run it went on from, calibrated anew on its validation rows.

    python benchmarks/average.py RUN EARLIER --share 0.4 --output AVERAGED

Both lie in one valley of the loss, as the later run began at the weights of the earlier one; between them is often a
better place than either (Izmailov et al., UAI 2018; Wortsman et al., ICML 2022). AVERAGED is a run's folder for
`simxrd evaluate`, `evidence.py`, `measured.py` and `release.py`: settings and costs in it are RUN's.
"""

import argparse
import sys
from pathlib import Path

from simxrd_hf.errors import BadInput
from simxrd_hf.training.averaging import average_runs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the later run")
    parser.add_argument("earlier", type=Path, help="folder of the run it went on from")
    parser.add_argument("--share", type=float, default=0.5, help="of the earlier weights")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    try:
        found = average_runs(args.run, args.earlier, args.output, share=args.share)
    except BadInput as error:
        print(f"average: {error}", file=sys.stderr)
        return 2
    print(f"validation: accuracy {found['accuracy']:.3f}, temperature {found['temperature']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
