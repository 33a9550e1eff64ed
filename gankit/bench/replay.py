"""Calls replayed from a CUDA graph: what they take on the device, without the host between them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from gankit.bench.cases import Candidate

__all__ = ["cuda_graph", "replays"]

_OWN_GRAPHS = frozenset({"compile"})  # of torch.compile's: they can be no part of another


def cuda_graph(work: Callable[[], Any]) -> Candidate:
    """Captures `work` after three warm-ups; the result replays it."""
    side, current = torch.cuda.Stream(), torch.cuda.current_stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(3):
            work()
    current.wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def replays(
    calls: Mapping[str, Sequence[Candidate]], capture: Callable[[Callable[[], Any]], Candidate] = cuda_graph
) -> dict[str, Candidate]:
    """One graph for each candidate, in which each of its calls comes once. What cannot be captured is left out."""
    graphs: dict[str, Candidate] = {}
    for name, sequence in calls.items():
        if name in _OWN_GRAPHS:
            continue
        try:
            graphs[name] = capture(functools.partial(_all, sequence))
        except RuntimeError:  # torch's and CUDA's errors are of this kind
            continue
    return graphs


def _all(sequence: Sequence[Candidate]) -> None:
    for call in sequence:
        call()
