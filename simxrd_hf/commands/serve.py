"""Show the demo page of a model in the browser, on this machine."""

import argparse

EXAMPLE = "simxrd serve\n  simxrd serve run/model --port 8000"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "model", metavar="MODEL", nargs="?", help="checkpoint folder or Hub id (default: the packaged one)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port on this machine (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    from simxrd_hf.hub.serve import serve_demo
    from simxrd_hf.identify.model_folders import DEFAULT_MODEL

    return serve_demo(args.model or str(DEFAULT_MODEL), port=args.port)
