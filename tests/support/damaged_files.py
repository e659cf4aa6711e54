"""Input files as disks, networks, other programs and attackers leave them.

`DAMAGED` is a table of over a hundred files that hold no rows that could be used: name -> suffix and bytes.
`damaged(suffix)` draws others: a sound file that was cut, or of which bytes were changed, put in or taken
out; such a file may still be sound. Neither needs a disk.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

__all__ = ["DAMAGED", "SUFFIXES", "Damaged", "damaged", "sound"]

SUFFIXES = (
    ".npy",
    ".npz",
    ".txt",
    ".jsonl",
    *([".parquet", ".arrow", ".csv"] if find_spec("pyarrow") else []),
)
"""The kinds of files that can be made here."""
VALUES = np.arange(60.0).reshape(20, 3)
HEAD = {"descr": "'<f8'", "fortran_order": "False", "shape": "(20, 3)"}


class Damaged(NamedTuple):
    """One damaged file."""

    suffix: str
    data: bytes


def npy(version: tuple[int, int] = (1, 0), body: bytes = VALUES.tobytes(), **head: str) -> bytes:
    """A `.npy` file with `head` in its header, as text: `shape="(-1,)"`."""
    said = {**HEAD, **head}
    return npy_of("{" + "".join(f"'{key}': {value}, " for key, value in said.items()) + "}", version, body)


def npy_of(text: str, version: tuple[int, int] = (1, 0), body: bytes = VALUES.tobytes()) -> bytes:
    """A `.npy` file whose header is `text`."""
    filled = text.encode("latin-1") + b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H", len(filled)) if version == (1, 0) else struct.pack("<I", len(filled))
    return b"\x93NUMPY" + bytes(version) + length + filled + body


def npz(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def parquet(columns: Mapping[str, Any], **how: Any) -> bytes:
    """A Parquet file of these columns."""
    import pyarrow
    import pyarrow.parquet

    data = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), data, **how)
    return data.getvalue()


def sound(suffix: str) -> bytes:
    """A file of 20 rows."""
    if suffix == ".npy":
        return npy()
    if suffix == ".npz":
        return npz({"x.npy": npy()}, zipfile.ZIP_DEFLATED)
    if suffix == ".txt":
        return "".join(f"line {index} café\n" for index in range(20)).encode()
    if suffix == ".jsonl":
        return "".join(f'{{"x": [{index}, 1.5]}}\n' for index in range(20)).encode()
    if suffix == ".csv":
        return "".join(f'"line, {index} café"\n' for index in range(-1, 20)).encode()
    if suffix == ".arrow":
        return _arrow()
    return parquet({"x": list(range(20))})


def _arrow() -> bytes:
    import pyarrow
    import pyarrow.feather

    data = io.BytesIO()
    table = pyarrow.table({"x": [f"line {index} café" for index in range(20)]})
    pyarrow.feather.write_feather(table, data, compression="uncompressed")
    return data.getvalue()


def _objects() -> bytes:
    data = io.BytesIO()
    np.save(data, np.array(["a", None], object), allow_pickle=True)
    return data.getvalue()


HEADERS = {
    "negative shape": npy(shape="(-1,)"),
    "two negative sizes": npy(shape="(-20, -3)"),
    "bool as a size": npy(shape="(True,)"),
    "bool among sizes": npy(shape="(20, True)"),
    "float as a size": npy(shape="(20.0, 3)"),
    "text as a size": npy(shape="('20', 3)"),
    "shape that is a number": npy(shape="60"),
    "shape of 70 axes": npy(shape=f"({'1,' * 70})"),
    "80 TB": npy(shape="(10_000_000_000_000,)"),
    "more bytes than numbers have": npy(shape=f"({10**40},)"),
    "no rows of impossible size": npy(shape=f"(0, {10**40})"),
    "one row too many": npy(shape="(21, 3)"),
    "no shape": npy(shape="()"),
    "void of no bytes": npy(descr="'|V0'"),
    "text of no bytes": npy(descr="'|S0'"),
    "unicode of no bytes": npy(descr="'<U0'"),
    "objects": npy(descr="'|O'"),
    "objects in records": npy(descr="[('a', '|O')]"),
    "pickled objects": _objects(),
    "unknown dtype": npy(descr="'zz'"),
    "dtype that is a number": npy(descr="8"),
    "negative part of a dtype": npy(descr="('<f8', (-2,))"),
    "dtype of 2 GB": npy(descr="'|V2000000000'"),
    "order that is a number": npy(fortran_order="2"),
    "no header": npy_of(""),
    "header of another key": npy_of("{'shape': (20, 3)}"),
    "header that is a list": npy_of("[1, 2]"),
    "header that is code": npy_of("__import__('os').abort()"),
    "header that is deep": npy_of("(" * 5000),
    "header that is deep and closed": npy_of("-" * 9000 + "1"),
    "header of 60,000 characters": npy_of("#" * 60_000),
    "header of nulls": npy_of("\0" * 100),
    "header that is no ASCII": npy_of("{'descr': \xff\xfe}"),
    "header that was opened": npy_of("{'descr': '<f8"),
    "header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "version 9": npy(version=(9, 0)),
    "version 0": npy(version=(0, 0)),
    "no magic": b"NUMPY?" + npy()[6:],
    "magic alone": b"\x93NUMPY",
    "empty": b"",
    "text": b"1, 2, 3\n",
    "a zip": npz({"x.npy": npy()}),
}
"""`.npy` files, and members of archives."""


def _flagged(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """A zip with `value` at an offset of each local header and of each entry of the directory."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = changed.find(mark) + offset
        changed[at : at + len(value)] = value
    return bytes(changed)


