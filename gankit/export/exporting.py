"""A trained variant becomes a file, and the file is compared with torch before it gets its name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.kinds import kind_of
from gankit.data.spec_json import spec_to_json
from gankit.errors import GankitError, UsageError
from gankit.events import OnEvent, Progress, ignore
from gankit.export import onnx_file, pt2_file, weights_file
from gankit.export.compare import SIDES, Compared, compare
from gankit.export.fold import fold
from gankit.export.inputs import Interface, learn, resized
from gankit.export.job import Job, asked
from gankit.export.program import TRACED, Drawing, quiet, reason, trace
from gankit.files import placed
from gankit.sampling.conditions import Rows
from gankit.version import __version__

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from gankit.plugin import Batch

    Ran = Callable[[Mapping[str, Tensor]], Tensor]

__all__ = ["SUFFIXES", "TOLERANCE", "Compared", "Exported", "check_out", "export"]

SUFFIXES = (".onnx", ".pt2", ".safetensors")
TOLERANCE = 1e-4
"""Most that a file's values may differ from torch's, of images in [-1, 1]."""


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares with torch."""

    path: Path
    inputs: list[dict[str, Any]]
    """Of each its name, dtype, shape, kind, and what its values mean."""
    output: dict[str, Any]
    compared: list[Compared]
    shaky: list[Compared]
    """Odd inputs where torch's own rounding errors grow beyond what is allowed; the difference there says nothing."""
    note: str = ""

    @property
    def difference(self) -> float:
        """The largest of all comparisons."""
        return max(one.difference for one in self.compared)


def check_out(path: Path, *, overwrite: bool) -> None:
    """:class:`UsageError` where :func:`export` could not write, or what it needs is not installed."""
    if path.suffix not in SUFFIXES:
        text = f"{path}: name a file that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
        raise UsageError(f"{text}; of a directory's name ({path}/) the end is free.")
    if path.is_dir() or (path.exists() and not overwrite):
        raise UsageError(f"{path} exists already. Give another name, or --overwrite.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent}.")
    if path.suffix == ".onnx":
        onnx_file.check_installed()


def export(
    job: Job,
    path: Path,
    rows: Rows,
    facts: Mapping[str, Any],
    *,
    tolerance: float = TOLERANCE,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    tell: OnEvent = ignore,
) -> Exported:
    """Writes `job` to `path`, in the format that its name says, and runs it beside torch on real and odd inputs.

    `rows` opens what real inputs come from; `facts` of the run go into the file. Images have any `size` that the
    networks allow, or the one given. The file gets its name once all is within `tolerance` of torch: else there is none
    (:class:`GankitError`). :class:`PluginError` if the variant cannot be exported, or a package is missing.
    """
    check_out(path, overwrite=overwrite)
    job, batch, real = asked(job, 3, rows)
    if size is not None:
        batch = resized(batch, job.keys, size)
    whole = _Export(job, path, facts, batch, real, tolerance, overwrite, tell)
    interface = learn(job, batch, fixed=size is not None)
    if interface.grid is None:
        return whole.write(interface)
    try:
        return whole.write(interface)
    except (_OtherSides, GankitError) as error:
        height, width = interface.grid.usual
        note = f"for images of {height}x{width} alone, since with other sides: {error}"
        return whole.write(interface.fixed(), note)


class _OtherSides(Exception):
    """A file is right for images of the usual sides, and for no others."""


