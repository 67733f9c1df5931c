"""Checkpoints, on disk whole or not at all; the newest k and the best are kept."""

import contextlib
import hashlib
import io
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from simxrd_hf.errors import BadInput
from simxrd_hf.files import remove_unfinished, replacing_folder


class CheckpointError(BadInput):
    """A checkpoint that could not be written or read; the older ones are untouched."""


class CheckpointFolder:
    """The checkpoints of one run: `step-<n>` to go on from, `best-<n>` holding the best weights so far.

    A checkpoint is a folder of `state.json` (plain data, with the SHA-256 of what both files hold) and `tensors.pt`
    (read with `weights_only`, after its sum was found right).

    Args:
        folder: Where they lie; made on first use.
        keep: Newest `step-` checkpoints to keep.
    """

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder = Path(folder)
        self.keep = keep

    def _numbers(self, kind: str) -> list[int]:
        names = (path.name for path in self.folder.glob(f"{kind}-*") if path.is_dir())
        return sorted(int(name.rpartition("-")[2]) for name in names if name.rpartition("-")[2].isdigit())

    def path(self, kind: str, step: int) -> Path:
        """Folder of one checkpoint."""
        return self.folder / f"{kind}-{step:09d}"

    def steps(self) -> list[int]:
        """Steps with a whole checkpoint, rising."""
        return self._numbers("step")

    def save(self, kind: str, step: int, state: dict[str, Any], tensors: dict[str, Any]) -> Path:
        """Write one checkpoint.

        Args:
            kind: "step" or "best".
            step: Optimiser steps done.
            state: Plain data; the key `best_step` names the `best-` folder this checkpoint relies on.
            tensors: Nested dict of tensors and plain values.

        Returns:
            Its folder.

        Raises:
            CheckpointError: The disk is full or not writable; nothing half-written stays behind.
        """
        target = self.path(kind, step)
        # Through memory: torch's own file writer reports a full disk as a bare RuntimeError and may leave threads.
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        state = state | {"tensors_sha256": hashlib.sha256(buffer.getbuffer()).hexdigest()}
        state |= {"state_sha256": _sum_of(state)}
        try:
            remove_unfinished(self.folder)  # of a killed run; one process writes here
            with replacing_folder(target, durable=True) as work:
                (work / "tensors.pt").write_bytes(buffer.getbuffer())
                (work / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False), encoding="utf-8")
        except OSError as error:
            kept = self.steps()
            last = f"the last good checkpoint is {self.path('step', kept[-1])}" if kept else "there is none before it"
            raise CheckpointError(
                f"{target}: checkpoint could not be written ({error.strerror}); {last}. "
                "Free some space or mend the permissions and run the same command again: it goes on from there"
            ) from error
        return target

    def prune(self) -> None:
        """Delete step checkpoints beyond the newest `keep`, and best weights no kept checkpoint relies on."""
        steps = self.steps()
        for step in steps[: -self.keep]:
            shutil.rmtree(self.path("step", step))
        needed = set()
        for step in steps[-self.keep :]:
            with contextlib.suppress(OSError, ValueError):
                state = json.loads((self.path("step", step) / "state.json").read_text(encoding="utf-8"))
                needed.add(state.get("best_step") if isinstance(state, dict) else None)
        for step in self._numbers("best"):
            if step not in needed and step <= max(steps, default=step):
                shutil.rmtree(self.path("best", step))

    def load(self, kind: str, step: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """State and tensors of one checkpoint, tensors on the CPU.

        Raises:
            CheckpointError: Missing or damaged.
        """
        folder = self.path(kind, step)
        try:
            state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            if state.pop("state_sha256", None) != _sum_of(state):
                raise ValueError("state.json is damaged: its content does not have the sum it names")
            # Read once, so that what was summed is what is taken.
            content = (folder / "tensors.pt").read_bytes()
            if state.pop("tensors_sha256", None) != hashlib.sha256(content).hexdigest():
                raise ValueError("tensors.pt is damaged: it does not have the sum that state.json names")
            tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise CheckpointError(
                f"{folder}: checkpoint cannot be read ({' '.join(str(error).split())[:200]}); "
                "delete this folder to go on from an older one"
            ) from error
        return state, tensors

    def load_newest(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The newest readable checkpoint, or None; a damaged one is passed over with a warning."""
        error: CheckpointError | None = None
        for step in reversed(self.steps()):
            try:
                return self.load("step", step)
            except CheckpointError as found:
                error = found
                warnings.warn(f"{found}; trying the one before", stacklevel=2)
        if error is not None:
            raise error
        return None

    def identity(self) -> dict[str, Any]:
        """State of the newest checkpoint that can be read, without its tensors; empty where there is none."""
        for step in reversed(self.steps()):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                state: dict[str, Any] = json.loads((self.path("step", step) / "state.json").read_text(encoding="utf-8"))
                if state.pop("state_sha256", None) == _sum_of(state):
                    return state
        return {}


def _sum_of(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
