"""What a user gives to ask for samples, brought into rows of a batch as in a step: from words, files, numbers, tensors.

How each kind of key is written is ``KeyKind.written`` in `gankit.data.kinds`; the same on the command line (``--given
box=0,0,.5,.5``) and in Python (``given={"box": "0,0,.5,.5"}``, or numbers, arrays, tensors). A list, or an option that
is repeated, is several rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gankit.data.images import Fit
from gankit.data.kinds import kind_of
from gankit.data.text import encode_text
from gankit.errors import UsageError
from gankit.plugin import Key
from gankit.sampling.pictures import read_images, read_masks


@dataclass(frozen=True)
class Given:
    """`rows` (k, ...), as in a step, and what a record says of each."""

    rows: Tensor
    records: list[Any]

    def __len__(self) -> int:
        return len(self.records)


def merged(given: Mapping[str, Any] | None, **short: Any) -> dict[str, Any]:
    """`given` with what was given in a `short` form, of which None is nothing."""
    whole = dict(given or {})
    for name, value in short.items():
        if value is not None and name in whole:
            raise UsageError(f"{name} is given twice, by itself and among `given`; give it once.")
        if value is not None:
            whole[name] = value
    return whole


def from_options(options: Iterable[str]) -> dict[str, list[str]]:
    """``key=value`` options by key, the values of a key in their order."""
    given: dict[str, list[str]] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise UsageError(f"--given {option}: must be KEY=VALUE, such as --given label=3")
        given.setdefault(name, []).append(value)
    return given


def read_given(name: str, key: Key, value: Any, most: int | None = None, fit: Fit = "crop") -> Given:
    """`value`, or the values of a list, as rows of the key `name`, of images no more than `most`, made to `fit`.

    :class:`UsageError` says what is wrong with a value; :class:`gankit.data.images.ImageError` names a broken file.
    """
    if key.kind in _PICTURES:
        given = Given(*_PICTURES[key.kind](name, key.shape, _list(value, tensors=False), most, fit))
    else:
        given = _READERS[key.kind](name, key, value)
    if not len(given):
        raise UsageError(f"{name}: an empty list; give at least one {key.kind}.")
    return given


def class_index(name: str, value: object, names: Sequence[str]) -> int:
    """The class that `value` means: names come before numbers, so that "1" is the class named 1 where there is one."""
    text = value if isinstance(value, str) else _shown(value)
    if text in names:
        return names.index(text)
    if text.isdecimal() and len(text) < 20 and int(text) < len(names):  # Python reads no number of 5,000 digits
        return int(text)
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise UsageError(f"{name} {_shown(value)} is not one of the {len(names)} classes: {shown}.")


def class_word(index: int, names: Sequence[str]) -> int | str:
    """A class as a record says it: by name, as a number where the name is just that number."""
    return index if names[index] == str(index) else names[index]


def _shown(value: object) -> str:
    """`value` as it is written, or as much of it as a line holds."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of 5,000 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _classes(name: str, key: Key, value: Any) -> Given:
    chosen = [class_index(name, one, key.names) for one in _list(value)]
    return Given(torch.tensor(chosen), [class_word(index, key.names) for index in chosen])


def _texts(name: str, key: Key, value: Any) -> Given:
    texts, length = _list(value), key.shape[0]
    for text in texts:
        if not isinstance(text, str):
            raise UsageError(f"{name} {text!r}: not a text, but of type {type(text).__name__}.")
        if len(text.encode("utf-8", "replace")) > length:  # a part of it would not be read
            raise UsageError(
                f"{name} {text[:40]!r}...: longer than the {length} bytes that this run reads; shorten it."
            )
    return Given(encode_text(texts, length), texts)


def _vectors(name: str, key: Key, value: Any) -> Given:
    rows = _numbers(name, key, value)
    return Given(rows, number_records(rows))


def _boxes(name: str, key: Key, value: Any) -> Given:
    rows = _numbers(name, key, value)
    for left, top, right, bottom in rows.reshape(-1, 4).tolist():
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            box = _joined((left, top, right, bottom))
            rule = "0 <= left < right <= 1 and 0 <= top < bottom <= 1"
            raise UsageError(f"{name} {box}: not a box; left,top,right,bottom are fractions of the image: {rule}.")
    return Given(rows, number_records(rows))