@dataclass(frozen=True)
class _Export:
    """What all attempts at a file have in common."""

    job: Job
    path: Path
    facts: Mapping[str, Any]
    batch: Batch
    real: bool
    tolerance: float
    overwrite: bool
    tell: OnEvent

    def write(self, interface: Interface, note: str = "") -> Exported:
        """The file, and how it compares; :class:`_OtherSides` or :class:`GankitError` if it is not as it should be."""
        with placed(self.path, overwrite=self.overwrite) as beside:
            interface, run = self._written(beside, interface)
            self._at(2)
            compared = []
            for one in compare(self.job, interface, self.batch, self.real, run, self.tolerance):
                compared.append(one)
                if not one.difference <= self.tolerance and one.counts(self.tolerance):
                    raise self._apart(one)
        self._at(3)
        inputs = [one.about(interface.grid) for one in interface.inputs]
        counted = [one for one in compared if one.counts(self.tolerance)]
        shaky = [one for one in compared if not one.counts(self.tolerance)]
        return Exported(self.path, inputs, self._output(), counted, shaky, note)

    def _at(self, done: int) -> None:
        """Tells that so much is done of tracing, writing and comparing."""
        self.tell(Progress(what=f"exporting {self.path.name}", done=done, total=3))

    def _written(self, beside: Path, interface: Interface) -> tuple[Interface, Ran]:
        """Writes the file; what it takes, and what runs it."""
        job, who = self.job, type(self.job.variant).__name__
        self._at(0)
        if self.path.suffix == ".safetensors":
            weights_file.write(job, beside, self._texts(interface))
            return interface, self._safe(lambda path: weights_file.runner(path, job, interface), beside)
        interface, program = _traced(job, interface, self.batch)
        interface = self._proved(interface, program)
        texts = self._texts(interface)
        self._at(1)
        if self.path.suffix == ".pt2":
            pt2_file.write(program, beside, json.dumps(self._all(interface)))
            return interface, self._safe(pt2_file.runner, beside)
        onnx_file.write(program, beside, interface, str(self._output()["name"]), texts, who)
        return interface, self._safe(onnx_file.runner, beside)

    def _safe(self, runner: Callable[[Path], Ran], beside: Path) -> Ran:
        """What runs the file; :class:`GankitError` for whatever those who run it raise."""

        def failed(error: Exception) -> GankitError:
            return GankitError(f"{self.path} was not written: it cannot be run: {reason(error)}")

        try:
            opened = runner(beside)
        except Exception as error:
            raise failed(error) from error

        def run(values: Mapping[str, Tensor]) -> Tensor:
            try:
                return opened(values)
            except Exception as error:
                raise failed(error) from error

        return run

    def _proved(self, interface: Interface, program: ExportedProgram) -> Interface:
        """Before anything that takes long: what was traced at some sides is right at others, from a least side on.

        Where an inner map has a single pixel torch may have traced another way; then images have to be larger. A .pt2
        refuses them in any case; an ONNX file has no such checks, and values alone tell.
        """
        checked = self.path.suffix == ".pt2" or "check_guards" not in signature(program.module).parameters
        with quiet():
            module = program.module() if checked else program.module(check_guards=False)
        said: list[str] = []

        def run(values: Mapping[str, Tensor]) -> Tensor:
            try:
                result: Tensor = module(**values)
            except Exception as error:  # torch's own checks of what comes in, of several classes
                said[:] = [reason(error)]
                return torch.empty(0)
            return result

        while grid := interface.grid:
            said.clear()
            compared = compare(self.job, interface, self.batch, self.real, run, self.tolerance, sides_alone=True)
            wrong = [one for one in compared if not one.difference <= self.tolerance and one.counts(self.tolerance)]
            if not wrong:
                break
            if {one.what for one in wrong} != {"small"} or grid.least >= min(grid.usual):
                raise _OtherSides(said[0]) if said else self._apart(wrong[0])
            interface = replace(interface, grid=replace(grid, least=grid.least + grid.step))
        return interface

    def _apart(self, one: Compared) -> Exception:
        by = "it computes what is no number" if math.isinf(one.difference) else f"it differs by {one.difference:.2g}"
        of = f" of {one.sides[0]}x{one.sides[1]}" if one.sides else ""
        text = f"{by} from torch ({one.what}, {one.n} {'sample' if one.n == 1 else 'samples'}{of})"
        if one.what in SIDES:
            return _OtherSides(text)
        return GankitError(f"{self.path} was not written: {text}; at most {self.tolerance:g} is allowed.")

    def _output(self) -> dict[str, Any]:
        job, key = self.job, self.job.output
        taken = {*job.keys}
        name = "codes" if job.name == "encode" else "images" if job.pixels else "samples"
        while name in taken:
            name += "_"
        facts = {"name": name, "dtype": "float32", "kind": key.kind if key else "", "of": job.produces}
        return facts | ({"range": [kind_of(key).lowest, 1]} if key and job.pixels else {})

    def _all(self, interface: Interface) -> dict[str, Any]:
        """All that the file says of itself."""
        return {
            "gankit": __version__,
            **self.facts,
            "method": self.job.name,
            "to": self.job.produces,
            "spec": spec_to_json(self.job.spec),
            "inputs": [one.about(interface.grid) for one in interface.inputs],
            "output": self._output(),
        }

    def _texts(self, interface: Interface) -> dict[str, str]:
        """The same as texts, JSON but for words."""
        facts = self._all(interface)
        return {name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()}


def _traced(job: Job, interface: Interface, batch: Batch) -> tuple[Interface, ExportedProgram]:
    """The program of `job`, and its inputs without those that it does not read."""
    rows = {name: values[:TRACED] for name, values in batch.items()}
    if interface.grid:
        rows = resized(rows, job.keys, interface.grid.other)
    draws = job.run(TRACED, rows)[1]
    while True:
        drawing = Drawing(job, interface, rows)
        program = trace(drawing, interface, interface.values(rows, draws))
        fold(program)
        users = {node.name: len(node.users) for node in program.graph.nodes if node.op == "placeholder"}
        pairs = zip(program.graph_signature.user_inputs, interface.inputs, strict=True)
        unread = {one.name for place, one in pairs if not users[str(place)]}
        if not unread or len(unread) == len(interface.inputs):
            return interface, program
        interface = interface.without(unread)
