"""Averages the weights of a run's model with those of the run it went on from, calibrated anew on its validation rows.

    python benchmarks/average.py RUN EARLIER --share 0.4 --output AVERAGED

Both lie in one valley of the loss, as the later run began at the weights of the earlier one; between them is often a
better place than either (Izmailov et al., UAI 2018; Wortsman et al., ICML 2022). AVERAGED is a run's folder for
`simxrd evaluate`, `evidence.py`, `measured.py` and `release.py`: settings and costs in it are RUN's.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch

from simxrd_hf.errors import BadInput
from simxrd_hf.metrics.temperature import calibrate
from simxrd_hf.models import export_model
from simxrd_hf.training.config import TrainConfig
from simxrd_hf.training.evaluation import evaluate_checkpoint, load_model


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the later run")
    parser.add_argument("earlier", type=Path, help="folder of the run it went on from")
    parser.add_argument("--share", type=float, default=0.5, help="of the earlier weights")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    try:
        config = TrainConfig.from_yaml(args.run / "config.yaml")
        model, earlier = load_model(args.run / "model"), load_model(args.earlier / "model").state_dict()
        if {name: value.shape for name, value in model.state_dict().items()} != {
            n: v.shape for n, v in earlier.items()
        }:
            raise BadInput(f"{args.earlier}/model: is of another architecture or size than {args.run}/model")
        with torch.no_grad():
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(earlier[name].to(value.dtype), args.share)
        found = evaluate_checkpoint(model, config, "validation", limit_rows=config.validation_rows, cpu=True)
        fitted = calibrate(model, found.logits, found.labels, method=config.calibration, alpha=config.alpha)
        export_model(model, None, args.output / "model")
    except BadInput as error:
        print(f"average: {error}", file=sys.stderr)
        return 2
    shutil.copy(args.run / "config.yaml", args.output / "config.yaml")
    record = json.loads((args.run / "run.json").read_text())
    record["about"] |= {"calibration": fitted, "averaged": {"share": args.share, "with": args.earlier.name}}
    (args.output / "run.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"validation: accuracy {found.scores['accuracy']:.3f}, temperature {fitted['temperature']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
