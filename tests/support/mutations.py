"""Damage done to files, values and command lines, for the fuzzers in tests/fuzz: the same `Random`, the same damage."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import shutil
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

DEEP = "a mark that becomes a value nested thousands of times"
_NUMBERS = (0, -1, 1, 2**63, -(2**63), 10**15, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"))
_TEXTS = ("", "x", "\0", "\ud800", "../../up", "/", "none", "1" * 5000, "y" * 100_000, "\x1b[31m", "\u2028", "NaN")
_NESTED = ([], {}, [[]], {"": {}}, [None], [1, "2"], {"step": {}}, {"$tensor": "x"}, {"$float": "y"}, {"$pairs": [1]})
ODD: tuple[Any, ...] = (None, True, False, *_NUMBERS, *_TEXTS, *_NESTED, DEEP)
"""Values to stand where another is expected."""


def mutate_value(value: Any, random: Random) -> Any:
    """A copy of JSON or TOML's `value` in which one place is another value, is gone, doubled, renamed or moved."""
    value = copy.deepcopy(value)
    places = list(_places(value))
    if not places:
        return random.choice(ODD)
    holder, key = random.choice(places)
    kind = random.randrange(6)
    if kind <= 2:
        holder[key] = copy.deepcopy(random.choice(ODD))
    elif kind == 3:
        del holder[key]
    elif kind == 4:
        if isinstance(holder, dict):
            holder[random.choice((f"{key}x", "", "\0", "step", "9"))] = holder.pop(key)
        else:
            holder.extend([holder[key]] * random.choice((1, 1000)))
    else:
        other, name = random.choice(places)
        holder[key] = copy.deepcopy(other[name]) if other is not holder or name != key else [holder[key]]
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def dump(value: Any, random: Random) -> str:
    """`value` as JSON text; :data:`DEEP` becomes what no recursive reader gets through."""
    depth = random.choice((500, 5_000, 200_000))
    text = json.dumps(value, indent=1)
    deep = "[" * depth + "]" * depth if random.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
    return text.replace(json.dumps(DEEP), deep)


def mutate_json(path: Path, random: Random) -> None:
    """Another value somewhere in a JSON file."""
    try:
        path.write_text(dump(mutate_value(json.loads(path.read_text()), random), random))
    except (ValueError, RecursionError):  # it is damaged already
        flip_bits(path, random)


def _nested(value: Any, depth: int) -> Any:
    """`value` with real nesting, of a depth that can still be written, where :data:`DEEP` stands."""
    if value == DEEP:
        made: Any = []
        for _ in range(depth):
            made = [made] if depth % 2 else {"a": made}
        return made
    if isinstance(value, dict):
        return {key: _nested(one, depth) for key, one in value.items()}
    return [_nested(one, depth) for one in value] if isinstance(value, list) else value


def resign(path: Path, random: Random) -> None:
    """Another value somewhere in a checkpoint's ``state.json``, behind a digest that is right again."""
    try:
        state = json.loads(path.read_text())
        state.pop("digest")
        state = mutate_value(state, random)
        state = _nested(state, random.choice((50, 301, 900)))
        digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({"digest": digest, **state}))
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):  # it is damaged already
        flip_bits(path, random)


def truncate(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content) + 1)])


def flip_bits(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes()) or bytearray(1)
    for _ in range(random.choice((1, 1, 8, 200))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def insert_bytes(path: Path, random: Random) -> None:
    content = path.read_bytes()
    at = random.randrange(len(content) + 1)
    piece = random.choice(
        (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"[" * 50_000, b"9" * 6_000, b"\n", b'"', b"\x1b[2J", b"\r")
    )
    path.write_bytes(content[:at] + piece + content[at:])


def empty(path: Path, random: Random) -> None:
    path.write_bytes(random.choice((b"", b"\n", b"\0" * 512, b"\xef\xbb\xbf")))


def garbage(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(random.choice((1, 7, 8, 9, 64, 5_000))))


def remove(path: Path, random: Random) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def make_directory(path: Path, random: Random) -> None:
    remove(path, random)
    path.mkdir()
    if random.random() < 0.5:
        (path / "inside").write_text("x")


def make_pipe(path: Path, random: Random) -> None:
    remove(path, random)
    os.mkfifo(path)


def make_socket(path: Path, random: Random) -> None:
    remove(path, random)
    os.mknod(path, stat.S_IFSOCK | 0o600)


def make_loop(path: Path, random: Random) -> None:
    remove(path, random)
    path.symlink_to(path.name)


def make_link(path: Path, random: Random) -> None:
    """A link to what is endless, to what is nowhere, or to a directory."""
    remove(path, random)
    path.symlink_to(random.choice(("/dev/zero", "/dev/tty", "/nowhere/at/all", "..", "/dev/null")))


Damage = Callable[[Path, Random], None]

CONTENT: tuple[Damage, ...] = (truncate, flip_bits, insert_bytes, empty, garbage)
"""Damages to what stands in a file."""

PLACE: tuple[Damage, ...] = (remove, make_directory, make_pipe, make_socket, make_loop, make_link)
"""Damages to what a path leads to; directories can be damaged so, too."""


class Hang(BaseException):
    """An operation that did not end. No ``except Exception`` keeps it."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """:class:`Hang` is raised in what takes longer."""

    def give_up(*_: object) -> None:
        raise Hang(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def forbid_unpickling(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on unpickling is an error that nothing expects."""

    class Unpickled(BaseException):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise Unpickled

    for module, name in ((pickle, "load"), (pickle, "loads"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)


def seeds(cases: int, part: int = 0, parts: int = 1) -> range:
    """Of `cases` seeds, those of a part. ``FUZZ_CASES`` and ``FUZZ_FROM`` ask for more, or others, by hand."""
    first, count = int(os.environ.get("FUZZ_FROM", "0")), int(os.environ.get("FUZZ_CASES", cases))
    return range(first + part, first + count, parts)


def report(failures: list[str]) -> None:
    """Fails if there are any, with all of them."""
    assert not failures, f"{len(failures)} failed:\n" + "\n".join(failures)


def files_of(root: Path) -> dict[str, bytes]:
    """The content of every plain file below `root`."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


__all__ = [
    "CONTENT",
    "ODD",
    "PLACE",
    "Damage",
    "Hang",
    "at_most",
    "dump",
    "files_of",
    "forbid_unpickling",
    "mutate_json",
    "mutate_value",
    "report",
    "resign",
    "seeds",
]