def _archives() -> Iterator[tuple[str, bytes]]:
    whole, packed = npz({"x.npy": npy()}), npz({"x.npy": npy()}, zipfile.ZIP_DEFLATED)
    yield from ((f"member: {name}", npz({"x.npy": data})) for name, data in HEADERS.items())
    yield "encrypted", _flagged(whole, 6, 8, b"\x01")
    yield "strongly encrypted", _flagged(whole, 6, 8, b"\x41")
    yield "unknown compression", _flagged(whole, 8, 10, b"\x63")
    yield "member of another size", _flagged(whole, 22, 24, struct.pack("<I", 300))
    yield "wrong checksum", whole[:200] + b"\xff" + whole[201:]
    yield "broken compression", packed[:60] + b"\xff\xff\xff" + packed[63:]
    yield "member that is no array", npz({"x.npy": npy(), "readme.txt": b"hello"})
    yield "two members of one name", npz({"x.npy": npy(), "x": npy()})
    yield "no members", npz({})
    yield "a folder", npz({"x/": b""})
    yield "no zip", b"PK\x03\x04 nothing"
    yield "a pickle", b"\x80\x04N."
    yield "empty", b""
    yield "without its directory", whole[: whole.find(b"PK\x01\x02")]


def _texts() -> Iterator[tuple[str, bytes]]:
    yield "latin-1", "café\n".encode("latin-1")
    yield "utf-16", "rows\n".encode("utf-16")
    yield "half a character", "café".encode()[:-1]
    yield "an image", b"\x89PNG\r\n\x1a\n\xff\xd8"
    yield "surrogates", b"a\xed\xa0\x80b\n"


def _tables() -> Iterator[tuple[str, bytes]]:
    whole = parquet({"x": list(range(20))})
    yield "empty", b""
    yield "magic alone", b"PAR1"
    yield "magic twice", b"PAR1PAR1"
    yield "no columns", parquet({})
    yield "missing value", parquet({"x": [1, None]})
    yield "directory of 4 GB", whole[:-8] + b"\xff\xff\xff\xff" + whole[-4:]
    yield "directory of zeros", whole[:-60] + bytes(52) + whole[-8:]
    yield "pages of zeros", whole[:4] + bytes(60) + whole[64:]
    yield "no end", whole[:-1]
    yield "lists of any length", parquet({"x": [[1], [2, 3]]})


def _cuts(suffix: str) -> Iterator[tuple[str, bytes]]:
    whole = sound(suffix)
    for tenth in range(1, 10):
        yield f"cut at {tenth} tenths", whole[: len(whole) * tenth // 10]


def _all() -> Iterator[tuple[str, Damaged]]:
    kinds = {".npy": HEADERS.items(), ".npz": _archives(), ".txt": _texts()}
    kinds |= {".parquet": _tables()} if ".parquet" in SUFFIXES else {}
    for suffix, files in kinds.items():
        cuts = [] if suffix == ".txt" else _cuts(suffix)  # a text that was cut is a text
        for name, data in (*files, *cuts):
            yield f"{suffix}: {name}", Damaged(suffix, data)


DAMAGED: Mapping[str, Damaged] = dict(_all())
"""Files that must be refused."""


def damaged(suffix: str) -> st.SearchStrategy[bytes]:
    """Sound files of a kind after one to four accidents."""
    whole = sound(suffix)

    @st.composite
    def draw_file(draw: st.DrawFn) -> bytes:
        data = whole
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(data)))
            kind = draw(st.sampled_from(["cut", "change", "put in", "take out", "flip"]))
            some = draw(st.binary(min_size=1, max_size=8))
            if kind == "cut":
                data = data[:at]
            elif kind == "change":
                data = data[:at] + some + data[at + len(some) :]
            elif kind == "put in":
                data = data[:at] + some + data[at:]
            elif kind == "take out":
                data = data[:at] + data[at + len(some) :]
            elif at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << some[0] % 8)]) + data[at + 1 :]
        return data

    return draw_file()
