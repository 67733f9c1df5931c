"""`read_pattern`: find out by its content what a diffraction file is, read it, check it."""

import re
from collections.abc import Callable
from pathlib import Path

from simxrd_hf.errors import BadInput
from simxrd_hf.patterns.bruker import read_brml, read_raw, read_uxd
from simxrd_hf.patterns.containers import MAX_FILE_BYTES, Archive, decode
from simxrd_hf.patterns.fullprof import PRF, read_prf
from simxrd_hf.patterns.gsas import BANK, read_gsas
from simxrd_hf.patterns.guard import guarded
from simxrd_hf.patterns.nexus import read_nexus
from simxrd_hf.patterns.panalytical import read_rd, read_udf, read_xrdml
from simxrd_hf.patterns.pattern import ANODES, KALPHA_RATIO, Pattern, Range, anode_wavelength, assemble
from simxrd_hf.patterns.powder_cif import read_cif
from simxrd_hf.patterns.rigaku import read_asc, read_ras, read_rasx
from simxrd_hf.patterns.rigaku_raw import read_rigaku_raw
from simxrd_hf.patterns.spec import SCAN_HEADER, read_spec
from simxrd_hf.patterns.steps import MDI, read_cpi, read_mdi
from simxrd_hf.patterns.stoe import read_stoe
from simxrd_hf.patterns.text import read_columns

# What each format is called in messages and documentation.
FORMATS = {
    "text": "columns in text (.xy .xye .dat .csv .txt .tsv .chi, RRUFF)",
    "xrdml": "PANalytical .xrdml",
    "udf": "Philips .udf",
    "rd": "Philips .rd and .sd",
    "raw": "Bruker/Siemens .raw, versions 1-4",
    "stoe": "STOE .raw",
    "brml": "Bruker .brml",
    "uxd": "Bruker .uxd",
    "rigaku_raw": "Rigaku .raw",
    "ras": "Rigaku .ras",
    "rasx": "Rigaku .rasx",
    "asc": "Rigaku .asc",
    "gsas": "GSAS .fxye .gsas .gsa",
    "cpi": "Sietronics .cpi",
    "mdi": "JADE .mdi",
    "spec": "SPEC",
    "prf": "FullProf .prf",
    "cif": "powder CIF",
    "nexus": "NeXus/HDF5 (with h5py)",
}

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf": "7-Zip",
}

_TEXT_READERS: dict[str, Callable[[str, str, list[str]], list[Range]]] = {
    "udf": read_udf,
    "uxd": read_uxd,
    "ras": read_ras,
    "asc": read_asc,
    "gsas": read_gsas,
    "cpi": read_cpi,
    "mdi": read_mdi,
    "prf": read_prf,
}
# These hold several columns that may be the intensity.
_TABLE_READERS: dict[str, Callable[[str, str, list[str], str | None], list[Range]]] = {
    "text": read_columns,
    "spec": read_spec,
    "cif": read_cif,
}


def _text_format(text: str) -> str:
    head = text[:20_000].lstrip("\ufeff \t\r\n")
    if head.startswith("<"):
        return "xrdml"
    if head.startswith("*RAS_"):
        return "ras"
    if re.match(r"\*(TYPE|CLASS)\b", head):
        return "asc"
    if head.startswith("SampleIdent") and re.search(r"^\s*RawScan\s*$", text, re.M):
        return "udf"
    if head.upper().startswith("SIETRONICS XRD SCAN"):
        return "cpi"
    if re.search(r"^\s*_FILEVERSION", head, re.M):
        return "uxd"
    if re.search(r"^\s*data_\S*\s*$", head, re.M) and re.search(r"^\s*(_\w|loop_)", text, re.M):
        return "cif"
    if BANK.search(head):
        return "gsas"
    if MDI.match(head):
        return "mdi"
    if PRF.search(head):
        return "prf"
    if SCAN_HEADER.search(head):
        return "spec"
    return "text"


def _parse(raw: bytes, name: str, warnings: list[str], column: str | None) -> tuple[str, list[Range]]:
    """(format, ranges) of a file's bytes."""
    kind, ranges = _recognise(raw, name, warnings, column)
    if column is not None and kind not in {*_TABLE_READERS, "nexus"}:
        raise BadInput(f"{name}: {FORMATS[kind]} has one column of intensities; leave column= (--column) out")
    return kind, ranges


