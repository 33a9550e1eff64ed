"""What a run writes while it goes: loss terms and ``log.jsonl``."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gankit.errors import GankitError
from gankit.events import TrainingDiverged
from gankit.files import open_regular
from gankit.json_file import finite, parse_object
from gankit.options.spelling import shown
from gankit.processes import ALONE, World

JUDGED = "evaluations.jsonl"
"""In a run: what ``gankit eval`` found, a line each time."""


class Meter:
    """Loss terms, and what else a variant logs, on their way from the device to the log.

    :meth:`add` only keeps the tensors; :meth:`drain` reads all of them back at once, looks for NaN and infinity among
    the loss terms, and adds them up. So a step waits for nothing, and the watch still names the step and the term.
    Of several processes of a `world`, which drain at the same steps, the means count.
    """

    def __init__(self, world: World = ALONE) -> None:
        self._world = world
        self._pending: list[tuple[int, str, dict[str, Tensor], dict[str, Tensor]]] = []
        self._sums: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, step: int, phase: str, terms: dict[str, Tensor], logged: dict[str, Tensor] | None = None) -> None:
        """The scalars of a turn: `terms` were minimised and must be finite, `logged` need not be."""
        self._pending.append((step, phase, terms, logged or {}))

    def drain(self) -> None:
        """Reads the terms back; :class:`TrainingDiverged` names the first that is not finite."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        tensors = [term for _, _, *both in pending for terms in both for term in terms.values()]
        stacked = torch.stack([t if t.dtype is torch.float32 else t.float() for t in tensors])
        values = iter((self._world.sum_(stacked) / self._world.size).tolist())
        for step, phase, terms, logged in pending:
            for name in terms:
                value = next(values)
                if not math.isfinite(value):
                    raise TrainingDiverged(f"step {step + 1}: phase {phase!r}, loss term {name!r} is {value}")
                self._count(f"{phase}/{name}", value)
            for name in logged:
                self._count(f"{phase}/{name}", next(values))

    def _count(self, key: str, value: float) -> None:
        total = self._sums.setdefault(key, [0.0, 0])
        total[0] += value
        total[1] += 1

    def means(self) -> dict[str, float]:
        """Means since the last call, keyed ``phase/term``."""
        means = {key: total / count for key, (total, count) in self._sums.items()}
        self._sums = {}
        return means

    def state_dict(self) -> dict[str, list[float | None]]:
        """The sums and counts since the last :meth:`means`, fit for JSON: a sum that is not finite is None."""
        return {key: [total if math.isfinite(total) else None, count] for key, (total, count) in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[float | None]]) -> None:
        """The reverse of :meth:`state_dict`. ValueError names what is no sum and count."""
        for key, value in state.items():
            if not _is_sum(value):
                raise ValueError(f"{shown(key)} is {shown(value)}, not a sum and a count")
        self._pending = []
        self._sums = {key: [math.nan if part is None else part for part in value] for key, value in state.items()}


def _is_sum(value: object) -> bool:
    match value:
        case [float() | int() | None as total, int() as count]:
            return not isinstance(total, bool) and not isinstance(count, bool) and count >= 1
    return False


class JsonLines:
    """``log.jsonl``: one object a line. Opened at `step`, it drops what was logged after that step."""

    def __init__(self, path: Path, step: int = 0) -> None:
        self.path = path
        try:
            if path.exists():
                open_regular(path).close()  # a pipe or a directory in its place
                _truncate_after(path, step)
            self._file = path.open("ab", buffering=0)  # what could not be written is not tried again at the end
        except OSError as error:
            raise GankitError(f"{path} cannot be written: {error.strerror or error}. Move it away.") from error

    def write(self, row: Mapping[str, Any]) -> None:
        line = memoryview((json.dumps(finite(row), allow_nan=False) + "\n").encode())
        try:
            while line:
                line = line[self._file.write(line) :]
        except OSError as error:
            error.filename = str(self.path)
            raise

    def close(self) -> None:
        self._file.close()


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Adds `row` as a line of its own, whatever the last one was left as. OSError as of writing."""
    line = json.dumps(finite(row), allow_nan=False).encode() + b"\n"
    if path.exists():
        with open_regular(path) as file:
            if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read())[1] != b"\n":
                line = b"\n" + line
    with path.open("ab", buffering=0) as file:
        file.write(line)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``log.jsonl``, up to the first line that is none: a killed process leaves a last one unfinished.

    No file is no rows. :class:`GankitError` if there is one that cannot be read.
    """
    rows = takewhile(lambda row: row is not None, log_lines(path))
    return [row for row in rows if row is not None]


def log_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """The rows of a ``log.jsonl`` one by one, None for a line that is none; otherwise as :func:`read_log`."""
    try:
        with open_regular(path) as file:
            for line in file:
                try:
                    yield parse_object(line)
                except ValueError:
                    yield None
    except FileNotFoundError:
        return
    except OSError as error:
        raise GankitError(f"{path} cannot be read: {error.strerror or error}. Move it away.") from error


def _truncate_after(path: Path, step: int) -> None:
    end = 0
    with path.open("rb+") as file:
        for line in file:
            try:
                whole = line.endswith(b"\n") and parse_object(line)["step"] <= step
            except (ValueError, KeyError, TypeError):
                whole = False
            if not whole:
                break
            end += len(line)
        file.truncate(end)
