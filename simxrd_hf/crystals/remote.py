"""Structures from the network: OPTIMADE providers, the Materials Project, datasets on the Hugging Face Hub."""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

from simxrd_hf.crystals.cif import from_pymatgen
from simxrd_hf.crystals.standard import RawCrystal, element_symbols
from simxrd_hf.crystals.table import Rejected
from simxrd_hf.errors import BadInput

Entry = RawCrystal | Rejected

OPTIMADE_FIELDS = (
    "lattice_vectors",
    "cartesian_site_positions",
    "species_at_sites",
    "species",
    "nperiodic_dimensions",
)
_TRIES = 4
_TIMEOUT_S = 60.0
_LONGEST_WAIT_S = 30.0


def _get_json(url: str) -> Any:
    """One document over HTTP; a busy or failing server is asked again, the pause doubling or as long as it says."""
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise BadInput(f"{url}: only http and https addresses can be read")
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "simxrd_hf"})
    for attempt in range(_TRIES):
        pause = 0.5 * 2**attempt
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code not in {429, 500, 502, 503, 504}:
                raise BadInput(
                    f"{url}: the server answers {error.code} {error.reason}; check address and filter"
                ) from None
            problem = f"{error.code} {error.reason}"
            after = error.headers.get("Retry-After", "")
            pause = float(after) if after.isdigit() else pause
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            problem = str(getattr(error, "reason", error))
        except ValueError as error:
            raise BadInput(f"{url}: the answer is not JSON ({error}); is this an OPTIMADE base address?") from None
        if attempt < _TRIES - 1:
            time.sleep(min(pause, _LONGEST_WAIT_S))
    raise BadInput(
        f"{url}: no answer after {_TRIES} tries ({problem}); check the address and the network, then try again"
    )


def open_optimade(address: str, limit: int | None = None) -> tuple[int | None, Iterator[Entry]]:
    """Structures of an OPTIMADE provider (specification 1.x, https://www.optimade.org).

    Args:
        address: Base address, with or without `/v1` and `/structures`; a `?filter=…` is handed on.
        limit: How many are wanted; bounds the page size.

    Returns:
        How many the provider says it has, if it says so, and the entries.

    Raises:
        BadInput: No such provider, or an answer of another form.
    """
    parts = urllib.parse.urlsplit(address)
    path = parts.path.rstrip("/")
    if not path.endswith("/structures"):
        path += "/structures" if path.rsplit("/", 1)[-1] in {"v1", "v0"} or "/v1." in path else "/v1/structures"
    query = dict(urllib.parse.parse_qsl(parts.query))
    query.setdefault("response_format", "json")
    query.setdefault("page_limit", str(min(limit or 100, 100)))
    query["response_fields"] = ",".join(OPTIMADE_FIELDS)
    url = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, urllib.parse.urlencode(query), ""))
    source = parts.netloc
    first = _page(url)
    meta = first.get("meta")
    count = meta.get("data_returned") if isinstance(meta, dict) else None
    return (count if isinstance(count, int) else None), _optimade_pages(first, url, source)


def _page(url: str) -> dict[str, Any]:
    document = _get_json(url)
    if not isinstance(document, dict) or not isinstance(document.get("data"), list):
        raise BadInput(f"{url}: the answer is no OPTIMADE list of structures; check the base address")
    return document


def _optimade_pages(document: dict[str, Any], url: str, source: str) -> Iterator[Entry]:
    seen = {url}
    while True:
        for record in document["data"]:
            yield from_optimade(record.get("attributes") or {}, str(record.get("id")), source)
        following = (document.get("links") or {}).get("next")
        if isinstance(following, dict):
            following = following.get("href")
        if not following:
            return
        url = urllib.parse.urljoin(url, following)
        if url in seen:
            raise BadInput(f"{url}: the provider's pages lead back to an earlier one; ask for a narrower filter")
        seen.add(url)
        document = _page(url)


