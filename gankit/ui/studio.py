"""What the page draws, translates and interpolates: the same calls as the commands', into files that it offers."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from gankit.api import open_run
from gankit.data.files import SUFFIXES
from gankit.data.image_files import write_image
from gankit.errors import GankitError, UsageError
from gankit.report import make_report
from gankit.run import Run
from gankit.sampling.conditions import choose
from gankit.sampling.samples import Samples
from gankit.ui import asking
from gankit.ui.asking import Control
from gankit.ui.runs import Runs

KEPT = 100
"""Results whose files are kept; older ones are removed."""
PLAIN = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
"""What names of files end in that every browser shows."""


@dataclass(frozen=True)
class Drawn:
    """What was drawn."""

    shown: list[Path]
    """The sheet, if samples are images, then figures."""
    each: list[tuple[Path, str]]
    """Each sample that is an image, and what it was asked with."""
    file: Path
    """What the command writes."""
    command: str
    note: str = ""


@dataclass(frozen=True)
class Changed:
    """An image and what became of it."""

    before: Path
    after: Path
    file: Path
    """As it is to be kept: `after` may be a copy that a browser shows."""
    command: str


class Studio:
    """Draws from `runs` on `device`, one thing at a time. Files are written below `scratch`."""

    def __init__(self, runs: Runs, scratch: Path, device: str = "auto") -> None:
        self.runs = runs
        self._scratch = scratch
        self._device = device
        self._turn = threading.Lock()
        self._kept: list[Path] = []
        self._open: tuple[object, Run] | None = None

    def open(self, name: object) -> Run:
        """The run of that name. The last one is kept with its networks, while its options are what they were."""
        directory = self.runs.open(name)
        try:
            touched = (directory.path / "config.toml").stat()
        except OSError as error:
            raise UsageError(f"{directory.path} was removed, or cannot be read.") from error
        mark = (directory.path, touched.st_mtime_ns, touched.st_ino)
        if self._open is None or self._open[0] != mark:
            self._open = (mark, open_run(directory.path))
        return self._open[1]

    def sample(
        self, name: object, to: object, checkpoint: object, values: Sequence[Any], n: object, seed: object
    ) -> Drawn:
        """As ``gankit sample``. `values` are those of the controls of `to`."""
        n, seed = asking.whole("count", n, 1, asking.MOST_SAMPLES), _seed(seed)
        with self._turn:
            run, produces, key = self._asked(name, to)
            controls = asking.controls(run.variant, run.spec, key)
            asked = asking.given(controls, values)
            saved = run.directory.resolve(_word(checkpoint))
            samples = run.sample(n, given=asked, to=produces, seed=seed, checkpoint=saved, device=self._device)
            options = asking.as_options(asked, _pictures(controls))
            words = {"n": n, "given": options, "to": produces, "seed": seed, "checkpoint": saved}
            return self._drawn("sample", run, samples, words)

    def interpolate(
        self,
        name: object,
        to: object,
        checkpoint: object,
        values: Sequence[Any],
        between: object,
        texts: object,
        images: object,
        rows: object,
        frames: object,
        seed: object,
    ) -> Drawn:
        """As ``gankit interpolate``, `between` codes, captions (`texts`, one a line) or `images`, files."""
        rows, frames = asking.whole("rows", rows, 1, asking.MOST_ROWS), asking.whole("frames", frames, 2, 16)
        seed = _seed(seed)
        with self._turn:
            run, produces, key = self._asked(name, to)
            controls = asking.controls(run.variant, run.spec, key)
            can = asking.offers(run.variant, run.spec, key).between
            if not can:
                raise UsageError(f"{run.config.variant} has nothing to go between.")
            way = asking.chosen("between", between, can)
            asked = asking.given(controls, values)
            if way == "captions":
                asked.pop(asking.TEXT, None)
            saved = run.directory.resolve(_word(checkpoint))
            lines = asking.lines("captions", texts) if way == "captions" else []
            if way == "captions" and len(lines) < 2:
                raise UsageError("give two captions or more to go between, one a line.")
            files = _files(images) if way == "images" else None
            samples = run.interpolate(
                files,
                texts=lines if way == "captions" else (),
                rows=rows,
                frames=frames,
                given=asked,
                to=produces,
                seed=seed,
                checkpoint=saved,
                device=self._device,
            )
            options = asking.as_options(asked, _pictures(controls))
            words: dict[str, Any] = {"n": rows if way == "codes" else None, "frames": frames, "text": lines}
            words |= {"given": options, "to": produces, "seed": seed, "checkpoint": saved}
            return self._drawn("interpolate", run, samples, words, [file.name for file in files or ()])

    def change(
        self,
        name: object,
        to: object,
        checkpoint: object,
        values: Sequence[Any],
        how: object,
        image: object,
        fit: object,
        size: object,
        seed: object,
    ) -> Changed:
        """As ``gankit translate`` or ``reconstruct`` (`how`). `values` are those of the controls beside the image."""
        way: Any = asking.chosen("how", how, ("translate", "reconstruct"))
        fitted: Any = asking.chosen("fit", fit, ("stretch", "tiles"))
        sized: Any = asking.chosen("size", size, ("input", "model"))
        seed = _seed(seed)
        source = asking.picture("image", image)
        if source.suffix.lower() not in SUFFIXES:
            endings = " ".join(sorted(SUFFIXES))
            raise UsageError(f"{source.name}: not the name of an image; let it end in one of {endings}.")
        with self._turn:
            run, produces, key = self._asked(name, to)
            controls = self.beside(run, key)
            asked = asking.given(controls, values)
            saved = run.directory.resolve(_word(checkpoint))
            folder = self._folder()
            target = folder / f"{source.stem[:80]}-{way}d.png"
            (pair,) = run.change_files(
                way,
                source,
                target,
                given=asked,
                to=produces,
                size=sized,
                fit=fitted,
                seed=seed,
                checkpoint=saved,
                device=self._device,
            )
            if pair.error:
                raise UsageError(pair.error.replace(str(source), source.name))
            words = {"given": asking.as_options(asked, _pictures(controls)), "to": produces, "size": sized}
            words |= {"fit": fitted, "seed": seed, "checkpoint": saved}
            line = asking.command(way, run.path, source.name, target.name, **words)
            return Changed(self._shown(source, folder), target, target, line)

    @staticmethod
    def beside(run: Run, produces: str) -> list[Control]:
        """Controls of what is asked for beside the image that is changed."""
        source = asking.offers(run.variant, run.spec, produces).source or produces
        return [one for one in asking.controls(run.variant, run.spec, produces) if one.name != source]

    def report(self, name: object) -> Path:
        """The page about a run, made now."""
        run = self.runs.open(name)
        for path in (*run.path.glob("*"), *run.path.glob("samples/*")):
            if path.is_symlink() and not self.runs.inside(path):
                raise UsageError(
                    f"{path} is a link that leads out of the runs: see gankit report {quote(str(run.path))}"
                )
        with self._turn:
            return make_report([run.path], self._folder() / "report.html").path

    def _asked(self, name: object, to: object) -> tuple[Run, str | None, str]:
        """The run, what of ``Variant.produces`` is asked for (None where there is no choice), and the key drawn."""
        run = self.open(name)
        known = run.variant.produces
        produces = asking.chosen("to", to, known) if len(known) > 1 else None
        return run, produces, choose(run.variant, produces)

    def _drawn(
        self, what: str, run: Run, samples: Samples, words: Mapping[str, Any], arguments: Sequence[str] = ()
    ) -> Drawn:
        folder = self._folder()
        stem = f"{run.config.variant}-{run.config.dataset}-{run.path.name}-{what}"
        out = folder / f"{stem}{'.png' if samples.are_images else '.csv'}"
        files = samples.save(out)
        each = []
        if samples.are_images and samples.images.shape[1] in (1, 2, 3, 4):
            for index, (image, record) in enumerate(zip(samples.images, samples.records, strict=True)):
                file = folder / f"{stem}-{index:03d}.png"
                write_image(file, image, overwrite=True, opacity=False)
                each.append((file, _caption(record)))
        line = asking.command(what, run.path, *arguments, **words, out=out.name)
        shown = [file for file in files if file.suffix == ".png"]
        return Drawn(shown, each, out, line, samples.note)

    def _folder(self) -> Path:
        """A new folder for what is written; the oldest goes where there are many."""
        folder = self._scratch / secrets.token_hex(8)
        folder.mkdir()
        self._kept.append(folder)
        while len(self._kept) > KEPT:
            shutil.rmtree(self._kept.pop(0), ignore_errors=True)
        return folder

    @staticmethod
    def _shown(source: Path, folder: Path) -> Path:
        """`source`, or a PNG of it where a browser may not show its format."""
        if source.suffix.lower() in PLAIN:
            return source
        from gankit.data.images import load

        shown = folder / f"{source.stem[:80]}.png"
        try:
            load(source, 3).save(shown)
        except GankitError:
            return source
        return shown


def _seed(value: object) -> int:
    return asking.whole("seed", value, 0, asking.LAST_SEED)


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 100:
        raise UsageError("choose a checkpoint: best, latest or the name of one.")
    return value


def _pictures(controls: Sequence[Control]) -> list[str]:
    return [control.name for control in controls if control.how == "picture"]


def _files(images: object) -> list[Path]:
    if not isinstance(images, list | tuple) or not 2 <= len(images) <= asking.MOST_ROWS + 1:
        raise UsageError(f"give two images or more to go between, {asking.MOST_ROWS + 1} at most.")
    return [asking.picture("image", image) for image in images]


def _caption(record: Mapping[str, Any]) -> str:
    """What a sample was asked with, short."""
    told = (f"{name} {value}" for name, value in record.items() if name not in ("seed", "index"))
    text = ", ".join(told)
    return text if len(text) <= 80 else f"{text[:77]}..."


__all__ = ["Changed", "Drawn", "Studio"]
