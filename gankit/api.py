"""gankit in Python: the same reach as the command line.

::

    import gankit

    run = gankit.train("cgan", steps=2000)
    images = run.sample(10, label=7).images
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from gankit.device import resolve_device
from gankit.discovery.entry_points import load_dataset, load_variant
from gankit.errors import GankitError, UsageError
from gankit.events import Note, OnEvent, ignore
from gankit.files import replace_text
from gankit.options.resolve import Resolved, read_toml
from gankit.options.spelling import given_as, in_file
from gankit.plugin import Dataset, DataSpec, Variant
from gankit.runs import checkpoint as checkpoints
from gankit.runs.directory import RunDir
from gankit.runs.log import read_log
from gankit.sampling.drawer import Drawer
from gankit.sampling.given import merged
from gankit.sampling.samples import Samples
from gankit.training.launch import Job, open_split, tell_notes
from gankit.training.plan import Plan, make_plan
from gankit.training.session import Session, build_networks, by_network, check_owner, load_weights
from gankit.training.stages import finished, inherited_by, read_config
from gankit.training.trainer import Trainer


def train(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Train `variant` on `dataset` (the variant's own by default) into a new directory under `out`.

    `options` are those of ``gankit run``, with ``__`` for a dot or nested mappings: ``steps=500, optim__lr=1e-3``,
    ``data={"size": 32}``. Of a variant with stages, the stage asked for, or all; a missing earlier stage is trained
    first. `on_event` is called with each of `gankit.events`. Raises :class:`UsageError` before anything is
    written if an option or the data is wrong.
    """
    job = Job.make(variant, dataset, preset, config, options, Path(out), on_event or ignore)
    directory, resolved = job.train()
    return Run(directory, resolved, job.variant, job.dataset)


def open_run(
    path: str | Path, variant: type[Variant[Any]] | None = None, dataset: type[Dataset[Any]] | None = None
) -> Run:
    """The run at `path`, or the latest one of ``out/<variant>-<dataset>``.

    `variant` and `dataset` are needed only for classes that are not installed as plugins.
    """
    directory = RunDir.open(path)
    names = read_toml(directory.path / "config.toml")
    for name in ("variant", "dataset"):
        if not isinstance(names.get(name), str):
            raise UsageError(f"{directory.path / 'config.toml'} does not say `{name}`: it is not a run's")
    variant = variant or load_variant(names["variant"])
    dataset = dataset or load_dataset(names["dataset"])
    return Run(directory, read_config(directory, variant, dataset), variant, dataset)


