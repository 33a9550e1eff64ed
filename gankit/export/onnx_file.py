"""``F.onnx``: written, described, and run in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.errors import PluginError
from gankit.export.inputs import Interface
from gankit.export.program import quiet, reason

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["check_installed", "runner", "write"]


LARGE = 500
"""Nodes from which to tidy a graph takes longer than to make it; onnxruntime does it once more in any case."""


def check_installed() -> None:
    """:class:`PluginError` that says what to install, if something is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            raise PluginError(
                f"exporting to ONNX needs the package {name} ({' '.join(str(error).split())}): "
                "pip install 'gankit[onnx]'"
            ) from None


def write(
    program: ExportedProgram, path: Path, interface: Interface, output: str, facts: Mapping[str, str], who: str
) -> None:
    """Writes `program` to `path`, with `facts` as metadata. :class:`PluginError` if ONNX lacks one of its operators."""
    try:
        with quiet():
            tidy = len(program.graph.nodes) < LARGE
            made = torch.onnx.export(program, dynamo=True, verbose=False, external_data=False, optimize=tidy)
    except Exception as error:  # of torch's exporter, of many classes
        raise PluginError(f"{who} cannot be exported to ONNX: {reason(error)}") from error
    assert made is not None
    model: Any = made.model
    words: dict[str, str] = {}
    for value, one in zip(model.graph.inputs, interface.inputs, strict=True):
        value.name = one.name
        words |= {str(dim): str(side) for dim, side in zip(value.shape, one.sides, strict=True) if side.of}
        _name_sides(value, words)
    (value,) = model.graph.outputs
    value.name = output
    _name_sides(value, words)
    for held in (model.graph, *model.graph):
        for name in [name for name in held.metadata_props if name.startswith("pkg.torch")]:
            del held.metadata_props[name]  # where torch traced it, twice as long as the graph
    model.metadata_props.update(facts)
    try:
        made.save(str(path), external_data=False)
    except ValueError as error:  # protobuf's limit
        raise PluginError(f"{who} cannot be exported to one ONNX file: {reason(error)}") from error


def _name_sides(value: Any, words: Mapping[str, str]) -> None:
    """Gives the dimensions of an input or output of an ONNX graph names in place of torch's symbols."""
    sides = [dim if isinstance(dim, int) else words.get(str(dim), str(dim)) for dim in value.shape]
    value.shape = type(value.shape)(sides)


def runner(path: Path) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """What computes the file's output in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(values: Mapping[str, Tensor]) -> Tensor:
        (result,) = session.run(None, {name: value.contiguous().numpy() for name, value in values.items()})
        return torch.from_numpy(result)

    return run
