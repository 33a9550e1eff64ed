"""Where the samples of tar shards stand, as WebDataset writes them: found once, then looked up by number."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import IO

import numpy as np

__all__ = ["ENTRY", "Member", "Sample", "members", "samples", "split_name"]

ENTRY = np.dtype([("offset", "<u8"), ("length", "<u4"), ("shard", "<u4")])
"""A sample in an index: the bytes of its members, with their headers, in the shard of that number."""
_BLOCK = 512


@dataclass(frozen=True)
class Member:
    """A file in a shard: what of its sample it is (``png``, ``mask.png``), and its content."""

    extension: str
    data: bytes


@dataclass
class Sample:
    """Consecutive members of one name, in the order in which they stand in their shard."""

    name: str
    offset: int
    end: int = 0
    extensions: list[str] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)
    """By extension, the content of members that are a class."""


def split_name(member: str) -> tuple[str, str]:
    """The sample that the file `member` belongs to, and its extension: ``a/01`` and ``seg.png`` of ``a/01.seg.png``."""
    folder, slash, base = member.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def samples(shard: IO[bytes]) -> Iterator[Sample]:
    """The samples of an open shard, an uncompressed tar file. tarfile.TarError and OSError if it is none, or cut off.

    Only headers are read, and members whose extension is ``cls`` or ends in ``.cls``. Directories, links and names that
    begin with a dot are passed over.
    """
    found: Sample | None = None
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # tarfile remembers all of them
            name, extension = split_name(member.name)
            if not member.isfile() or not extension or name.rpartition("/")[2] == "":
                continue
            if found is None or found.name != name:
                if found is not None:
                    yield found
                found = Sample(name, member.offset)
            found.end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
            found.extensions.append(extension)
            if extension.rpartition(".")[2] == "cls" and member.size <= 1024:
                content = tar.extractfile(member)
                found.classes[extension] = content.read().decode("utf-8", "replace").strip() if content else ""
    if found is not None:
        yield found


def members(data: bytes) -> Iterator[Member]:
    """The members of one sample, from its bytes in a shard. tarfile.TarError if they are not that."""
    with tarfile.open(fileobj=BytesIO(data), mode="r:") as tar:
        while (member := tar.next()) is not None:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                held = content.read()
                if len(held) != member.size:
                    raise tarfile.ReadError(f"{member.name} is cut off")
                yield Member(split_name(member.name)[1], held)
