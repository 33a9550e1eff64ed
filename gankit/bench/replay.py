"""Calls replayed from a CUDA graph: what they take on the device, without the host between them."""

from __future__ import annotations

import functools
import gc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gankit.bench.cases import Candidate

__all__ = ["cuda_graph", "replays"]

# compile has CUDA graphs of its own, which cannot be nested; clone adds nothing to copy.
_NOT_CAPTURED = frozenset({"compile", "clone"})


def cuda_graph(work: Callable[[], Any]) -> Candidate:
    """Captures `work` after three warm-ups; the result replays it."""
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    current.wait_stream(side)
    torch.cuda.synchronize()  # so that an error of the work is not taken for one of the capture
    gc.collect()  # not during the capture: freeing graphs or modules would invalidate it
    graph = torch.cuda.CUDAGraph()
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    before = generator.clone_state()
    try:
        with torch.cuda.stream(current), torch.cuda.graph(graph):
            work()
    except RuntimeError:
        generator.graphsafe_set_state(before)  # a capture that fails leaves it in one, unable to draw
        raise
    return graph.replay


def replays(
    calls: Mapping[str, Sequence[Candidate]], capture: Callable[[Callable[[], Any]], Candidate] = cuda_graph
) -> tuple[dict[str, Candidate], dict[str, str]]:
    """One graph for each candidate, in which each of its calls comes once; and why others could not be captured."""
    graphs: dict[str, Candidate] = {}
    refused: dict[str, str] = {}
    for name in (name for name in calls if name not in _NOT_CAPTURED):
        try:
            graphs[name] = capture(functools.partial(_all, calls[name]))
        except RuntimeError as error:
            if "captur" not in str(error):
                raise
            refused[name] = str(error).splitlines()[0]
    return graphs, refused


def _all(sequence: Sequence[Candidate]) -> None:
    for call in sequence:
        call()
