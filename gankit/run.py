"""A training on disk, in Python: draw from it, go on with it, judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from gankit.data.source import DataSource
from gankit.device import resolve_device
from gankit.errors import UsageError
from gankit.evaluate import Standard, evaluate
from gankit.events import Note, OnEvent, ignore
from gankit.options.resolve import Resolved
from gankit.options.spelling import given_as, in_file
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.processes import joined
from gankit.report import report_of
from gankit.runs.directory import RunDir
from gankit.runs.log import read_log
from gankit.sampling.drawer import Drawer
from gankit.sampling.file_pairs import Existing, FilePair, file_pairs
from gankit.sampling.given import merged
from gankit.sampling.interpolate import interpolate
from gankit.sampling.samples import Samples
from gankit.sampling.translate import change, reconstruction, translation
from gankit.sampling.translate_files import Fit, Size, change_files
from gankit.training.changes import config_changes, explained
from gankit.training.leading import TrainedRun, follow, lead
from gankit.training.networks import build_networks, load_saved
from gankit.training.resume import resume
from gankit.training.session import check_owner
from gankit.training.stages import finished


class Run:
    """A training on disk: draw from it, go on with it, judge it. Made by :func:`gankit.train` or `open_run`."""

    def __init__(
        self,
        directory: RunDir,
        resolved: Resolved,
        variant: type[Variant[Any]],
        source: DataSource,
    ) -> None:
        self.directory = directory
        self.config = resolved
        self.variant = variant(resolved.options)
        self._source = source
        self._cache: tuple[object, dict[str, nn.Module]] | None = None
        self._in_config = in_file(directory.path / "config.toml")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.config.variant} on {self.config.dataset}, {self.steps} steps)"

    @property
    def path(self) -> Path:
        return self.directory.path

    @property
    def steps(self) -> int:
        """Steps trained, as far as they are saved."""
        latest = self.directory.latest
        return int(self.directory.state(latest)["step"]) if latest else 0

    @property
    def seconds(self) -> float:
        """Time spent training, over all sittings."""
        latest = self.directory.latest
        return float(self.directory.state(latest)["seconds"]) if latest else 0.0

    @property
    def finished(self) -> bool:
        return finished(self.directory, self.config)

    @property
    def log(self) -> list[dict[str, Any]]:
        """The rows of ``log.jsonl``."""
        return read_log(self.path / "log.jsonl")

    @property
    def metrics(self) -> dict[str, float]:
        """Of the last evaluation during training (``eval_every``); empty if there was none."""
        found = (row.get("metrics") for row in reversed(self.log))
        return next((dict(metrics) for metrics in found if isinstance(metrics, dict)), {})

    @property
    def spec(self) -> DataSpec:
        """What the data was that the run was made with."""
        return self.directory.spec or self.dataset().spec

    def dataset(self, split: Literal["train", "test"] = "train") -> Dataset[Any]:
        with given_as(self._in_config):
            return self._source.open(self.config.data, split)

    def networks(self, checkpoint: str = "best", device: str = "auto") -> dict[str, nn.Module]:
        """The networks to draw from, in eval mode: averaged where the variant keeps an average.

        `checkpoint` is ``best`` (``latest`` if no metric picked one), ``latest``, or a name or step. `device` is that
        of ``gankit sample --device``: ``auto`` takes a GPU if there is one.
        """
        name = self.directory.resolve(checkpoint)
        place = resolve_device(device)
        if self._cache is None or self._cache[0] != (name, place):
            saved = self.directory.load(name, ("weights", "ema"))
            check_owner(saved, self.config)
            edits = config_changes(saved.state.get("config"), self.config)
            with explained(self.path / "config.toml", edits):
                networks = build_networks(self.variant, self.spec, self.config.run.seed)
                load_saved(networks, saved)
            for network in networks.values():
                network.to(place).eval().requires_grad_(False)
            self._cache = ((name, place), networks)
        return dict(self._cache[1])

    def sample(
        self,
        n: int | None = None,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        label: int | str | Sequence[int | str] | None = None,
        text: str | Sequence[str] | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """Draw `n` samples; the same for the same `seed`. Without `n`: one an image that is given (with each
        of k classes given, if they are another number), else 16.

        `given` is what the variant is asked with, by key, each value or list of values repeated to `n`: a class by name
        or number, a text, numbers, ``"left,top,right,bottom"`` of a box, an image as a path, a directory, a Pillow
        image, an array or a tensor; see `gankit.sampling.given`. `label` and `text` are short for keys of those names.
        What is not given comes from held-out samples; classes go in turn. `to` is the key out of ``Variant.produces``
        that is drawn, by default the first.
        """
        if n is not None and n < 1:
            raise UsageError(f"n must be at least 1, got {n}.")
        drawer = self._drawer(checkpoint, device)
        asked = drawer.ask(n, to=to, given=merged(given, label=label, text=text), seed=seed)
        try:
            sheet = drawer.ask_for_sheet(asked.n, seed=seed)
        except UsageError:  # the data is gone; the samples need none of it
            sheet = None
        return drawer.samples(asked, sheet, seed=seed, to=to, checkpoint=self.directory.resolve(checkpoint))

    def translate(
        self,
        images: Any,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """What becomes of `images` (paths, Pillow images, arrays, tensors) where the variant asks for one.

        Stretched to the size that the model takes. `given` is what else it is asked with; see :meth:`sample`.
        """
        drawer = self._drawer(checkpoint, device)
        way = translation(drawer, to)
        return change(drawer, way, images, given=given, seed=seed, checkpoint=self.directory.resolve(checkpoint))

    def reconstruct(
        self,
        images: Any,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """`images` encoded and decoded again, where the variant can. For the rest see :meth:`translate`."""
        drawer = self._drawer(checkpoint, device)
        way = reconstruction(drawer, to)
        return change(drawer, way, images, given=given, seed=seed, checkpoint=self.directory.resolve(checkpoint))

    def change_files(
        self,
        how: Literal["translate", "reconstruct"],
        source: str | Path,
        out: str | Path,
        *,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        size: Size = "input",
        fit: Fit = "stretch",
        overlap: float = 0.25,
        existing: Existing = "refuse",
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        on_event: OnEvent | None = None,
    ) -> list[FilePair]:
        """Translate or reconstruct an image file, or all of a directory and its sub-directories, into files.

        Names are kept if `out` is a directory; each file is written in the format that its name says, with the opacity
        (unless the model draws its own) and, of grey, the 16 bits of its source. An image is stretched to what the
        model takes, and the result to the size of the `input` (or left at the `model`'s); or it is cut into tiles, of
        which neighbours `overlap` by such a fraction of a side. Files that are there are replaced or kept, or all is
        refused (`existing`). What cannot be read or written comes back with its error.
        """
        tell = on_event or ignore
        drawer = self._drawer(checkpoint, device)
        way = (translation if how == "translate" else reconstruction)(drawer, to)
        pairs, problems = file_pairs(Path(source).expanduser(), Path(out).expanduser(), existing=existing)
        for text in problems:
            tell(Note(text=text))
        how_: Any = {"size": size, "fit": fit, "overlap": overlap, "overwrite": existing == "replace"}
        return change_files(drawer, way, pairs, given=given, seed=seed, tell=tell, **how_)

    def interpolate(
        self,
        images: Any = None,
        *,
        texts: Sequence[str] = (),
        rows: int = 4,
        frames: int = 8,
        given: Mapping[str, Any] | None = None,
        to: str | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
    ) -> Samples:
        """`rows` of `frames` samples between two random codes, or each of `images` or captions and the next."""
        return interpolate(
            self._drawer(checkpoint, device),
            images,
            texts=texts,
            rows=rows,
            frames=frames,
            given=given,
            to=to,
            seed=seed,
            checkpoint=self.directory.resolve(checkpoint),
        )

    def _drawer(self, checkpoint: str, device: str) -> Drawer:
        networks = self.networks(checkpoint, device)
        return Drawer(self.variant, networks, self.spec, self._rows, resolve_device(device))

    def _rows(self) -> Sequence[Dataset[Any]]:
        """Where conditions are taken from: the held-out split, or the training split of a dataset without one."""
        test = self.dataset("test")
        return [test] if all(test.streams().values()) else [test, self.dataset()]

    def evaluate(
        self,
        n: int | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        *,
        to: str | None = None,
        metrics: Sequence[str] | None = None,
        sheet: str | Path | None = None,
        standard: Standard | None = None,
        on_event: OnEvent | None = None,
    ) -> dict[str, Any]:
        """Judge `n` samples: ``{"metrics", "judge", "n", "seed", "checkpoint", "protocol", ...}``.

        `n` is 1000 if not given, or as many as there are held-out inputs for a variant that answers the same to the
        same. `to` is a key out of ``Variant.produces``, by default the first. `metrics` are names out of
        `gankit.evaluate.METRICS` and ``Variant.metrics``, by default those that apply. `sheet`: where to write a PNG of
        samples beside their nearest training images. `standard`: how FID and its kin are taken, where `metrics` names
        them. `on_event` is told what takes long.
        """
        name, place = self.directory.resolve(checkpoint), resolve_device(device)
        train, test = self.dataset(), self.dataset("test")
        self.directory.check_spec(train.spec)
        for split in (train, test):
            split.load(on_event or ignore)
        try:
            result = evaluate(
                self.variant,
                self.networks(name, device),
                train.spec,
                train,
                test,
                n=n,
                seed=seed,
                to=to,
                device=place,
                batch_size=self.config.run.batch_size,
                metrics=metrics,
                sheet=Path(sheet) if sheet else None,
                standard=standard,
                tell=on_event or ignore,
            )
        except OSError as error:
            if sheet is None or error.filename != str(sheet):
                raise
            raise UsageError(f"cannot write {sheet}: {error.strerror or error}. Give another sheet.") from error
        return {**result, "checkpoint": name}

    def report(self, out: str | Path | None = None, *, overwrite: bool = False) -> Path:
        """Write one HTML file about the run: `out`, or a new one in its directory. See `gankit.report.make_report`.

        With `overwrite` it replaces what is there.
        """
        return report_of(self.directory, type(self.variant), self._source.cls, out, overwrite=overwrite).path

    def resume(self, steps: int | None = None, on_event: OnEvent | None = None) -> Run:
        """Go on from the newest intact checkpoint, to `steps` in all if given; as if it had never stopped.

        `on_event` is told what was changed since: options in config.toml, samples of the data. :class:`UsageError`, and
        nothing is changed, if the weights do not fit what config.toml or the data now say.
        """
        self._cache = None
        world = joined()
        if not world.leads:
            follow(world, type(self.variant), self._source)
            return self
        with lead(world) as done:
            self.config = resume(self.directory, type(self.variant), self._source, steps, on_event or ignore, world)
            done.append(TrainedRun(self.directory, self.config))
        self.variant = type(self.variant)(self.config.options)
        return self


__all__ = ["Run"]
