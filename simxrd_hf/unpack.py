"""How much a compressed file may unpack to, and gzip within that bound."""

import zlib

from simxrd_hf.errors import BadInput

MIB = 2**20


def unpacked_limit(size: int) -> int:
    """Bytes that a compressed file of so many bytes may unpack to: 40 times its size, at least 8 and at most 64 MiB.

    Diffraction data and structures in text shrink to a fifth or a tenth; what shrinks to a fortieth is repetition.
    """
    return min(max(8 * MIB, 40 * size), 64 * MIB)


def gunzip(raw: bytes, name: str, limit: int | None = None) -> bytes:
    """Content of a gzip file, which may have several members.

    Args:
        raw: The file.
        name: What messages call it.
        limit: Bytes it may unpack to, `unpacked_limit` by default; not one more is unpacked.

    Raises:
        BadInput: Damaged, cut short, or too large when unpacked.
    """
    limit = unpacked_limit(len(raw)) if limit is None else limit
    pieces: list[bytes] = []
    total = 0
    rest: bytes | memoryview = raw
    while rest:
        engine = zlib.decompressobj(wbits=31)
        try:
            piece = engine.decompress(rest, limit - total + 1)
        except zlib.error as error:
            if pieces and not bytes(rest[:512]).strip(b"\0"):
                break  # tapes and some servers fill up with zeros
            raise BadInput(f"{name}: damaged gzip file ({error}); fetch it again") from None
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise BadInput(
                f"{name}: unpacks to more than {limit / MIB:.0f} MiB, {len(raw) / MIB:.1f} MiB packed; refused. "
                "If it is yours, unpack it with gunzip and give the unpacked file"
            )
        if not engine.eof:
            raise BadInput(f"{name}: the gzip file is cut short; fetch it again")
        rest = engine.unused_data
    return b"".join(pieces)
