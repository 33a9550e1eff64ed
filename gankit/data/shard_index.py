"""Where the samples of tar shards stand, as WebDataset writes them: found once, then looked up by number."""

from __future__ import annotations

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO

import numpy as np

__all__ = ["ENTRY", "Sample", "class_said", "members", "samples", "split_name"]

ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("shard", "<u4")])
"""A sample in an index: the bytes of its members, with their headers, in the shard of that number."""
_BLOCK = 512
_LONGEST = (1 << 32) - 1
_LONGEST_CLASS = 1024


@dataclass
class Sample:
    """Consecutive members of one name."""

    name: str
    offset: int
    end: int = 0
    extensions: set[str] = field(default_factory=set)
    """In lower case."""
    said: str = ""
    """The class in its member ``cls``, if it has one."""


def split_name(member: str) -> tuple[str, str]:
    """The sample that the file `member` belongs to, and its extension: ``a/01`` and ``seg.png`` of ``a/01.seg.png``."""
    folder, slash, base = member.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension


def class_said(data: bytes) -> str:
    """The class that the content of a ``.cls`` file names: its first line."""
    return next(iter(data.decode("utf-8", "replace").strip().splitlines()), "").strip()


def samples(shard: IO[bytes]) -> Iterator[Sample]:
    """The samples of an open shard, an uncompressed tar file. tarfile.TarError if it is none, is damaged or cut off.

    Headers are read, and the members ``cls``. Directories, links and names that begin with a dot are passed over.
    """
    found: Sample | None = None
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        for member in _members(tar):
            name, extension = split_name(member.name)
            if not extension or name.rpartition("/")[2] == "":
                continue
            if found is None or found.name != name:
                if found is not None:
                    yield found
                found = Sample(name, member.offset)
            found.end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
            if found.end - found.offset > _LONGEST:
                raise tarfile.ReadError(f"{found.name} is larger than 4 GiB")
            if extension.lower() == "cls":
                content = tar.extractfile(member) if member.size <= _LONGEST_CLASS else None
                found.said = class_said(content.read()) if content else ""
            found.extensions.add(extension.lower())
        # tarfile takes a damaged header for the end
        shard.seek(tar.offset)
        if shard.read(_BLOCK).strip(b"\0"):
            raise tarfile.ReadError(f"damaged at byte {tar.offset}")
    if found is not None:
        yield found


def members(data: bytes, wanted: Collection[str], *, lower: bool) -> dict[str, bytes]:
    """Of the bytes of one sample, the content of each member whose extension is `wanted`, by that; or `lower`-cased.

    tarfile.TarError if they are no sample.
    """
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
        for member in _members(tar):
            extension = split_name(member.name)[1]
            extension = extension.lower() if lower else extension
            if extension in wanted and extension not in found:
                content = tar.extractfile(member) if member.size <= len(data) else None
                held = content.read() if content else b""
                if len(held) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                found[extension] = held
    return found


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The plain files of `tar`; none of those that say they are longer than they are (sparse ones)."""
    place = -1
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile remembers all of them
        if member.size < 0 or tar.offset <= place:
            raise tarfile.ReadError(f"damaged at byte {member.offset}")
        place = tar.offset
        if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse():
            yield member
