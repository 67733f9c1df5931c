"""Reading what strangers wrote in a process that may do next to nothing: no environment, no files, bounded costs.

A parser that is given a crafted file may loop, ask for all memory, crash, or be talked into opening other files. So it
runs in a child that is started afresh (no fork of this process and its secrets), with an empty environment, that can
open no file once its modules are loaded, and that the kernel ends when one input costs too much computing time or
memory. It serves one input after another, so that many files pay for one start. This module is also that process.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.printable import printable

MIB = 2**20
MAX_REPLY_BYTES = 64 * MIB
_KINDS = {"f8": "<f8", "f4": "<f4", "i8": "<i8", "i4": "<i4", "i2": "<i2", "i1": "<i1", "u1": "<u1", "b1": "|b1"}
_BOOT_SECONDS = 60.0
_PATIENCE = 6.0
"""Wall time for each second of computing allowed: other work may hold the processors."""


def seconds_for(size: int) -> float:
    """Computing time that an input of so many bytes may cost, s: 4, and 15 at 64 MiB."""
    return 4.0 + 11.0 * min(size / (64 * MIB), 1.0)


def memory_for(size: int) -> int:
    """Memory that an input of so many bytes may cost the child beyond what it holds itself: 160 MiB, 780 at 64 MiB."""
    return int(160 * MIB + 9.7 * min(size, 64 * MIB))


class Confined:
    """A function of this package, called in a confined child.

    One call at a time; threads wait for one another, and a process forked from this one starts a child of its own.

    Args:
        function: "module:name" of a function `(raw: bytes, name: str, **options) -> result`, where options are plain
            data and the result is made of plain data and arrays of numbers. It raises `BadInput` for what it refuses.
        preload: Modules that the function loads on use; once it serves, the child can load none.
        files: Let the child open files for reading, for libraries that come with tables of their own.
        example: Text that the function reads before the limits are set, and its options: what libraries load on first
            use is then there, and is not counted as the cost of an input.
    """

    def __init__(
        self,
        function: str,
        *,
        preload: Sequence[str] = (),
        files: bool = False,
        example: tuple[str, dict[str, Any]] | None = None,
    ) -> None:
        self._function, self._preload, self._files, self._example = function, tuple(preload), files, example
        self._lock = threading.RLock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._booted = False

    def start(self) -> None:
        """Start the child now, to load its modules while this process does something else."""
        with self._lock:
            if self._child is not None and self._pid == os.getpid() and self._child.poll() is None:
                return
            path = [str(Path(folder).absolute()) for folder in sys.path]
            path.append(str(Path(__file__).resolve().parent.parent))
            boot = json.dumps(
                {
                    "path": path,
                    "function": self._function,
                    "preload": self._preload,
                    "files": self._files,
                    "example": self._example,
                }
            )
            # the only variables: where shared libraries lie, and that numeric ones start no threads
            kept = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
            environment = {name: os.environ[name] for name in kept if name in os.environ}
            environment |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
            code = "import sys,json;b=json.loads(sys.argv[1]);sys.path[:]=b['path'];import simxrd_hf.confined as c;"
            try:
                self._child = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", code + "c.serve(b)", boot],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    cwd=Path(sys.executable).anchor,
                )
            except OSError as error:
                raise BadInput(f"no process could be started to read foreign files in ({error})") from error
            self._pid = os.getpid()
            self._booted = False
            atexit.register(self.close)

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None or self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()

    def __call__(self, raw: bytes, name: str, **options: Any) -> Any:
        """What the function gives for these bytes.

        Args:
            raw: Content of the file.
            name: What messages call it.
            **options: Plain data.

        Raises:
            BadInput: The function refused the input, crashed, or it costs too much.
        """
        with self._lock:
            self.start()
            assert self._child is not None
            request = json.dumps({"name": name, "options": options}).encode()
            limit = seconds_for(len(raw))
            try:
                if not self._booted:
                    self._exchange(b"", time.monotonic() + _BOOT_SECONDS, name)
                    self._booted = True
                head = len(request).to_bytes(8) + len(raw).to_bytes(8) + request
                reply = self._exchange((head, raw), time.monotonic() + _PATIENCE * limit, name)
            except _Ended as ended:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(0 if ended.late else 1)
                code, booted = self._child.poll(), self._booted
                self.close()
                if not booted:
                    raise RuntimeError(
                        f"the process that reads foreign files did not start (code {code}): "
                        f"{self._function.partition(':')[0]} or a module it needs cannot be loaded"
                    ) from None
                raise BadInput(_why(code, ended.late, limit, name)) from None
            except BaseException:
                self.close()  # an interrupt may have left half an answer in the pipe
                raise
            facts, values = reply
            if facts.get("leaves"):  # it holds memory that it cannot give back
                self.close()
        if "refused" in facts:
            raise BadInput(str(facts["refused"]))
        return _joined(facts["result"], values)

    def _exchange(self, data: bytes | tuple[bytes, ...], deadline: float, name: str) -> tuple[dict[str, Any], bytes]:
        """Send, and read one reply: two lengths, JSON, values."""
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        to, back = child.stdin.fileno(), child.stdout.fileno()
        if os.name == "posix":
            os.set_blocking(to, False)
            for part in (data,) if isinstance(data, bytes) else data:
                view = memoryview(part)
                while view:
                    if not select.select([], [to], [back], max(deadline - time.monotonic(), 0))[1]:
                        raise _Ended(late=True)
                    try:
                        view = view[os.write(to, view[: 1 << 16]) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        raise _Ended from None
        else:  # pipes cannot be waited for there: a timer ends a child that is late
            for part in (data,) if isinstance(data, bytes) else data:
                child.stdin.write(part)
            child.stdin.flush()
        head = self._read(back, 16, deadline)
        sizes = int.from_bytes(head[:8]), int.from_bytes(head[8:])
        if sum(sizes) > MAX_REPLY_BYTES:
            raise _Ended
        facts = json.loads(self._read(back, sizes[0], deadline))
        return facts, self._read(back, sizes[1], deadline)

    def _read(self, stream: int, size: int, deadline: float) -> bytes:
        pieces, left = [], size
        timer = None
        if os.name != "posix":
            assert self._child is not None
            timer = threading.Timer(max(deadline - time.monotonic(), 0), self._child.kill)
            timer.start()
        try:
            while left:
                if timer is None and not select.select([stream], [], [], max(deadline - time.monotonic(), 0))[0]:
                    raise _Ended(late=True)
                piece = os.read(stream, min(left, 1 << 20))
                if not piece:
                    raise _Ended(late=time.monotonic() > deadline)
                pieces.append(piece)
                left -= len(piece)
        finally:
            if timer is not None:
                timer.cancel()
        return b"".join(pieces)


class _Ended(Exception):
    def __init__(self, *, late: bool = False) -> None:
        self.late = late


def _why(code: int | None, late: bool, limit: float, name: str) -> str:
    if late or code in {-getattr(signal, "SIGPROF", 0) or None, -getattr(signal, "SIGXCPU", 0) or None}:
        return f"{name}: takes more than {limit:.0f} s to read; damaged, or made to keep a reader busy"
    if code is not None and code < 0:
        return f"{name}: damaged: the library that reads it ended with signal {-code}"
    return f"{name}: damaged: the process that reads it ended (code {code})"


def _split(result: Any, values: list[bytes]) -> Any:
    """Plain data with arrays replaced by their place among `values`."""
    import numpy as np

    if isinstance(result, np.ndarray):
        kind = result.dtype.kind + str(result.dtype.itemsize)
        if kind not in _KINDS:
            raise TypeError(f"arrays of {result.dtype} cannot be sent")
        values.append(np.ascontiguousarray(result, _KINDS[kind]).tobytes())
        return {"array": kind, "shape": list(result.shape)}
    if isinstance(result, np.generic):
        return result.item()
    if isinstance(result, dict):
        return {"dict": [[key, _split(value, values)] for key, value in result.items()]}
    if isinstance(result, list | tuple):
        return [_split(value, values) for value in result]
    return result


def _joined(result: Any, values: bytes) -> Any:
    """What `_split` took apart; the child may be in a stranger's hands, so nothing it says is believed unseen."""
    import numpy as np

    at = 0

    def join(item: Any) -> Any:
        nonlocal at
        if isinstance(item, list):
            return [join(value) for value in item]
        if not isinstance(item, dict):
            return item
        if "dict" in item:
            return {str(key): join(value) for key, value in item["dict"]}
        shape = tuple(int(n) for n in item["shape"])
        dtype = np.dtype(_KINDS[item["array"]])
        count = int(np.prod(shape, dtype=object))
        if min(shape, default=0) < 0 or at + count * dtype.itemsize > len(values):
            raise BadInput("the process that reads foreign files sent a broken answer")
        array = np.frombuffer(values, dtype, count, at).reshape(shape).copy()
        at += count * dtype.itemsize
        return array

    return join(result)


