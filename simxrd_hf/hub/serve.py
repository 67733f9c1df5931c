"""Runs the packaged Spaces on this machine."""

from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.identify.model_folders import DEFAULT_MODEL


def _require_gradio() -> None:
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise BadInput("the page needs gradio: pip install 'simxrd_hf[spaces]'") from error


def serve_leaderboard(records: list[dict[str, Any]], *, port: int = 7860) -> int:
    """Show the leaderboard of these records in the browser until interrupted.

    Args:
        records: From `collect_results`.
        port: Port on loopback.
    """
    _require_gradio()
    from simxrd_hf.hub.spaces.leaderboard import app

    app.build(records).launch(server_name="127.0.0.1", server_port=port, theme=app.THEME, css=app.CSS)
    return 0


def serve_demo(model: str = str(DEFAULT_MODEL), *, port: int = 7860) -> int:
    """Show the demo of a model in the browser until interrupted.

    Args:
        model: Folder or NAMESPACE/NAME; the packaged checkpoint by default.
        port: Port on loopback.
    """
    _require_gradio()
    from simxrd_hf.hub.spaces.demo import app

    app.build(model).launch(server_name="127.0.0.1", server_port=port, theme=app.THEME, css=app.CSS)
    return 0
