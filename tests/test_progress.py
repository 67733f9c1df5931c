"""Bars: at once on a terminal, in a log only for what takes long, never where nobody asked."""

import io

import pytest

from simxrd_hf import progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch):
    def of(stream: io.StringIO, *, show: bool = True, patience: float = 30.0) -> str:
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setattr(progress, "_PATIENCE", patience)
        assert list(progress.bar(range(3), show=show, mininterval=0.0, miniters=1, desc="lines")) == [0, 1, 2]
        return stream.getvalue()

    return of


def test_terminal_shows_it_at_once(written) -> None:
    assert "lines: 100%" in written(_Terminal())


def test_log_says_nothing_of_what_is_short(written) -> None:
    assert written(io.StringIO()) == ""


def test_log_says_how_far_what_takes_long_is(written) -> None:
    assert "lines: 100%" in written(io.StringIO(), patience=0.0)


@pytest.mark.parametrize("stream", [_Terminal, io.StringIO])
def test_nothing_where_nobody_asked(written, stream) -> None:
    assert written(stream(), show=False, patience=0.0) == ""
