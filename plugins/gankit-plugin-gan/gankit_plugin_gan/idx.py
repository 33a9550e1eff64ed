"""IDX files, the format of MNIST and its kin: a header of big-endian numbers, then bytes; gzipped or not.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits, "File formats".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from gankit.errors import UsageError
from gankit.files import open_regular

if TYPE_CHECKING:
    import numpy as np

MOST = 4 << 30
"""Bytes beyond which a header is taken for damaged; the largest set of the kind (EMNIST byclass) has 0.5 GiB."""

_GZIP, _BYTES, _PART = b"\x1f\x8b", 8, 16 << 20


class _Wrong(Exception):
    """What is wrong with a file, as the end of a sentence that its name begins."""


def read_idx(path: Path, dims: int) -> np.ndarray:
    """The unsigned bytes of an IDX file of `dims` dimensions: uint8, of the shape that its header says.

    Its first bytes tell whether it is gzipped, not its name: browsers unpack files and leave the name.

    Raises:
        UsageError: it cannot be read, is no IDX file of bytes, has another number of dimensions, or its header and
            its length differ.
    """
    try:
        with open_regular(path) as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            if not packed:
                return _parse(file, dims)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(unpacked, dims)
    except _Wrong as wrong:
        raise UsageError(f"data.root: {path} {wrong}") from None
    except EOFError:
        raise UsageError(f"data.root: {path} ends early, within its gzip stream; get it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"data.root: {path} is a damaged gzip file ({error}); get it again") from None
    except OSError as error:
        raise UsageError(f"data.root: {path} cannot be read: {error.strerror or error}") from None


def _parse(file: BinaryIO | gzip.GzipFile, dims: int) -> np.ndarray:
    import numpy as np

    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        begins = f"begins with {magic.hex(' ')}" if magic else "is empty"
        raise _Wrong(f"is no IDX file: it {begins}, and one of {dims} dimensions begins with 00 00 08 {dims:02x}")
    if magic[2] != _BYTES:
        raise _Wrong(f"holds numbers of type {magic[2]:#04x}, not bytes (0x08)")
    if magic[3] != dims:
        raise _Wrong(f"holds data of {magic[3]} dimensions where {dims} are due: are images and labels mixed up?")
    header = file.read(4 * dims)
    if len(header) < 4 * dims:
        raise _Wrong("ends within its header; get it again")
    shape = struct.unpack(f">{dims}I", header)
    size, said = math.prod(shape), f"its header says {'x'.join(map(str, shape))} bytes"
    if size == 0:
        raise _Wrong(f"holds nothing: {said}")
    if size > MOST:
        raise _Wrong(f"is damaged: {said}")
    content = _read(file, size + 1)
    if len(content) != size:
        found = f"ends early: {said}, and {len(content)} are there" if len(content) < size else f"is too long: {said}"
        raise _Wrong(f"{found}; get it again")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read(file: BinaryIO | gzip.GzipFile, most: int) -> bytearray:
    """At most so many bytes. In parts, so that a header that promises too much takes no memory."""
    content = bytearray()
    while len(content) < most and (part := file.read(min(_PART, most - len(content)))):
        content += part
    return content