def _recognise(raw: bytes, name: str, warnings: list[str], column: str | None) -> tuple[str, list[Range]]:
    if raw.startswith(b"PK\x03\x04"):
        archive = Archive(raw, name)
        if any(re.fullmatch(r"Data\d+/Profile\d+\.txt", member) for member in archive.names):
            return "rasx", read_rasx(archive, name, warnings)
        if any(re.search(r"(DataContainer|RawData\d+)\.xml$", member) for member in archive.names):
            return "brml", read_brml(archive, name, warnings)
        what = "an Excel workbook" if any(m.startswith("xl/") for m in archive.names) else "a ZIP file"
        raise BadInput(f"{name}: {what}, not .brml or .rasx; export the pattern as text (.xy)")
    if raw.startswith(b"\x89HDF\r\n\x1a\n"):
        return "nexus", read_nexus(raw, name, warnings, column)
    if raw.startswith((b"RAW1.01", b"RAW4.00", b"RAW2", b"RAW ")) and b"\0" in raw[:2000]:
        return "raw", read_raw(raw, name, warnings)
    if re.match(rb"V[35][RS]D", raw):
        return "rd", read_rd(raw, name, warnings)
    if raw.startswith(b"RAW_"):
        return "stoe", read_stoe(raw, name, warnings)
    if raw.startswith(b"FI\0\0"):
        return "rigaku_raw", read_rigaku_raw(raw, name, warnings)
    packed = next((what for magic, what in _PACKED.items() if raw.startswith(magic)), None)
    if packed is not None:
        raise BadInput(f"{name}: packed by {packed}; unpack it first")
    if raw.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        raise BadInput(f"{name}: an Excel workbook or another OLE document; export the pattern as text (.xy)")
    text = decode(raw, name)
    if text.startswith("#MeasParameter"):
        raise BadInput(
            f"{name}: a scan of Seifert's RayfleX (.nja), which is not read; export the pattern as text (.xy)"
        )
    _refuse_other_spectra(text, name)
    kind = _text_format(text)
    if kind == "xrdml":
        return kind, read_xrdml(raw, name, warnings)
    if kind in _TABLE_READERS:
        return kind, _TABLE_READERS[kind](text, name, warnings, column)
    return kind, _TEXT_READERS[kind](text, name, warnings)


def _refuse_other_spectra(text: str, name: str) -> None:
    """JCAMP-DX holds spectra of all kinds; DATA TYPE says which (its units may be the default of a converter)."""
    if not re.search(r"^##\s*JCAMP-?\s?DX\s*=", text[:20_000], re.M | re.I):
        return
    kinds = [found.strip() for found in re.findall(r"^##\s*DATA\s?TYPE\s*=\s*(.+)$", text, re.M | re.I)]
    kinds = [kind for kind in kinds if kind.upper() != "LINK"]  # which holds the others
    if kinds and not any(re.search(r"diffrac|\bx-?ray|\bp?xrd\b", kind, re.I) for kind in kinds):
        raise BadInput(f"{name}: JCAMP-DX of the data type {kinds[0][:60]!r}, no diffraction pattern")


def read_pattern(
    path: str | Path,
    *,
    wavelength: float | None = None,
    anode: str | None = None,
    axis: str | None = None,
    scan: int | None = None,
    column: str | int | None = None,
) -> Pattern:
    """Read one measured powder pattern; the format is told by the content, not by the name.

    Several ranges that follow one another are joined; of several scans over the same range the first is taken (with a
    warning), declared repetitions are added up. Intensities stay as they are in the file, except that attenuators,
    monitors and counting times that change within a scan are taken out.

    Args:
        path: The file; at most 64 MiB.
        wavelength: In Å; wins over the file's.
        anode: Tube anode ("Cu", "Co", "Mo", "Fe", "Cr", "Ag") instead of a wavelength: its mean Kα.
        axis: What the x column is, where the file does not say: "two_theta" (degrees), "two_theta_radians", "d" (Å),
            "q" (Å⁻¹) or "q_nm" (nm⁻¹).
        scan: Take this scan of the file alone, counted from 0.
        column: The column of intensities in a table of text, a CIF or an HDF5 file: its name or its number, counted
            from 1.

    Returns:
        The pattern. Its `wavelength` is None where nobody named one; `Pattern.require_wavelength` then says what to do.

    Raises:
        BadInput: the file is missing, too large, of no known format, damaged, or no powder pattern; the message says
            where (line or byte offset).
    """
    path = Path(path)
    name = path.name or str(path)
    if wavelength is not None and anode is not None:
        raise BadInput("give the wavelength or the anode, not both")
    if not path.exists():
        raise BadInput(f"{path}: no such file")
    if not path.is_file():
        raise BadInput(f"{path}: not a file")
    size = path.stat().st_size
    if size == 0:
        raise BadInput(f"{name}: the file is empty")
    if size > MAX_FILE_BYTES:
        raise BadInput(
            f"{name}: {size / 2**20:,.0f} MiB; a powder pattern is far smaller, files above "
            f"{MAX_FILE_BYTES >> 20} MiB are not read"
        )
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    return guarded(raw, name, wavelength=wavelength, anode=anode, axis=axis, scan=scan, column=column)


def pattern_of(
    raw: bytes,
    name: str,
    *,
    wavelength: float | None = None,
    anode: str | None = None,
    axis: str | None = None,
    scan: int | None = None,
    column: str | int | None = None,
) -> Pattern:
    """The pattern in a file's bytes, read in this process; see `read_pattern`."""
    given = anode_wavelength(anode) if anode is not None else wavelength
    warnings: list[str] = []
    kind, ranges = _parse(raw, name, warnings, None if column is None else str(column))
    pattern = assemble(ranges, name, wavelength=given, axis=axis, scan=scan, warnings=warnings)
    metadata = {"format": kind, **{key: value for key, value in pattern.metadata.items() if value not in (None, "")}}
    if anode is not None:
        metadata["anode"] = anode.strip().capitalize()
        if pattern.metadata.get("kalpha1") is None:
            first, second = ANODES[metadata["anode"]]
            metadata |= {"kalpha1": first, "kalpha2": second, "kalpha_ratio": KALPHA_RATIO}
    return pattern.replace(metadata=metadata)
