"""numba's `njit` with a cache that works where people run it: read-only packages, no home, damaged or full caches.

numba refuses to import a cached function when it finds no folder to keep the code in (containers, Spaces, another
user's installation), and a cut-off cache file ends the program. Here the cache falls back to a private temporary
folder, then to none, and entries that cannot be read are made again.
"""

import contextlib
import gc
import mmap
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, codegen, compiler, event, types
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import CPUDispatcher


def _private_folder() -> Path | None:
    """A temporary folder that only this user can write to: what lies in a cache is run."""
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"simxrd_hf-numba-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if mine else None


class _TemporaryLocator(caching.UserWideCacheLocator):  # type: ignore[misc]
    """The cache in a temporary folder, where neither the package's nor the user's can be written."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        folder = _private_folder()
        if folder is None:
            raise PermissionError("no private temporary folder")
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        self._cache_path = str(folder / self.get_suitable_cache_subpath(py_file))

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_TemporaryLocator | None":
        """A locator, or None where no such folder can be had."""
        try:
            self = cls(py_func, py_file)
            self.ensure_cache_path()
        except OSError:
            return None
        return self


_announced = mmap.mmap(-1, 1)  # a byte that processes forked from this one share


def silence() -> None:
    """Say nothing of compilation in this process: for workers, whose parent has said it."""
    _announced[0] = 1


def _announce(folder: str) -> None:
    """One line on standard error, once in a process, when code has to be compiled first."""
    if not _announced[0] and sys.__stderr__ is not None:
        _announced[0] = 1
        print(
            "simxrd_hf: compiling for this processor, as after each installation; this takes up to half a minute once, "
            f"the code is kept in {folder}",
            file=sys.__stderr__,
            flush=True,
        )


class _Pause(event.Listener):  # type: ignore[misc]
    """No garbage collection while numba compiles: it took an eighth of the time and found next to nothing."""

    def __init__(self) -> None:
        self.depth = 0
        self.was_on = False

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.was_on = gc.isenabled()
            gc.disable()
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0 and self.was_on:
            gc.enable()


event.register("numba:compile", _Pause())  # numba holds its lock meanwhile: one thread at a time


def _with_room(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function whose own calls, however deep, find their frames in one piece of memory.

    Frames lie in pieces of 16 kB. A loop that calls across the end of one asks the system for the next piece at every
    turn and gives it back (CPython 3.11 and 3.12, gh-142183), and numba's deep calls do so all the time
    (`findings/numba-frame-chunks.sh`). A piece is as large as the frame that opens it needs, doubled; that of this
    function takes a little more than half of a MiB, and leaves the rest to those it calls. Memory that nobody touches
    costs nothing.
    """
    return function(*args)


_with_room.__code__ = _with_room.__code__.replace(co_stacksize=2**16 + 512)  # objects of 8 bytes


class _Impl(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (*caching.CompileResultCacheImpl._locator_classes, _TemporaryLocator)


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    """numba's cache of one function, whose faults cost time, not the program."""

    _impl_class = _Impl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # whatever half a pickle leads to
            with contextlib.suppress(OSError):
                self.flush()
        if found is None:
            _announce(self.cache_path)
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):  # full, read-only since, or damaged
            super().save_overload(sig, data)


class _PartLibrary(codegen.JITCodeLibrary):  # type: ignore[misc]
    """Code that is only ever linked into that of a kernel: optimised and made machine code there, not before."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _PartCompiler(_FunctionCompiler):  # type: ignore[misc]
    def _compile_core(self, args: Any, return_type: Any) -> Any:
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        typing, target = self.targetdescr.typing_context, self.targetdescr.target_context
        library = _PartLibrary(target.codegen(), self.py_func.__qualname__)
        made = compiler.compile_extra(
            typing, target, self.py_func, args, return_type, flags, self.locals, library, self.pipeline_class
        )
        if made.typing_error is not None:
            raise made.typing_error
        entry = list[Any]().append  # never called, but callers know a function by it, and no other is the same
        target.insert_user_function(entry, made.fndesc, [library])
        return made._replace(entry_point=entry)


class _Kernel(CPUDispatcher):  # type: ignore[misc]
    """A function that Python calls as any other, and that kernels take in by a version of it that nobody else calls.

    numba makes of every function that a kernel calls, and of those that they call, a program of its own first:
    optimised once more, as machine code, with a way in for Python. A first use would wait for all of these.
    """

    part: Any

    def compile(self, sig: Any) -> Any:
        return _with_room(super().compile, sig)

    @property
    def _numba_type_(self) -> Any:
        return types.Dispatcher(self.part)


def njit(function: Callable[..., Any] | None = None, *, cache: bool = False, **options: Any) -> Any:
    """`numba.njit`, to decorate with or without options; see there.

    Args:
        function: What to compile.
        cache: Keep the compiled code on disk, where that can be done.
        **options: For numba.
    """
    options = {"no_cfunc_wrapper": True, **options}  # nothing is called from C, and each takes time
    decorator = numba.njit(**options)  # at once, so that options it does not know fail where they are given

    def decorate(function: Callable[..., Any]) -> Any:
        made = decorator(function)
        if numba.config.DISABLE_JIT:
            return made
        made.__class__, made.part = _Kernel, decorator(function)
        made.part._compiler.__class__ = _PartCompiler
        if cache:
            with contextlib.suppress(RuntimeError, OSError):  # no folder at all: compiled anew each time
                made._cache = _Cache(function)
        return made

    return decorate if function is None else decorate(function)
