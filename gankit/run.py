"""A training on disk, in Python: draw from it, go on with it, judge it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gankit.device import resolve_device
from gankit.drawn import Drawn
from gankit.errors import UsageError
from gankit.evaluate import Standard, evaluate
from gankit.events import OnEvent, ignore
from gankit.export import TOLERANCE, Exported, Job, Method, check_out, export
from gankit.hub import Shared, check_directory, write_directory
from gankit.hub.files import without_places
from gankit.processes import joined
from gankit.report import report_of
from gankit.training.leading import TrainedRun, follow, lead
from gankit.training.resume import resume


class Run(Drawn):
    """A training on disk: draw from it, go on with it, judge it. Made by :func:`gankit.train` or `open_run`."""

    def export(
        self,
        path: str | Path,
        *,
        method: Method = "sample",
        to: str | None = None,
        size: tuple[int, int] | None = None,
        tolerance: float = TOLERANCE,
        checkpoint: str = "best",
        overwrite: bool = False,
        on_event: OnEvent | None = None,
    ) -> Exported:
        """What :meth:`sample` computes (`to`: which of ``Variant.produces``) as a file that others run.

        `path` ends in ``.onnx``, ``.pt2`` (torch.export) or ``.safetensors`` (the weights of the networks that draw).
        ``method="reconstruct"`` is that of an image encoded and decoded, ``"encode"`` its codes. Inputs are named: what
        the variant is asked with, (N, ...) as in a step, and what it draws. N is any number, height and width of images
        any that the networks take, unless `size` fixes them.

        The file is run on real and odd inputs, on the CPU, in float32, and compared with torch: it is there only if
        all differences are within `tolerance`. :class:`UsageError` for a name that is taken or of another format;
        :class:`PluginError` if a package is missing or the variant cannot be exported; :class:`GankitError` if the file
        differs.
        """
        path = Path(path).expanduser()
        check_out(path, overwrite=overwrite)
        name = self.directory.resolve(checkpoint)
        facts = {
            "variant": self.config.variant,
            "dataset": self.config.dataset,
            "checkpoint": name,
            "step": int(self.directory.state(name)["step"]),
            "options": without_places(self.variant.config.model_dump(mode="json")),
        }
        job = Job.make(self.variant, self.networks(name, "cpu"), self.spec, method, to)
        how: Any = {"tolerance": tolerance, "size": size, "overwrite": overwrite, "tell": on_event or ignore}
        try:
            return export(job, path, self._rows, facts, **how)
        except OSError as error:
            text = f"{path} cannot be written: {error.strerror or error}"
            raise UsageError(f"{text}. Give another name.") from error

    def export_directory(
        self,
        path: str | Path,
        *,
        license: str = "unknown",
        datasets: Sequence[str] = (),
        training: bool = False,
        tolerance: float = TOLERANCE,
        checkpoint: str = "best",
        overwrite: bool = False,
        on_event: OnEvent | None = None,
    ) -> Exported:
        """A repository for the Hugging Face Hub: weights of all networks, and a model card made of the run.

        :func:`gankit.import_run` makes a run of it again. `license` and `datasets` are identifiers of the Hub's, for
        the card. With `training` the checkpoint itself is there too, so that a training goes on bit for bit. A
        directory that is there is empty, or with `overwrite` gets the new files. Nothing is uploaded.
        """
        path = Path(path).expanduser()
        check_directory(path, overwrite=overwrite)
        name = self.directory.resolve(checkpoint)
        shared = Shared(
            run=self.directory,
            checkpoint=name,
            resolved=self.config,
            source=self._source,
            job=Job.make(self.variant, self.networks(name, "cpu"), self.spec),
            rows=self._rows,
            draw=lambda: self.sample(checkpoint=name, device="cpu"),
            license=license,
            datasets=tuple(datasets),
            training=training,
        )
        return write_directory(shared, path, tolerance=tolerance, overwrite=overwrite, tell=on_event or ignore)

    def evaluate(
        self,
        n: int | None = None,
        seed: int = 0,
        checkpoint: str = "best",
        device: str = "auto",
        *,
        to: str | None = None,
        metrics: Iterable[str] | None = None,
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
