"""Fetches RRUFF's powder files, lists every one of them, and builds a labelled table of the measured ones.

    python -m simxrd_hf.patterns.rruff --output rruff

writes `rruff_files.csv` (each file: id, mineral, chemistry, measured or calculated, label, why it was left out) and
`rruff_patterns.parquet` (the layout `benchmarks/measured.py` reads). The files are RRUFF's: cite B. Lafuente, R. T.
Downs, H. Yang, N. Stone, "The power of databases: the RRUFF project" (2015); they carry no open licence, so the table
is for your own use.
"""

import argparse
import csv
import hashlib
import re
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simxrd_hf.errors import BadInput
from simxrd_hf.files import replacing
from simxrd_hf.patterns.containers import Archive, decode
from simxrd_hf.patterns.pattern import Pattern, assemble
from simxrd_hf.patterns.text import read_columns

BASE_URL = "https://www.rruff.net/zipped_data_files/powder/"
PROCESSED, RAW, DIF = "XY_Processed.zip", "XY_RAW.zip", "DIF.zip"
ARCHIVES = (PROCESSED, RAW, DIF)
_MAX_ARCHIVE = 2 * 2**30
_ATTEMPTS = 4
# A measured pattern's lines carry counting noise of several per cent; a calculated one is smooth up to rounding.
# The least noisy of 448 measured RRUFF patterns has 2.5 %.
_SMOOTH = 0.01


class FetchError(RuntimeError):
    """A download that did not succeed; what has arrived is kept and continued next time."""


@dataclass
class RruffFile:
    """One powder file of RRUFF.

    Attributes:
        archive: Which ZIP file.
        member: Its name there.
        rruff_id: Sample ("R040031").
        part: Number of the measurement of that sample ("1" of "R040031-1").
        mineral: Name.
        chemistry: Ideal chemistry as written.
        kind: "processed", "raw".
        measured: "measured", "calculated" (the header says so) or "smooth" (no counting noise: calculated, most
            likely).
        noise: Relative counting noise on the lines.
        wavelength: Å; None where the file gives none.
        two_theta_min: First angle, degrees.
        two_theta_max: Last angle, degrees.
        points: Number of points.
        space_group: Number, from the sample's own DIF file or those of the mineral; None without a label.
        space_group_symbol: As RRUFF writes it.
        label_basis: Where the label comes from.
        cell: a b c α β γ as written in the DIF file.
        sha256: Of the file.
        left_out: Why the file is not in the table; empty when it is.
    """

    archive: str
    member: str
    rruff_id: str = ""
    part: str = ""
    mineral: str = ""
    chemistry: str = ""
    kind: str = ""
    measured: str = ""
    noise: float | None = None
    wavelength: float | None = None
    two_theta_min: float | None = None
    two_theta_max: float | None = None
    points: int = 0
    space_group: int | None = None
    space_group_symbol: str = ""
    label_basis: str = ""
    cell: str = ""
    sha256: str = ""
    left_out: str = ""


@dataclass(frozen=True)
class Label:
    """What a DIF file says of a sample."""

    rruff_id: str
    mineral: str
    symbol: str
    number: int | None
    cell: str


def fetch(url: str, target: Path, *, attempts: int = _ATTEMPTS, pause: float = 2.0, progress: bool = False) -> Path:
    """Download a file; what arrived is kept as `<target>.part` and continued after an interruption.

    Args:
        url: Where from.
        target: Where to; an existing file is taken as it is.
        attempts: How often to try.
        pause: Seconds before the second try, doubled each time.
        progress: Show a progress bar.

    Raises:
        FetchError: no network, no such file there, or the connection broke too often; says how to go on by hand.
    """
    if target.exists():
        return target
    if not url.startswith(("https://", "http://")):
        raise BadInput(f"{url}: an http address is needed")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    problem = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        try:
            _continue(url, part, progress)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part is longer than the file there: another version of it
                part.unlink(missing_ok=True)
            problem = f"{error.code} {error.reason}"
            if error.code in {401, 403, 404, 410}:
                break
        except (urllib.error.URLError, ConnectionError, TimeoutError, EOFError) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        else:
            if zipfile.is_zipfile(part):
                part.replace(target)
                return target
            problem = "what came is no ZIP file"
            part.unlink(missing_ok=True)
    raise FetchError(
        f"{url} could not be fetched ({problem}). Try again later, the download continues where it stopped; "
        f"or fetch it with a browser into {target.parent} and run the same command"
    )