def _points(name: str, key: Key, value: Any) -> Given:
    rows = _numbers(name, key, value)
    for point in rows.reshape(-1, key.shape[-1]).tolist():
        visible = len(point) < 3 or point[2] == 1
        if len(point) == 3 and point[2] not in (0, 1):
            raise UsageError(f"{name} {_joined(point)}: the third number is 1 for a visible point, or 0.")
        if visible and not all(0 <= part <= 1 for part in point[:2]):
            raise UsageError(f"{name} {_joined(point)}: x and y are fractions of the image, from 0 to 1.")
    return Given(rows, number_records(rows))


def _numbers(name: str, key: Key, value: Any) -> Tensor:
    """float32 (k, *key.shape): of text, numbers, nested lists, an array or a tensor; one row or several."""
    several = (
        list(value) if isinstance(value, Iterable) and not isinstance(value, str | Tensor | np.ndarray) else [value]
    )
    if any(isinstance(one, str) for one in several):
        rows = torch.stack([_written(name, key, one) for one in several]) if several else torch.empty(0, *key.shape)
    else:
        try:
            rows = torch.as_tensor(np.asarray(value.cpu() if isinstance(value, Tensor) else value, dtype=np.float32))
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"{name} {_shown(value)}: not {_wanted(key)}.") from None
        if tuple(rows.shape) == key.shape:
            rows = rows[None]
        elif math.prod(key.shape) == 1 and rows.dim() <= 1:  # one number a row
            rows = rows.reshape(-1, *key.shape)
        if tuple(rows.shape[1:]) != key.shape:
            raise UsageError(f"{name}: of shape {tuple(rows.shape)}, not {_wanted(key)}.")
    if not rows.isfinite().all():
        raise UsageError(f"{name}: holds a number that is not finite; give {_wanted(key)}.")
    return rows.clone()


def _written(name: str, key: Key, text: object) -> Tensor:
    """One row from ``0,0,.5,.5``."""
    parts = str(text).split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        wrong = next(part for part in parts if not _is_number(part))
        raise UsageError(f"{name} {text!r}: {wrong.strip()!r} is not a number; give {_wanted(key)}.") from None
    if len(numbers) != math.prod(key.shape):
        raise UsageError(f"{name} {text!r}: {_count(len(numbers))}; give {_wanted(key)}.")
    return torch.tensor(numbers, dtype=torch.float32).reshape(key.shape)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _wanted(key: Key) -> str:
    count = math.prod(key.shape)
    return f"{_count(count)}: {kind_of(key).written}" if key.kind != "vector" else _count(count)


def _count(number: int) -> str:
    return "1 number" if number == 1 else f"{number} numbers"


def number_records(rows: Tensor) -> list[Any]:
    """A number, or a list of them, as JSON has it, without the digits that float32 makes up."""
    flat = [[float(f"{number:.6g}") for number in row] for row in rows.reshape(len(rows), -1).tolist()]
    return [row[0] if len(row) == 1 else row for row in flat]


def _joined(numbers: Iterable[float]) -> str:
    return ",".join(f"{number:.6g}" for number in numbers)


def _list(value: Any, *, tensors: bool = True) -> list[Any]:
    """The values of a list; a value by itself is one of one. An array of numbers is a list of them."""
    if isinstance(value, Tensor | np.ndarray):
        if not tensors:
            return [value]
        numbers = value.tolist()
        return numbers if isinstance(numbers, list) else [numbers]
    if isinstance(value, list | tuple | set | frozenset | range):
        return list(value)
    return [value]


_READERS: Mapping[str, Callable[[str, Key, Any], Given]] = {
    "class": _classes,
    "text": _texts,
    "vector": _vectors,
    "box": _boxes,
    "points": _points,
}
_PICTURES: Mapping[str, Callable[..., tuple[Tensor, list[Any]]]] = {"image": read_images, "mask": read_masks}

__all__ = ["Given", "class_index", "class_word", "from_options", "merged", "read_given"]
