"""What the files of a dataset are, in a string, and what has changed between two such strings. Imports no torch."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from pathlib import Path

from gankit.cache import cache_directory, keep, make_room
from gankit.data.files import state_of
from gankit.files import open_regular, read_regular

__all__ = ["difference", "fingerprint"]

_NAME, _CONTENT, _LABEL = 5, 5, 2  # bytes of each digest in a record
_RECORD = _NAME + _CONTENT + _LABEL
_ONE_BY_ONE = 4096
"""Most files of which each has a record: those whose names have the least digests."""
_WHOLE = 64 << 20
"""Files that together take more bytes are not read to their ends."""
_PART = 4096
_KEPT_FROM = 1000
"""Files of which it takes so long that the fingerprint is kept in the cache."""
_MOST_KEPT = 16 << 20
"""Bytes of all that are kept."""


def fingerprint(root: Path, files: Sequence[str], labels: Sequence[str | None], what: str = "class") -> str:
    """A line that says which `files` (below `root`) there are, what is in them, and the label of each, a `what`.

    It depends on names relative to `root` and on contents, not on dates: a copy has the same. If the files take more
    than 64 MiB, only the first, middle and last 4 KiB of each are read. At most some 65 KB: of more than 4,096 files
    each counts, but no more than that many are told apart by :func:`difference`.
    """
    if len(files) < _KEPT_FROM:
        return _made(root, files, labels, what)
    known = (
        os.path.realpath(root),
        what,
        [(f, state_of(root / f), label) for f, label in zip(files, labels, strict=True)],
    )
    key = _digest(repr(known).encode("utf-8", "surrogatepass"), 16).hex()
    if (kept := _kept(key)) is None:
        kept = _made(root, files, labels, what)
        _keep(key, kept)
    return kept


def _made(root: Path, files: Sequence[str], labels: Sequence[str | None], what: str) -> str:
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(_size, repeat(root), files))
        whole = sum(sizes) <= _WHOLE
        contents = list(pool.map(_content, repeat(root), files, sizes, repeat(whole)))
    records = sorted(
        _digest(name.encode("utf-8", "surrogateescape"), _NAME)
        + content
        + _digest((label or "").encode("utf-8", "surrogatepass"), _LABEL)
        for name, content, label in zip(files, contents, labels, strict=True)
    )
    all_of_them = _digest(b"".join(records), 16).hex()
    return f"files {what} {len(files)} {all_of_them} {base64.b85encode(b''.join(records[:_ONE_BY_ONE])).decode()}"


def _kept(key: str) -> str | None:
    """What was made of the same files, unchanged since; None if there is nothing, or it is damaged."""
    try:
        sum_of_it, _, kept = read_regular(cache_directory() / "fingerprints" / key).decode().partition("\n")
    except (OSError, ValueError):
        return None
    return kept if sum_of_it == _digest(kept.encode(), 16).hex() else None


def _keep(key: str, made: str) -> None:
    content = f"{_digest(made.encode(), 16).hex()}\n{made}".encode()
    try:
        folder = cache_directory() / "fingerprints"
        folder.mkdir(parents=True, exist_ok=True)
        if not make_room(folder, len(content), _MOST_KEPT):
            keep(folder / key, content)
    except OSError:  # then it is made anew each time
        return


def difference(then: str, now: str) -> str:
    """What has changed between two fingerprints of a dataset, in words; empty if nothing has, or nothing is known.

    ``3 are new, 1 is gone, 2 are replaced by others, 4 have another class``. Of fingerprints that :func:`fingerprint`
    did not make: that they differ.
    """
    if then == now or not then or not now:
        return ""
    try:
        before, after = _Files.parse(then), _Files.parse(now)
    except ValueError:
        return "they were changed since"
    changes = _changes(before, after)
    if max(before.count, after.count) <= _ONE_BY_ONE:
        return changes or "they were changed since"
    told = f"there were {before.count} and are {after.count}" if before.count != after.count else "some have changed"
    return f"{told}; of {_ONE_BY_ONE} looked at one by one: {changes}" if changes else told


@dataclass(frozen=True)
class _Files:
    """What a fingerprint says."""

    what: str
    count: int
    known: dict[bytes, tuple[bytes, bytes]]
    """Digests of content and label, by that of the name."""

    @classmethod
    def parse(cls, line: str) -> _Files:
        """ValueError if it is no fingerprint of files."""
        kind, what, count, _, coded = line.split(" ")
        data = base64.b85decode(coded)
        if kind != "files" or len(data) % _RECORD:
            raise ValueError(line)
        records = (data[at : at + _RECORD] for at in range(0, len(data), _RECORD))
        return cls(what, int(count), {r[:_NAME]: (r[_NAME : _NAME + _CONTENT], r[_NAME + _CONTENT :]) for r in records})


def _changes(before: _Files, after: _Files) -> str:
    then, now = before.known, after.known
    both = then.keys() & now.keys()
    gone = Counter(then[name] for name in then.keys() - both)
    new = Counter(now[name] for name in now.keys() - both)
    renamed = gone & new
    left, came = (Counter(content for content, _ in found.elements()) for found in (gone - renamed, new - renamed))
    moved = left & came
    relabelled = sum(then[name][0] == now[name][0] and then[name][1] != now[name][1] for name in both)
    counts = {
        "is new|are new": (came - moved).total(),
        "is gone|are gone": (left - moved).total(),
        "is replaced by another|are replaced by others": sum(then[name][0] != now[name][0] for name in both),
        "is renamed|are renamed": renamed.total(),
        f"has another {after.what}|have another {after.what}": moved.total() + relabelled,
    }
    return ", ".join(f"{n} {words.split('|')[n != 1]}" for words, n in counts.items() if n)


def _size(root: Path, file: str) -> int:
    try:
        return os.stat(root / file).st_size
    except OSError:
        return 0


def _content(root: Path, file: str, size: int, whole: bool) -> bytes:
    """Digest of what is in a file; of one that cannot be read, of nothing."""
    try:
        with open_regular(root / file) as opened:
            if whole or size <= 3 * _PART:
                parts = [opened.read()]
            else:
                parts = [os.pread(opened.fileno(), _PART, at) for at in (0, size // 2, size - _PART)]
    except OSError:
        parts = []
    return _digest(b"%d:" % size + b"".join(parts), _CONTENT)


def _digest(content: bytes, size: int) -> bytes:
    return blake2b(content, digest_size=size).digest()
