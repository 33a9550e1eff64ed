"""A run's directory: ``<out>/<variant>-<dataset>/0007``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from gankit.errors import GankitError, UsageError
from gankit.files import read_regular, remove, replace_text
from gankit.options.spelling import shown
from gankit.plugin import DataSpec
from gankit.runs import checkpoint
from gankit.runs.checkpoint import Checkpoint, DamagedCheckpoint
from gankit.runs.data_spec import KeptSpec, difference, read_spec, write_spec
from gankit.runs.lock import is_locked, locked
from gankit.runs.tensor_folder import ASIDE, recover

T = TypeVar("T")


class RunDir:
    """Where everything about one training is kept. `path` exists."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: str | Path, variant: str, dataset: str) -> RunDir:
        """A new, empty directory under ``out/<variant>-<dataset>`` with the next free number."""
        home = Path(out) / f"{variant}-{dataset}"
        _check_name(home)
        try:
            home.mkdir(parents=True, exist_ok=True)
            number = max((int(run.name) for run in _runs(home)), default=0)
            while True:
                number += 1
                path = home / f"{number:04d}"
                try:
                    path.mkdir()  # fails if another run took the number in between
                except FileExistsError:
                    continue
                (path / "checkpoints").mkdir()
                (path / "samples").mkdir()
                return cls(path)
        except OSError as error:
            raise UsageError(f"cannot write to {home}: {error.strerror or error}. Give another --out.") from error

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """The run at `path`, or the latest one in it if `path` is ``out/<variant>-<dataset>``."""
        path = Path(path)
        try:
            path = path.expanduser()
            _check_name(path)
            if (path / "config.toml").is_file():
                return cls(path)
            if not path.exists():
                raise UsageError(f"there is no run at {path}. A run is a directory like runs/cgan-digits/0001.")
            runs = runs_in(path) if path.is_dir() else []
        except (OSError, RuntimeError) as error:  # RuntimeError: ~ of a user that there is not
            raise UsageError(f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}") from error
        if not runs:
            raise UsageError(f"{path} is not a run: it has no config.toml, nor runs in it.")
        return runs[0]

    @property
    def store(self) -> Path:
        return self.path / "checkpoints"

    @property
    def spec(self) -> DataSpec | None:
        """What the data was that the run was made with; None if the run was made before that was kept."""
        kept = read_spec(self.path / "spec.json")
        return kept.spec if kept else None

    def keep_spec(self, spec: DataSpec, fingerprints: Mapping[str, str]) -> None:
        """Writes what the data is, if it is not known; else as :meth:`check_spec`.

        Of a run whose weights were imported without data its samples are known from when there are some.
        """
        self.check_spec(spec)
        kept = read_spec(self.path / "spec.json")
        if kept is None or (fingerprints and not kept.fingerprints):
            write_spec(self.path / "spec.json", KeptSpec(spec, fingerprints))

    def data_changes(self, fingerprints: Mapping[str, str]) -> list[str]:
        """Sentences that say which splits of the data hold other samples than when the run was made."""
        kept = read_spec(self.path / "spec.json")
        return kept.changes(fingerprints) if kept else []

    def check_spec(self, spec: DataSpec) -> None:
        """:class:`UsageError` if the data of the run was not of `spec`."""
        if (then := self.spec) is not None and (changed := difference(then, spec)):
            raise UsageError(f"the data is not what {self.path} was made with: {changed}.")

    def checkpoints(self) -> list[str]:
        """Names, oldest first."""
        try:
            names = {path.name.removeprefix(ASIDE) for path in self.store.iterdir()}
        except OSError as error:
            if not os.path.lexists(self.store):
                return []
            raise GankitError(f"{self.store} cannot be read: {error.strerror or error}. Move it away.") from error
        return sorted((name for name in names if _step(name) is not None), key=lambda name: _step(name) or 0)

    @property
    def latest(self) -> str | None:
        """Name of the newest checkpoint."""
        names = self.checkpoints()
        return named if (named := self._pointer("latest")) in names else (names[-1] if names else None)

    @property
    def best(self) -> str | None:
        """Name of the checkpoint that the variant's metric picked, if one was."""
        names, named = self.checkpoints(), self._pointer("best")
        if named is None or named in names:
            return named
        latest = self.latest  # the pointer is damaged; the newest checkpoint knows, too
        recorded = _recorded_best(self.state(latest)) if latest else None
        return recorded if recorded in names else None

    def resolve(self, name: str) -> str:
        """``best`` (the latest if none was picked), ``latest``, ``step-000500`` or ``500`` as a checkpoint's name."""
        names = self.checkpoints()
        if not names:
            raise UsageError(f"{self.path} has no checkpoint yet. Train it with: gankit resume {quote(str(self.path))}")
        if name in ("best", "latest"):
            return (self.best if name == "best" else None) or self.latest or names[-1]
        wanted = checkpoint_name(int(name)) if name.isdecimal() and len(name) < 20 else name
        if wanted not in names:
            raise UsageError(f"{self.path} has no checkpoint {shown(name)}. It has best, latest, {', '.join(names)}.")
        return wanted

    def load(self, name: str, parts: tuple[str, ...] = checkpoint.PARTS) -> Checkpoint:
        """The checkpoint `name`; if it is damaged, the error names the file and the newest intact one."""
        return self._checked(name, lambda folder: checkpoint.read(folder, parts))

    def state(self, name: str) -> dict[str, Any]:
        """What the checkpoint `name` says of itself, as :meth:`load`."""
        return self._checked(name, checkpoint.read_state)

    def _checked(self, name: str, read: Callable[[Path], T]) -> T:
        resolved = self.resolve(name)
        try:
            return read(self.store / resolved)
        except DamagedCheckpoint as error:
            intact = self.newest_intact()
            way = f"The newest intact checkpoint is {intact}: gankit resume goes on from it."
            raise DamagedCheckpoint(f"{error}\n{way if intact else 'None of the others is intact.'}") from error

    def newest_intact(self, complain: Callable[[str], None] = lambda text: None) -> str | None:
        """Name of the newest checkpoint whose files are all unaltered; `complain` is told of those that are not."""

        def verified(folder: Path) -> str:
            checkpoint.verify(folder)
            return folder.name

        return self._newest(verified, complain)

    def load_newest(self, complain: Callable[[str], None] = lambda text: None) -> Checkpoint | None:
        """The same checkpoint itself; it is looked through once."""
        return self._newest(checkpoint.read, complain)

    def _newest(self, use: Callable[[Path], T], complain: Callable[[str], None]) -> T | None:
        for name in reversed(self.checkpoints()):
            try:
                return use(self.store / name)
            except DamagedCheckpoint as error:
                complain(str(error))
        return None

    def save(self, content: Checkpoint, keep: int, *, best: bool = False) -> Path:
        """Writes a checkpoint, points ``latest`` (and ``best``) at it, removes the oldest but `keep` and the best."""
        name = checkpoint_name(content.step)
        try:
            checkpoint.write(self.store / name, content)
            replace_text(self.store / "latest", name + "\n")
            if best:
                replace_text(self.store / "best", name + "\n")
        except (GankitError, OSError) as error:
            intact = self.newest_intact()
            command = f"gankit resume {quote(str(self.path))}"
            hint = f"The last good checkpoint is {intact}: {command}" if intact else "Nothing is saved."
            raise GankitError(f"saving step {content.step} failed: {error}\n{hint}") from error
        self._prune(content.step, keep)
        return self.store / name

    def repair(self, content: Checkpoint) -> None:
        """Points ``latest`` and ``best`` where the newest checkpoint says: a kill can fall between it and them."""
        for pointer, name in (("latest", checkpoint_name(content.step)), ("best", _recorded_best(content.state))):
            if name in self.checkpoints() and self._pointer(pointer) != name:
                path = self.store / pointer
                try:
                    replace_text(path, f"{name}\n")
                except OSError as error:
                    raise GankitError(f"{path} cannot be written: {error.strerror or error}. Remove it.") from error

    def clean(self) -> None:
        """Removes what a killed process left half written, and brings back what it was about to replace."""
        for path in self.store.glob(f"{ASIDE}*"):
            recover(path.with_name(path.name.removeprefix(ASIDE)))
        for path in self.store.glob(".tmp-*"):
            remove(path)

    def preparation(self, number: int) -> Path:
        """Where the state of the `number`-th loop of a preparation is kept, until the first checkpoint is there."""
        return self.store / f"preparation-{number}"

    def remove_preparation(self) -> None:
        for path in self.store.glob("preparation-*"):
            self._remove(path)

    def relative(self, other: Path) -> str:
        """`other` as seen from this run, so that ``runs`` can be moved as a whole."""
        return Path(os.path.relpath(other, self.path)).as_posix()

    def lock(self) -> AbstractContextManager[None]:
        """Only one process trains a run at a time: :class:`UsageError` if another does."""
        return locked(self.path)

    def is_locked(self) -> bool:
        """Whether a process trains the run now, as far as that can be seen."""
        return is_locked(self.path)

    def _pointer(self, name: str) -> str | None:
        """What a pointer names: None if there is none, "" if it cannot be read."""
        try:
            return read_regular(self.store / name).decode().strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            return ""

    def _prune(self, step: int, keep: int) -> None:
        earlier = [name for name in self.checkpoints() if (_step(name) or 0) <= step]
        best = self._pointer("best")
        for name in earlier[: max(len(earlier) - keep, 0)]:
            if name != best:
                self._remove(self.store / name)

    def _remove(self, folder: Path) -> None:
        doomed = self.store / f".tmp-old-{folder.name}"  # half removed, it must not look like a checkpoint
        with suppress(OSError):  # it stays, and is in nobody's way
            folder.rename(doomed)
            remove(doomed)


def _check_name(path: Path) -> None:
    """UsageError if the bytes of a name are not UTF-8: what reads tensors back, safetensors, opens no such file."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise UsageError(f"{path} cannot be written in {encoding}\ntry: export LC_ALL=C.UTF-8") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the name is not UTF-8, and tensors could not be read back. Rename it.") from None


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def _recorded_best(state: Mapping[str, Any]) -> str | None:
    """The name of the best checkpoint, as a newer one's state has it."""
    best = state.get("best")
    step = best.get("step") if isinstance(best, Mapping) else None
    return checkpoint_name(step) if isinstance(step, int) else None


def _step(name: str) -> int | None:
    kind, _, number = name.partition("-")
    return int(number) if kind == "step" and number.isdecimal() else None


def runs_in(home: Path) -> list[RunDir]:
    """The runs in ``<out>/<variant>-<dataset>``, newest first; none if there is no such directory."""
    if not home.is_dir():
        return []
    runs = [path for path in _runs(home) if (path / "config.toml").is_file()]
    return [RunDir(path) for path in sorted(runs, key=lambda path: int(path.name), reverse=True)]


def _runs(home: Path) -> list[Path]:
    return [path for path in home.iterdir() if path.name.isdecimal() and path.is_dir()]
