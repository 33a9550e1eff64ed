"""Which IDX files of a directory are those of a split: MNIST, Fashion-MNIST and KMNIST by one name, EMNIST by parts."""

from __future__ import annotations

import re
import string
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from gankit.errors import UsageError
from gankit.options.spelling import give
from gankit_plugin_gan.root import names_in, not_found

DIGITS = tuple(string.digits)
_MERGED = (*string.digits, *string.ascii_uppercase, *"abdefghnqrt")
EMNIST = {
    "byclass": (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase),
    "bymerge": _MERGED,
    "balanced": _MERGED,
    "letters": tuple(string.ascii_lowercase),
    "digits": DIGITS,
    "mnist": DIGITS,
}
"""The classes of each part of EMNIST (Cohen et al. 2017); in the merged ones C stands for c, too."""

_NAME = re.compile(
    r"(?:emnist-(?P<part>[a-z]+)-)?(?P<split>train|t10k|test)-(?P<what>images|labels)[-.]idx[13][-.]ubyte(?:\.gz)?",
    re.IGNORECASE,
)
_GET = (
    "Get the IDX files, gzipped or not: train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
    "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz (of EMNIST emnist-PART-train-images-idx3-ubyte.gz, ...)"
)

_Found = dict[tuple[str, str], str]
"""Names of files by split and by what they hold."""


@dataclass(frozen=True)
class IdxFiles:
    """The files of one split, and how they are to be read."""

    images: Path
    labels: Path
    names: tuple[str, ...]
    """Of the classes."""
    first: int
    """The label that stands for the first class: 1 in EMNIST's letters."""
    transposed: bool
    """Whether rows are stored as columns, as EMNIST does."""


def find(root: Path, part: str | None, split: str) -> IdxFiles:
    """The files of a split of the set in `root`, or of the `part` of EMNIST.

    Raises:
        UsageError: there are none, some are missing, or EMNIST is there in several parts and none was chosen.
    """
    sets = _sets(root)
    if not sets:
        raise not_found(root, lambda name: _NAME.fullmatch(name) is not None, _GET)
    part = _choose(root, sets, part)
    found = sets[part]
    due = [(of, what) for of in ("train", "test") for what in ("images", "labels")]
    if missing := [f"the {what} of the {of} split" for of, what in due if (of, what) not in found]:
        raise UsageError(f"data.root: {root} has {_called(part)}, but lacks {' and '.join(missing)}. {_GET}")
    return IdxFiles(
        root / found[split, "images"],
        root / found[split, "labels"],
        EMNIST[part] if part else DIGITS,
        int(part == "letters"),
        part is not None,
    )


def _sets(root: Path) -> dict[str | None, _Found]:
    """What is there, by part of EMNIST; None for the others. Of a file and its gzipped form the first of the names."""
    sets: dict[str | None, _Found] = defaultdict(dict)
    for name in names_in(root):
        if match := _NAME.fullmatch(name):
            part = match["part"].lower() if match["part"] else None
            if part is None or part in EMNIST:
                split = "train" if match["split"].lower() == "train" else "test"
                sets[part].setdefault((split, match["what"].lower()), name)
    return sets


def _choose(root: Path, sets: dict[str | None, _Found], part: str | None) -> str | None:
    there = ", ".join(map(_called, sets))
    if part is not None and part not in sets:
        raise UsageError(f"data.emnist = {part!r}: {root} holds {there}, not {_called(part)}")
    if part is not None or None in sets:
        return part
    if len(sets) > 1:
        raise UsageError(
            f"data.root: {root} holds {there}: choose one, such as {give('data.emnist', min(map(str, sets)))}"
        )
    return next(iter(sets))


def _called(part: str | None) -> str:
    return f"EMNIST {part}" if part else "a set of the names of MNIST"