def serve(boot: dict[str, Any]) -> None:
    """The child: load, give up every right, answer until the other end is gone."""
    os.environ.clear()
    sys.path[:] = boot["path"]
    module, _, name = boot["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    for one in boot["preload"]:
        importlib.import_module(one)
    importlib.import_module("numpy")
    if boot["example"] is not None:
        text, options = boot["example"]
        function(text.encode(), "example", **options)
    limits = _Limits(files=boot["files"])
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not get between the answers
    _answer(stdout, {})
    while True:
        head = stdin.read(16)
        if len(head) < 16:
            return
        size = int.from_bytes(head[8:])
        request = json.loads(stdin.read(int.from_bytes(head[:8])))
        limits.begin(size)
        values: list[bytes] = []
        try:
            raw = stdin.read(size)
            facts: dict[str, Any] = {"result": _split(function(raw, request["name"], **request["options"]), values)}
            json.dumps(facts)
        except BadInput as error:
            facts, values = {"refused": str(error)}, []
        except MemoryError:
            most = memory_for(size) // MIB
            facts, values = {"refused": f"{request['name']}: takes more than {most} MiB of memory to read; refused"}, []
        except RecursionError:
            facts, values = {"refused": f"{request['name']}: nested too deep to be read"}, []
        except Exception as error:  # whatever a damaged file leads to in a library
            said = printable(f"{type(error).__name__}: {error}", 160)
            facts, values = {"refused": f"{request['name']}: damaged, or of a form not known here ({said})"}, []
        raw = b""
        limits.end()
        _answer(stdout, facts | {"leaves": limits.grown()}, values)


def _answer(stream: Any, facts: dict[str, Any], values: Sequence[bytes] = ()) -> None:
    text = json.dumps(facts).encode()
    stream.write(len(text).to_bytes(8) + sum(map(len, values)).to_bytes(8) + text)
    for value in values:
        stream.write(value)
    stream.flush()


class _Limits:
    """What the kernel lets the child do; nothing of it where the system has no such limits (Windows)."""

    def __init__(self, *, files: bool) -> None:
        self._statm: Any = None
        try:
            import resource
        except ImportError:
            self._resource: Any = None
            return
        self._resource = resource
        try:
            self._statm = Path("/proc/self/statm").open("rb", buffering=0)  # noqa: SIM115  stays open, see below
        except OSError:  # not Linux: the address space is not limited there, the time is
            self._statm = None
        self._page = resource.getpagesize()
        self._first = self._held()
        nothing = [resource.RLIMIT_CORE, resource.RLIMIT_FSIZE]
        if not files:
            nothing.append(resource.RLIMIT_NOFILE)  # those that are open stay so
        for limit in nothing:
            resource.setrlimit(limit, (0, 0))

    def _held(self) -> int:
        if self._statm is None:
            return 0
        self._statm.seek(0)
        return int(self._statm.read(100).split()[0]) * self._page

    def begin(self, size: int) -> None:
        if self._resource is None:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds_for(size))
        if self._statm is not None:
            hard = self._resource.getrlimit(self._resource.RLIMIT_AS)[1]
            most = self._held() + memory_for(size)
            if hard != self._resource.RLIM_INFINITY:
                most = min(most, hard)
            self._resource.setrlimit(self._resource.RLIMIT_AS, (most, hard))

    def end(self) -> None:
        if self._resource is None:
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        if self._statm is not None:
            hard = self._resource.getrlimit(self._resource.RLIMIT_AS)[1]
            self._resource.setrlimit(self._resource.RLIMIT_AS, (hard, hard))

    def grown(self) -> bool:
        """Whether more is held than an input may leave behind."""
        return self._held() > self._first + 64 * MIB