class Run:
    """A training on disk: draw from it, go on with it, judge it."""

    def __init__(
        self,
        directory: RunDir,
        resolved: Resolved,
        variant: type[Variant[Any]],
        dataset: type[Dataset[Any]] | Dataset[Any],
    ) -> None:
        self.directory = directory
        self.config = resolved
        self.variant = variant(resolved.options)
        self._dataset = dataset
        self._splits: dict[str, Dataset[Any]] = {}
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
        return int(checkpoints.read_state(self.directory.store / latest)["step"]) if latest else 0

    @property
    def seconds(self) -> float:
        """Time spent training, over all sittings."""
        latest = self.directory.latest
        return float(checkpoints.read_state(self.directory.store / latest)["seconds"]) if latest else 0.0

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
        return next((dict(row["metrics"]) for row in reversed(self.log) if "metrics" in row), {})

    @property
    def spec(self) -> DataSpec:
        """What the data was that the run was made with."""
        return self.directory.spec or self.dataset().spec

    def dataset(self, split: Literal["train", "test"] = "train") -> Dataset[Any]:
        if split not in self._splits:
            with given_as(self._in_config):
                self._splits[split] = open_split(self._dataset, self.config.data, split)
        return self._splits[split]

    def networks(self, checkpoint: str = "best", device: str = "auto") -> dict[str, nn.Module]:
        """The networks to draw from, in eval mode: averaged where the variant keeps an average.

        `checkpoint` is ``best`` (``latest`` if no metric picked one), ``latest``, or a name or step. `device` is that
        of ``gankit sample --device``: ``auto`` takes a GPU if there is one.
        """
        name = self.directory.resolve(checkpoint)
        place = resolve_device(device)
        if self._cache is None or self._cache[0] != (name, place):
            saved = self.directory.load(name, ("weights", "ema"))
            check_owner(saved.state, self.config)
            networks = build_networks(self.variant, self.spec, self.config.run.seed)
            tensors = by_network(saved.tensors["weights"]) | by_network(saved.tensors.get("ema", {}))
            for key, network in networks.items():
                load_weights(network, tensors.get(key, {}), key)
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
        """Draw `n` samples; the same for the same `seed`. Without `n`: one an image that is given, else 16.

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

    def _drawer(self, checkpoint: str, device: str) -> Drawer:
        networks = self.networks(checkpoint, device)
        return Drawer(self.variant, networks, self.spec, self._rows, resolve_device(device))

    def _rows(self) -> Sequence[Dataset[Any]]:
        """Where conditions are taken from: the held-out split, or the training split of a dataset without one."""
        return self.dataset("test"), self.dataset()

    def evaluate(
        self,
        n: int = 1000,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        *,
        metrics: Sequence[str] | None = None,
        sheet: str | Path | None = None,
        on_event: OnEvent | None = None,
    ) -> dict[str, Any]:
        """Judge `n` samples: ``{"metrics", "judge", "n", "seed", "checkpoint", "protocol", ...}``.

        `metrics` are names out of `gankit.evaluate.METRICS`, by default those that apply. `sheet`: where to write a PNG
        of samples beside their nearest training images. `on_event` is told what takes long.
        """
        from gankit.evaluate import evaluate

        name, place = self.directory.resolve(checkpoint), resolve_device(device)
        train, test = self.dataset(), self.dataset("test")
        self.directory.check_spec(train.spec)
        result = evaluate(
            self.variant,
            self.networks(name, device),
            train.spec,
            train,
            test,
            n=n,
            seed=seed,
            device=place,
            metrics=metrics,
            sheet=Path(sheet) if sheet else None,
            tell=on_event or ignore,
        )
        return {**result, "checkpoint": name}

    def resume(self, steps: int | None = None, on_event: OnEvent | None = None) -> Run:
        """Go on from the newest intact checkpoint, to `steps` in all if given; as if it had never stopped."""
        tell = on_event or ignore
        resolved = self.config
        with self.directory.lock():  # before anything is changed
            pass
        saved = self.directory.load_newest(lambda text: tell(Note(text=f"Skipped a damaged checkpoint: {text}")))
        if saved is None and (names := self.directory.checkpoints()):
            raise GankitError(f"{self.path}: none of the checkpoints is intact ({', '.join(names)}).")
        if saved is not None:
            check_owner(saved.state, resolved)
            self.directory.repair(saved)
        if steps is not None and steps != resolved.run.steps:
            if saved is not None and steps <= saved.step:
                raise UsageError(f"{self.path} has {saved.step} steps already; --steps must be more than that.")
            resolved = _with_steps(resolved, steps)
        if saved is not None and saved.step >= resolved.run.steps:
            tell(Note(text=f"{self.path} is finished at step {saved.step}. For more: --steps {2 * saved.step}"))
            return self
        train, test = self.dataset(), self.dataset("test")
        tell_notes(tell, train)
        tell_notes(tell, test, known=train.notes())
        self.directory.keep_spec(train.spec)
        with given_as(self._in_config):
            session = Session(self.variant, train, resolved)
        if resolved is not self.config:
            replace_text(self.path / "config.toml", resolved.to_toml())
            self.config = resolved
        inherited = inherited_by(self.directory, self.variant.inherits()) if saved is None else None
        self._cache = None
        Trainer(session, self.directory, test, tell).fit(saved, inherited)
        return self


def make_session(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    **options: Any,
) -> Session:
    """What :func:`train` would train, without a run: nothing is written. Of a variant with stages, the first."""
    job = Job.make(variant, dataset, preset, config, options, Path("runs"), ignore)
    resolved = job.resolve()
    if job.variant.stages > 1 and resolved.stage is None:
        resolved = job.resolve(1)
    return job.session(resolved)


def plan(
    variant: str | type[Variant[Any]],
    dataset: str | Dataset[Any] | None = None,
    *,
    preset: str | None = None,
    config: str | Path | None = None,
    out: str | Path = "runs",
    **options: Any,
) -> list[Plan]:
    """What :func:`train` would do, one a stage: networks, phases, data, memory. Nothing is written."""
    job = Job.make(variant, dataset, preset, config, options, Path(out), ignore)
    return [make_plan(job.session(resolved)) for resolved in job.todo()[0]]


def _with_steps(resolved: Resolved, steps: int) -> Resolved:
    return replace(resolved, run=type(resolved.run)(**{**resolved.run.model_dump(), "steps": steps}))


__all__ = ["Run", "Samples", "make_session", "open_run", "plan", "train"]
