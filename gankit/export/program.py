"""The method of a variant as a module that torch can trace, and what becomes of it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gankit.device import make_generator
from gankit.errors import GankitError, PluginError
from gankit.export.drawn import Draws, NotDrawn
from gankit.export.inputs import Grid, Interface, Side, identifier
from gankit.export.job import CPU, Job
from gankit.plugin import SampleRequest

if TYPE_CHECKING:
    from gankit.plugin import Batch

__all__ = ["Drawing", "quiet", "reason", "trace"]


TRACED = 2
"""Samples with which a program is traced; not 1, which torch would take for good."""


UNBOUNDED = 1 << 15
"""A side or a batch that may be so large may be of any size."""


class Drawing(nn.Module):
    """What `job` computes from named inputs; its parameters are those of the networks that it used."""

    def __init__(self, job: Job, interface: Interface, batch: Batch) -> None:
        super().__init__()
        self._job, self._interface, self._batch = job, interface, batch
        for name in sorted(job.used):
            self.add_module(name, job.networks[name])
        names = [one.name for one in interface.inputs]

        def forward(*args: Tensor, **named: Tensor) -> Tensor:
            return self._call({**dict(zip(names, args, strict=False)), **named})

        # with names, so that what is loaded again is called by them
        either = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [inspect.Parameter(name, either) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.forward = forward

    def _call(self, named: Mapping[str, Tensor]) -> Tensor:
        job, interface = self._job, self._interface
        batch = {name: named.get(identifier(name), rows) for name, rows in self._batch.items()}
        n, given = interface.given(named)
        request = SampleRequest(
            n=n,
            batch=batch,
            generator=make_generator(0, "sample", CPU),
            device=CPU,
            spec=job.spec,
            produces=job.produces,
        )
        draws = Draws(given, formulas=True, size=TRACED)
        with draws, draws.outside(job.networks):
            return job.call(request)


def trace(drawing: Drawing, interface: Interface, values: Mapping[str, Tensor]) -> torch.export.ExportedProgram:
    """The graph of `drawing`, of torch's own operators, for any batch, and any sides that `interface` allows."""
    who = type(drawing._job.variant).__name__
    shapes = {one.name: _dynamic(one.sides, interface.grid) for one in interface.inputs}
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(drawing, (), dict(values), dynamic_shapes=shapes, strict=False)
    except GankitError:
        raise
    except Exception as error:  # of torch's tracing, of many classes
        raise PluginError(f"{who} cannot be exported: {reason(error)}") from error
    if narrow := _narrow(program, interface):
        raise PluginError(f"{who} cannot be exported: {narrow}")
    for node in program.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise PluginError(f"{who} cannot be exported: it draws random numbers by {node.target}, as no input can.")
    return program


def _narrow(program: torch.export.ExportedProgram, interface: Interface) -> str:
    """What a program would take only some of, of what it is to take any; "" if nothing."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    for place, one in zip(program.graph_signature.user_inputs, interface.inputs, strict=True):
        for size, side in zip(values[str(place)].shape, one.sides, strict=True):
            if not side.of:
                continue
            if not isinstance(size, torch.SymInt):
                return f"the {side.of} of {one.name} can be {size} alone."
            for symbol in size.node.expr.free_symbols:
                bounds = program.range_constraints.get(symbol)
                if bounds is not None and bool(bounds.upper < UNBOUNDED):
                    return f"the {side.of} of {one.name} can be {bounds.upper} units at most."
    return ""


def _dynamic(sides: tuple[Side, ...], grid: Grid | None) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for axis, side in enumerate(sides):
        if side.of == "batch":
            found[axis] = side.count * torch.export.Dim("batch") if side.count > 1 else torch.export.Dim("batch")
        elif side.of and grid:
            count = side.count * grid.step // side.unit
            name = side.of if grid.step == 1 else f"{side.of}_{grid.step}"
            root = torch.export.Dim(name, min=grid.least // grid.step)
            found[axis] = count * root if count > 1 else root
    return found


def reason(error: BaseException) -> str:
    """In a line, what torch says of a failure: of the error that began it."""
    while isinstance(error.__cause__, Exception) and not isinstance(error, NotDrawn):
        error = error.__cause__
    if isinstance(error, NotDrawn):
        return "what it draws depends on what comes in."
    if "specialized it to be a constant" in str(error):
        return (
            "a program of it would be for one number of samples, or one size of images: "
            "somewhere len(x) or int(x.shape[i]) stands for x.shape[i]."
        )
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch's exporters warn of, which are their own affairs."""
    import logging

    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
