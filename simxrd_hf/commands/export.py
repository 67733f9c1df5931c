"""Write a checkpoint for other runtimes: ONNX, or a folder for the Hub."""

import argparse
from pathlib import Path

from simxrd_hf.errors import BadInput

EXAMPLE = """simxrd export run/model -o model.onnx
  simxrd export run/model -o hub_folder --half"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="checkpoint folder or Hub id (default: the packaged one)"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="FILE.onnx, or a folder")
    parser.add_argument("--half", action="store_true", help="store the weights of a folder in float16")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> int:
    """Export."""
    from simxrd_hf.identify.model_folders import DEFAULT_MODEL
    from simxrd_hf.models import export_model, export_onnx
    from simxrd_hf.training.evaluation import load_model

    onnx = args.output.suffix == ".onnx"
    if onnx and args.half:
        raise BadInput("--half is for folders; an ONNX file holds float32 weights")
    model = load_model(args.model or DEFAULT_MODEL)
    if onnx:
        path = export_onnx(model, args.output)
        print(f"{path}: {path.stat().st_size:,} bytes")
    else:
        folder = export_model(model, None, args.output, half=args.half, overwrite=args.overwrite)
        for path in sorted(folder.iterdir()):
            print(f"{path}: {path.stat().st_size:,} bytes" if path.is_file() else path)
    return 0
