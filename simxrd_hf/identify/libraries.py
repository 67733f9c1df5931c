"""Opens a library of known crystals by what a user calls it: the packaged one, a file, a dataset of the Hub, none."""

from pathlib import Path
from typing import Any

from simxrd_hf.errors import BadInput
from simxrd_hf.matching import LineLibrary, read_library

PACKAGED = "packaged"
"""Lines of the crystals that came from measured structures, and of the disordered ones that stand for them."""
NONE = "none"
HUB_FILE = "lines.parquet"
"""File of a library in a dataset repository, see `simxrd publish library`."""
PACKAGED_FILE = Path(__file__).parent / "library" / HUB_FILE


def open_library(name: Any) -> LineLibrary | None:
    """The library a user names.

    Args:
        name: None or "none"; "packaged"; a file of `simxrd library`; "hf://datasets/OWNER/NAME" with or without
            "@REVISION", of `simxrd publish library`; or a `LineLibrary`.

    Raises:
        BadInput: Not there, damaged, or of another version.
    """
    if name is None or isinstance(name, LineLibrary):
        return name
    text = str(name)
    if text == NONE:
        return None
    if text == PACKAGED:
        if not PACKAGED_FILE.exists():
            raise BadInput("this installation has no packaged library: name a file of `simxrd library`, or none")
        return read_library(PACKAGED_FILE)
    if text.startswith("hf:"):
        return read_library(_downloaded(text))
    return read_library(text)


def has_packaged() -> bool:
    """Whether a library came with the package."""
    return PACKAGED_FILE.exists()


def _downloaded(name: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    place = name.removeprefix("hf:").lstrip("/").removeprefix("datasets/")
    repository, _, revision = place.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadInput(f"library {name}: write it like hf://datasets/OWNER/NAME")
    try:
        return hf_hub_download(repository, HUB_FILE, repo_type="dataset", revision=revision or None)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"library {name}: cannot be had from the Hub ({reason}); name a file, or none") from error