def _continue(url: str, part: Path, progress: bool) -> None:
    """Append the rest of a file to its part; raises EOFError when fewer bytes came than announced."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "simxrd_hf"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=60) as answer:
        resumed = answer.status == 206
        length = answer.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length and length.isdigit() else None
        if total is not None and total > _MAX_ARCHIVE:
            raise FetchError(f"{url} announces {total / 2**30:.1f} GiB; that is not the archive expected here")
        from tqdm import tqdm

        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                total=total,
                initial=have if resumed else 0,
                unit="B",
                unit_scale=True,
                desc=part.stem,
                disable=not progress,
            ) as bar,
        ):
            while chunk := answer.read(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))
    arrived = part.stat().st_size
    if total is not None and arrived < total:
        raise EOFError(f"the connection ended after {arrived} of {total} bytes")


_NAME = re.compile(r"(?P<mineral>[^_/\\]+)__(?P<id>[RX]\d+)(?:-(?P<part>\w+))?__", re.I)
_CALCULATED = re.compile(r"calculat|simulat|theoretical", re.I)


def _header(text: str) -> dict[str, str]:
    """`##KEY=value` (or `##KEY: value`) lines, keys in capitals."""
    facts: dict[str, str] = {}
    for line in text.splitlines()[:100]:
        found = re.match(r"##\s*([^=:]+?)\s*[=:]\s*(.*)", line)
        if found:
            facts.setdefault(found[1].upper(), found[2].strip())
    return facts


def line_noise(intensity: NDArray[Any]) -> float | None:
    """Relative point-to-point noise on the flanks of the lines (2 to 50 % of the maximum); None without enough points.

    From sixth differences: noise enters them with √924, while a line several points wide nearly vanishes.
    """
    y = np.asarray(intensity, dtype=np.float64)
    if len(y) < 50 or y.max() <= 0:
        return None
    middle = y[3:-3]
    flank = (middle > 0.02 * y.max()) & (middle < 0.5 * y.max())
    if flank.sum() < 30:
        return None
    sigma = np.median(np.abs(np.diff(y, 6))[flank]) / 0.6745 / np.sqrt(924)
    return float(sigma / np.median(middle[flank]))


@cache
def _symbols() -> dict[str, int]:
    """Symbol without blanks and underscores → number, in all settings spglib tabulates and in old spellings."""
    import spglib

    table: dict[str, int] = {}
    for hall in range(1, 531):
        kind = spglib.get_spacegroup_type(hall)
        assert kind is not None
        for symbol in (kind.international_short, kind.international_full, *kind.international.split("=")):
            plain = _plain(symbol)
            table.setdefault(plain, kind.number)
            if kind.number >= 200:
                table.setdefault(plain.replace("-", ""), kind.number)  # Fm3m for Fm-3m
            for letter in {"A": "bc", "B": "ac", "C": "ab"}.get(plain[0], "") if "e" in plain else "":
                table.setdefault(plain.replace("e", letter), kind.number)  # Cmca for Cmce (names of before 1992)
    return table


def _plain(symbol: str) -> str:
    return re.sub(r"[\s_()]", "", symbol.split(":")[0])


def space_group_number(symbol: str) -> int | None:
    """Number of a symbol as RRUFF and AMCSD write them ("P2_1/n", "*Fd3m", "C-1"); None when it is not known."""
    plain = _plain(symbol.strip().lstrip("*").rstrip("SZHRshzr*") or symbol)
    table = _symbols()
    for text in (plain, _plain(symbol)):
        if text in table:
            return table[text]
        if re.fullmatch(r"[ABCFIPR]-?1", text):  # centred triclinic cells, a mineralogists' habit
            return 2 if "-" in text else 1
        full = re.fullmatch(r"([ABCFIP])(.+)", text)
        if full and f"{full[1]}1{full[2]}1" in table:  # P1 2/m 1 spelled out without its ones, and the like
            return table[f"{full[1]}1{full[2]}1"]
    return None


def read_dif(text: str, member: str) -> Label:
    """Label and cell of a DIF file.

    Raises:
        BadInput: no space group in it.
    """
    name = _NAME.search(member)
    facts = _header(text)
    symbol = re.search(r"SPACE\s+GROUP\s*[:=]\s*(\S+(?:\s\S+){0,3}?)\s*$", text, re.M | re.I)
    cell = re.search(r"CELL\s+PARAMETERS\s*[:=]\s*([\d.\s]+)$", text, re.M | re.I)
    if not symbol:
        raise BadInput(f"{member}: no space group")
    identity = facts.get("RRUFFID") or (name["id"] if name else "")
    mineral = facts.get("NAMES") or (name["mineral"] if name else text.strip().splitlines()[0].strip())
    values = cell[1].split() if cell else []
    return Label(
        identity, mineral, symbol[1], space_group_number(symbol[1]), " ".join(values[:6]) if len(values) >= 6 else ""
    )


def read_labels(archive: Archive) -> tuple[list[Label], Counter[str]]:
    """Labels of all DIF files of an archive, and what was wrong with the others."""
    labels: list[Label] = []
    problems: Counter[str] = Counter()
    for member in _members(archive):
        try:
            label = read_dif(decode(archive.read(member), member), member)
        except BadInput:
            problems["no space group in the DIF file"] += 1
            continue
        if label.number is None:
            problems[f"space group {label.symbol} not known"] += 1
        labels.append(label)
    return labels, problems


def _members(archive: Archive) -> Iterator[str]:
    yield from sorted(n for n in archive.names if n.lower().endswith(".txt") and "__MACOSX" not in n)


def read_powder(archive: Archive, name: str) -> Iterator[tuple[RruffFile, Pattern | None]]:
    """Every file of an XY archive, with its pattern where it can be read."""
    for member in _members(archive):
        entry = RruffFile(archive=name, member=member, kind="raw" if name == RAW else "processed")
        found = _NAME.search(member)
        if found:
            entry.mineral, entry.rruff_id, entry.part = found["mineral"], found["id"].upper(), found["part"] or ""
        try:
            raw = archive.read(member)
            entry.sha256 = hashlib.sha256(raw).hexdigest()
            text = decode(raw, member)
            facts = _header(text)
            entry.mineral = facts.get("NAMES", entry.mineral)
            entry.rruff_id = facts.get("RRUFFID", entry.rruff_id)
            entry.chemistry = facts.get("IDEAL CHEMISTRY", "")
            notes: list[str] = []
            pattern = assemble(read_columns(text, member, notes), member, warnings=notes)
        except BadInput as error:
            entry.left_out = f"not readable: {str(error).removeprefix(member + ': ')}"
            yield entry, None
            continue
        entry.wavelength, entry.points = pattern.wavelength, len(pattern)
        entry.two_theta_min, entry.two_theta_max = float(pattern.two_theta[0]), float(pattern.two_theta[-1])
        entry.noise = line_noise(pattern.intensity)
        heading = " ".join(f"{k} {v}" for k, v in facts.items() if k != "URL")
        if _CALCULATED.search(heading) or _CALCULATED.search(member):
            entry.measured = "calculated"
        else:
            entry.measured = "smooth" if entry.noise is not None and entry.noise < _SMOOTH else "measured"
        yield entry, pattern


def _attach_labels(entries: Sequence[RruffFile], labels: Sequence[Label]) -> None:
    """Give each file the label of its sample, else the one all samples of its mineral agree on."""
    by_sample: dict[str, list[Label]] = defaultdict(list)
    by_mineral: dict[str, list[Label]] = defaultdict(list)
    for label in labels:
        by_sample[label.rruff_id].append(label)
        by_mineral[label.mineral.lower()].append(label)
    for entry in entries:
        own, others = by_sample.get(entry.rruff_id, []), by_mineral.get(entry.mineral.lower(), [])
        for found, basis in ((own, "DIF file of the sample"), (others, "DIF files of other samples of the mineral")):
            if not found:
                continue
            numbers = {label.number for label in found}
            entry.space_group_symbol, entry.cell = found[0].symbol, found[0].cell
            if len(numbers) == 1 and None not in numbers:
                entry.space_group, entry.label_basis = found[0].number, basis
            else:
                entry.label_basis = f"{basis} disagree" if len(numbers) > 1 else f"{basis}: symbol not known"
            break
        if not entry.left_out:
            if entry.measured != "measured":
                entry.left_out = entry.measured
            elif entry.space_group is None:
                entry.left_out = entry.label_basis or "no DIF file of the sample or the mineral"
            elif entry.wavelength is None:
                entry.left_out = "no wavelength"


def build(folder: Path, output: Path, *, progress: bool = False) -> dict[str, int]:
    """List and label the files of downloaded archives.

    Args:
        folder: Holds `XY_Processed.zip`, `XY_RAW.zip` and `DIF.zip`.
        output: Folder for `rruff_files.csv` and `rruff_patterns.parquet`.
        progress: Show a progress bar.

    Returns:
        Counts: files, patterns in the table, and files left out by reason.

    Raises:
        BadInput: an archive is missing or broken.
    """
    archives = {}
    for name in ARCHIVES:
        path = folder / name
        if not path.exists():
            raise BadInput(f"{path}: no such file; it belongs to RRUFF's powder archives ({BASE_URL}{name})")
        archives[name] = Archive(path.read_bytes(), name)
    labels, problems = read_labels(archives[DIF])
    entries: list[RruffFile] = []
    patterns: list[Pattern | None] = []
    from tqdm import tqdm

    for name in (PROCESSED, RAW):
        for entry, pattern in tqdm(
            read_powder(archives[name], name), unit="file", desc=name, disable=not progress, total=None
        ):
            entries.append(entry)
            patterns.append(pattern)
    _attach_labels(entries, labels)
    output.mkdir(parents=True, exist_ok=True)
    _write_csv(entries, output / "rruff_files.csv")
    kept = [(e, p) for e, p in zip(entries, patterns, strict=True) if not e.left_out and p is not None]
    _write_table(kept, output / "rruff_patterns.parquet")
    counts = {"files": len(entries), "patterns": len(kept), "dif_files": len(labels)}
    counts |= {f"left out: {k}": v for k, v in Counter(e.left_out.split(":")[0] for e in entries if e.left_out).items()}
    return counts | {f"labels: {k}": v for k, v in problems.items()}


def _write_csv(entries: Sequence[RruffFile], path: Path) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(RruffFile)])
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in entries)


def _write_table(kept: Sequence[tuple[RruffFile, Pattern]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from simxrd_hf.symmetry import CRYSTAL_SYSTEM_OF, SPACE_GROUPS

    numbers = [entry.space_group or 0 for entry, _ in kept]
    table = pa.table(
        {
            "source": pa.array([f"RRUFF {entry.kind}" for entry, _ in kept], pa.string()),
            "sample_name": pa.array([entry.member for entry, _ in kept], pa.string()),
            "formula": pa.array([entry.mineral for entry, _ in kept], pa.string()),
            "chemistry": pa.array([entry.chemistry for entry, _ in kept], pa.string()),
            "space_group": pa.array(numbers, pa.int64()),
            "space_group_symbol": pa.array([SPACE_GROUPS[n - 1] for n in numbers], pa.string()),
            "crystal_system": pa.array([int(CRYSTAL_SYSTEM_OF[n - 1]) + 1 for n in numbers], pa.int64()),
            "wavelength_angstrom": pa.array([entry.wavelength for entry, _ in kept], pa.float64()),
            "background": pa.array(
                ["as measured" if e.kind == "raw" else "RRUFF processed (background removed)" for e, _ in kept],
                pa.string(),
            ),
            "label_confidence": pa.array(
                ["high" if e.label_basis == "DIF file of the sample" else "medium" for e, _ in kept], pa.string()
            ),
            "label_basis": pa.array([entry.label_basis for entry, _ in kept], pa.string()),
            "two_theta": pa.array([p.two_theta.astype("f4") for _, p in kept], pa.list_(pa.float32())),
            "intensity": pa.array([p.intensity.astype("f4") for _, p in kept], pa.list_(pa.float32())),
        }
    )
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; 0 done, 1 the network failed, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m simxrd_hf.patterns.rruff", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the list, the table and the archives")
    parser.add_argument("--archives", type=Path, help="folder with the ZIP files, where they are already there")
    parser.add_argument("--url", default=BASE_URL, help="where the archives lie (default: %(default)s)")
    args = parser.parse_args(argv)
    folder = args.archives or args.output / "archives"
    show = sys.stderr.isatty()
    try:
        if args.archives is None:
            for name in ARCHIVES:
                fetch(args.url.rstrip("/") + "/" + name, folder / name, progress=show)
        counts = build(folder, args.output, progress=show)
    except FetchError as error:
        print(f"rruff: {error}", file=sys.stderr)
        return 1
    except BadInput as error:
        print(f"rruff: {error}", file=sys.stderr)
        return 2
    for key, value in counts.items():
        print(f"{value:7d}  {key}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