def from_optimade(attributes: dict[str, Any], crystal_id: str, source: str) -> Entry:
    """A structure from OPTIMADE attributes (`lattice_vectors`, `cartesian_site_positions`, `species_at_sites` …).

    Without `species` the names at the sites are taken for elements. A species "vacancy" lowers the occupancy.
    """
    lattice, positions = attributes.get("lattice_vectors"), attributes.get("cartesian_site_positions")
    names = attributes.get("species_at_sites")
    if lattice is None or positions is None or names is None:
        return Rejected(source, crystal_id, "incomplete structure: the provider gives no lattice, positions or species")
    try:
        cell = np.array(lattice, dtype=np.float64).reshape(3, 3)
        cartesian = np.array(positions, dtype=np.float64).reshape(-1, 3)
    except (TypeError, ValueError):
        return Rejected(source, crystal_id, "not periodic: lattice vectors or positions are missing or not numbers")
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6 or attributes.get("nperiodic_dimensions", 3) != 3:
        return Rejected(source, crystal_id, "not periodic: a crystal needs a cell with three periodic directions")
    if len(names) != len(cartesian):
        return Rejected(
            source, crystal_id, f"incomplete structure: {len(names)} species for {len(cartesian)} positions"
        )
    species = {entry.get("name"): entry for entry in attributes.get("species") or []}
    number_of = {symbol: z for z, symbol in enumerate(element_symbols()) if z}
    numbers, coords, occupancies = [], [], []
    for name, position in zip(names, cartesian @ np.linalg.inv(cell), strict=True):
        entry = species.get(name, {"chemical_symbols": [name], "concentration": [1.0]})
        symbols = entry.get("chemical_symbols") or [name]
        concentration = entry.get("concentration") or [1.0] * len(symbols)
        for symbol, amount in zip(symbols, concentration, strict=False):
            if symbol == "vacancy" or amount == 0:
                continue
            if symbol not in number_of:
                return Rejected(source, crystal_id, f"unknown element: species {symbol!r} is not a chemical element")
            numbers.append(number_of[symbol])
            coords.append(position)
            occupancies.append(float(amount))
    partly = any(value != 1.0 for value in occupancies)
    return RawCrystal(
        source,
        crystal_id,
        cell,
        np.array(numbers, dtype=np.int64),
        np.array(coords, dtype=np.float64).reshape(-1, 3),
        np.array(occupancies) if partly else None,
    )


def open_materials_project(query: str, limit: int | None = None) -> tuple[int | None, Iterator[Entry]]:
    """Structures of the Materials Project through its client `mp-api`.

    Args:
        query: Material ids ("mp-149,mp-13"), chemical systems ("Li-Fe-O", "*" for any element) or formulas ("Fe2O3",
            "ABO3"), separated by commas.
        limit: How many are wanted.

    Raises:
        BadInput: The client is not installed, there is no key in `MP_API_KEY`, or the service refuses.
    """
    try:
        from mp_api.client import MPRester
    except ImportError:
        raise BadInput(
            "mp: the Materials Project client is missing; install it with: pip install 'simxrd_hf[mp]'"
        ) from None
    if not (os.environ.get("MP_API_KEY") or os.environ.get("PMG_MAPI_KEY")):
        raise BadInput(
            "mp: no key for the Materials Project; get one at https://materialsproject.org/api and set MP_API_KEY"
        )
    wanted = [item.strip() for item in query.split(",") if item.strip()]
    if not wanted:
        raise BadInput("mp: say what to fetch: ids (mp:mp-149), chemical systems (mp:Li-Fe-O) or formulas (mp:Fe2O3)")
    ids = [item for item in wanted if item.split("-")[0] in {"mp", "mvc"}]
    systems = [item for item in wanted if item not in ids and "-" in item]
    formulas = [item for item in wanted if item not in ids and item not in systems]
    documents: list[Any] = []
    try:
        with MPRester(mute_progress_bars=True) as client:
            for key, values in (("material_ids", ids), ("chemsys", systems), ("formula", formulas)):
                if values and (limit is None or len(documents) < limit):
                    paging = {} if limit is None else {"num_chunks": 1, "chunk_size": min(limit - len(documents), 1000)}
                    documents += client.materials.summary.search(
                        **{key: values}, fields=["material_id", "structure"], **paging
                    )
    except Exception as error:  # the client raises its own and those of requests; the key is in none of the messages
        raise BadInput(f"mp: the Materials Project refuses {query!r}: {_without_key(str(error))}") from None
    if not documents:
        raise BadInput(f"mp: the Materials Project has nothing for {query!r}")
    return len(documents), (from_pymatgen(d.structure, "Materials Project", str(d.material_id)) for d in documents)


def _without_key(text: str) -> str:
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        key = os.environ.get(name)
        if key:
            text = text.replace(key, "***")
    return (text.splitlines() or ["no reason given"])[0][:300]


def hub_parquet(address: str) -> tuple[Any, list[str]]:
    """Parquet files of a dataset on the Hugging Face Hub.

    Args:
        address: `hf://datasets/OWNER/NAME[@REVISION][/PATH]`, the path a file or folder; all Parquet files below it.

    Returns:
        The file system and the paths in it.

    Raises:
        BadInput: No such dataset or no Parquet in it.
    """
    from huggingface_hub import HfFileSystem
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    path = address.removeprefix("hf://")
    if not path.startswith("datasets/") or path.count("/") < 2:
        raise BadInput(f"{address}: give a dataset as hf://datasets/OWNER/NAME[/FILE.parquet]")
    system = HfFileSystem(skip_instance_cache=True)
    try:
        found = [path] if path.endswith(".parquet") else sorted(system.glob(f"{path}/**/*.parquet"))
        if path.endswith(".parquet") and not system.exists(path):
            found = []
        if not found and not system.exists(path):
            raise BadInput(f"{address}: no such dataset or file on the Hub, or no right to read it (`hf auth login`)")
    except OfflineModeIsEnabled:
        raise BadInput(f"{address}: HF_HUB_OFFLINE is set; unset it to read from the Hub") from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{address}: cannot be read ({str(error).splitlines()[0][:200]})") from None
    if not found:
        raise BadInput(f"{address}: no Parquet file in this dataset; name a table with crystals")
    return system, found
