"""Runs the packaged Spaces on this machine."""

import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_folders import DEFAULT_MODEL

LEADERBOARD = Path(__file__).resolve().parent / "spaces" / "leaderboard"
RECORDS = "/records.jsonl"


class _Page(SimpleHTTPRequestHandler):
    """The files of the page, and the records it asks for."""

    def __init__(self, *args: Any, records: bytes, **kwargs: Any):
        self.records = records
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path.partition("?")[0] != RECORDS:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "application/jsonl; charset=utf-8")
        self.send_header("Content-Length", str(len(self.records)))
        self.end_headers()
        self.wfile.write(self.records)
        return None

    def log_message(self, *args: Any) -> None:
        """Requests are not logged."""


def leaderboard_server(records: list[dict[str, Any]], *, port: int = 7860) -> ThreadingHTTPServer:
    """A server on loopback with the page of the leaderboard and these records; not yet running.

    Args:
        records: From `collect_results`.
        port: Port; 0 takes a free one.

    Raises:
        BadInput: The port is taken.
    """
    lines = "".join(f"{json.dumps(record)}\n" for record in records).encode()
    page = partial(_Page, records=lines, directory=str(LEADERBOARD))
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), page)
    except OSError as error:
        raise BadInput(f"port {port}: {error.strerror}; choose another with --port") from error


def serve_leaderboard(records: list[dict[str, Any]], *, port: int = 7860) -> int:
    """Show the leaderboard of these records in the browser until interrupted.

    Args:
        records: From `collect_results`.
        port: Port on loopback.
    """
    with leaderboard_server(records, port=port) as server:
        print(f"http://127.0.0.1:{server.server_address[1]} shows {len(records)} results; Ctrl-C ends it", flush=True)
        server.serve_forever()
    return 0


def serve_demo(model: str = str(DEFAULT_MODEL), *, port: int = 7860) -> int:
    """Show the demo of a model in the browser until interrupted.

    Args:
        model: Folder or NAMESPACE/NAME; the packaged checkpoint by default.
        port: Port on loopback.

    Raises:
        BadInput: gradio is not installed.
    """
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise BadInput("the page needs gradio: pip install 'simxrd_hf[spaces]'") from error
    from simxrd_hf.hub.spaces.demo import app

    app.build(model).launch(
        server_name="127.0.0.1", server_port=port, theme=app.THEME, css=app.CSS, mcp_server=app.can_serve_tools()
    )
    return 0
