"""Lists of the attributes of images, as CelebA has them, and of their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gankit.data.files import lines, named
from gankit.errors import UsageError
from gankit.files import read_regular
from gankit.options.spelling import give, nearest

__all__ = ["Attributes", "find_list", "match", "read_attributes", "read_partition"]

_NAMES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
_BELOW, _ABOVE = ("", "Anno", "Eval"), ("..", "../Anno", "../Eval", "../..", "../../Anno", "../../Eval")
_VALUES = {"1": 1, "-1": 0, "0": 0}


@dataclass
class Attributes:
    """What a list says: of each image, by its name there, whether it has each of the `names`, 1 or 0."""

    path: Path
    names: tuple[str, ...]
    rows: dict[str, tuple[int, ...]]
    problems: dict[str, list[str]] = field(default_factory=dict)
    """Lines that say nothing, by what is wrong with them."""

    def notes(self) -> list[str]:
        return [f"{self.path.name}: {len(where)} {problem}: {named(where)}" for problem, where in self.problems.items()]


def find_list(root: Path, names: Sequence[str] = _NAMES, *, above: bool = True) -> Path | None:
    """The list of the images of `root`: there, in Anno or in Eval, or in those `above`. None if there is none."""
    places = (root / place / name for place in (*_BELOW, *(_ABOVE if above else ())) for name in names)
    return next((place for place in places if place.is_file()), None)


def read_attributes(path: Path, wanted: Sequence[str]) -> Attributes:
    """The `wanted` attributes of a list: lines of a name and 1 or -1 (or 0) for each attribute.

    The first line, or the second where the first says how many there are, names the attributes. Columns are parted by
    blanks, in a ``.csv`` by commas.

    Raises:
        UsageError: it cannot be read, names no attributes, or not all of those `wanted`; or none is wanted.
    """
    table = _table(path)
    header = table[0][1] if table else []
    if len(header) == 1 and header[0].isdecimal():
        table = table[1:]
        header = table[0][1] if table else []
    usual = Counter(len(row) for _, row in table[1:]).most_common(1)
    names = header[1:] if usual and usual[0][0] == len(header) else header  # the first column may have a name, too
    columns = _columns(path, names, wanted)
    found = Attributes(path, tuple(wanted), {})
    for number, (image, *values) in table[1:]:
        where = f"line {number}"
        if len(values) != len(names):
            found.problems.setdefault(f"lines have not {len(names)} values", []).append(f"{where} ({len(values)})")
            continue
        chosen = [_VALUES.get(values[column]) for column in columns]
        if None in chosen:
            found.problems.setdefault("lines have values other than 1 and -1", []).append(where)
        elif image in found.rows:
            found.problems.setdefault("lines name an image again", []).append(f"{where} ({image})")
        else:
            found.rows[image] = tuple(value for value in chosen if value is not None)
    if not found.rows:
        raise UsageError(f"{path}: no line says what an image has; {'; '.join(found.notes()) or 'it is empty'}")
    return found


def _columns(path: Path, names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    if not names:
        raise UsageError(f"{path}: its first line names no attributes; a list as CelebA's is needed")
    listed = ", ".join(names)
    if not wanted:
        raise UsageError(f"data.attributes is not set; choose some ({give('data.attributes', names[0])}) of: {listed}")
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"data.attributes names one twice: {', '.join(wanted)}")
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"data.attributes: {path} has no attribute {name!r}{nearest(name, names) or '.'} It has: {listed}"
            )
    return [names.index(name) for name in wanted]


def read_partition(path: Path) -> tuple[dict[str, int], list[str]]:
    """Of each image, by its name, 0 (train), 1 (validation) or 2 (test); and notes on lines that say neither."""
    found: dict[str, int] = {}
    wrong: list[str] = []
    for number, row in _table(path):
        if len(row) == 2 and row[1] in ("0", "1", "2"):
            found[row[0]] = int(row[1])
        elif number > 1:  # the first may name the columns
            wrong.append(f"line {number}")
    return found, [f"{path.name}: {len(wrong)} lines are not a name and 0, 1 or 2: {named(wrong)}"] if wrong else []


def match(files: Sequence[str], listed: Mapping[str, object]) -> tuple[dict[str, str], list[str]]:
    """The name in the list of each of `files`, and notes on what has none.

    A file is listed by its path, or by its name in whatever directory, with whatever ending (CelebA's list says .jpg,
    and its aligned images are had as .png, too).
    """
    by_stem = {PurePosixPath(name).with_suffix("").as_posix(): name for name in listed}
    chosen: dict[str, str] = {}
    for file in files:
        path = PurePosixPath(file)
        if file in listed:
            chosen[file] = file
        elif path.name in listed:
            chosen[file] = path.name
        elif (name := by_stem.get(path.stem)) is not None:
            chosen[file] = name
    notes = []
    if unlisted := [file for file in files if file not in chosen]:
        notes.append(f"{len(unlisted)} images are not in the list, and left out: {named(unlisted)}")
    if missing := sorted(set(listed) - set(chosen.values())):
        notes.append(f"{len(missing)} images of the list are not there: {named(missing)}")
    return chosen, notes


def _table(path: Path) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, in columns, each with its number."""
    try:
        text = read_regular(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text ({error.reason})") from None
    numbered = enumerate(lines(text), 1)
    comma = "," if path.suffix.lower() == ".csv" else None
    split = ((number, [part.strip() for part in line.split(comma)]) for number, line in numbered)
    return [(number, parts) for number, parts in split if any(parts)]
