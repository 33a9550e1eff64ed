"""Measures the candidates of each case in turn, in one process, so that a busy machine slows all of them alike."""

from __future__ import annotations

import contextlib
import itertools
import math
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import gankit
from gankit.bench.cases import Candidate, Case, op_cases, round_robin
from gankit.bench.clock import Clock, clock_for
from gankit.bench.replay import replays
from gankit.ops._library import native_status

__all__ = ["bench_ops", "machine", "measure"]

_MAX_COPIES = 64


def measure(
    candidates: Mapping[str, Candidate], clock: Clock, seconds: float = 0.4, rounds: int = 60
) -> dict[str, list[float]]:
    """Seconds a call, by candidate: up to `rounds` timings each, taken in turn, in about `seconds` for all together.

    The order is another one in each round, and each timing follows an untimed call of its own: who comes after whom
    decides what is in the caches, which is worth a quarter of a small loss's time.
    """
    if not candidates:
        return {}
    repeats: dict[str, int] = {}
    spent = 0.0
    for name, call in candidates.items():
        clock.time(call, 3)  # warm-up
        once = max(clock.time(call, 1), 1e-7)
        repeats[name] = max(1, round(clock.min_sample / once))
        spent += once * (repeats[name] + 1)
    timings: dict[str, list[float]] = {name: [] for name in candidates}
    names, order = list(candidates), random.Random(0)
    for _ in range(max(7, min(rounds, int(seconds / spent)))):
        for name in order.sample(names, len(names)):
            clock.time(candidates[name], 1)
            timings[name].append(clock.time(candidates[name], repeats[name]) / repeats[name])
    return timings


def bench_ops(
    device: str = "cpu",
    ops: Sequence[str] | None = None,
    quick: bool = False,
    *,
    compiled: bool = True,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Measures the ops against eager torch, torch.compile and a plain copy of the same bytes.

    Args:
        device: where to run, "cpu" or "cuda".
        ops: names of ops (see `gankit.bench.suite.OPS`); None for all.
        quick: a large and a small shape in float32 only.
        compiled: also compile eager's formula with torch.compile, which takes seconds a row.
        progress: called with each row as soon as it is there.

    Returns:
        A row for each op, shape, dtype, layout and direction. `median_ms`, `p10_ms`, `p90_ms`, `min_ms` of one call;
        `gbps`: the bytes that the op cannot do without (`Case.passes`) over that median; `share_copy`: that bandwidth
        over a copy's; `ratio_copy`, `ratio_clone`: median over that of a copy into memory allocated before, and of one
        into new memory, so 1 is as fast; `ratio_eager`, `ratio_compile`, `ratio_aten`: their medians over ours, so
        above 1 is faster. The same ratios of the fastest timings end in `_min`. `kept_bytes`, `kept_bytes_eager`: what
        autograd keeps for backward besides the output. What was not measured is None.

    On CUDA times are those of events on the stream, calls go round through `copies` sets of tensors that together are
    larger than the second-level cache (64 sets at most: tensors so small are all overhead), and torch.compile runs with
    mode "max-autotune", and without its CUDA graphs (`ratio_compile_no_graphs`); `ratio_aten` is torch's own kernel
    where it has one: instance norm without cuDNN, and the losses of `torch.nn.functional`. Small calls take longer on
    the host than on the device, so all but compile's, which are replayed in any case, are timed a second time as a
    CUDA graph replays them: `device_ms`, `device_gbps`, `device_share_copy`, `device_ratio_eager` and so on are what
    the kernels themselves take. `device_refused` says which could not be captured, and why.
    """
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one that torch finds here, got {device!r}; use 'cpu'")
    about = machine(where)
    rows = []
    with torch.cuda.device(where) if where.type == "cuda" else contextlib.nullcontext():
        for case in op_cases(ops, quick, where.type):
            row = _measured(case, where, compiled, copies_exceeding(case.bytes, about["l2_bytes"])) | about
            rows.append(row)
            if progress is not None:
                progress(row)
    return rows


def _measured(case: Case, where: torch.device, compiled: bool, copies: int) -> dict[str, Any]:
    calls = case.calls(where, compiled, copies)
    if where.type == "cuda":
        for call in itertools.chain.from_iterable(
            [*calls.values()] * 2
        ):  # so that the allocator holds memory for all results
            call()
    row = _row(case, measure({name: round_robin(each) for name, each in calls.items()}, clock_for(where)))
    if where.type == "cuda":
        graphs, refused = replays(calls)
        # The host starts the first replay while the clock runs already: samples so long that it does not matter.
        row |= _device_figures(case, measure(graphs, clock_for(where, min_sample=5e-3)), copies)
        row["device_refused"] = refused or None
    row |= {"kept_bytes": None, "kept_bytes_eager": None, "copies": copies}
    if case.direction == "forward+backward":
        row["kept_bytes"] = case.kept_bytes(case.op.fused, where)
        row["kept_bytes_eager"] = case.kept_bytes(case.op.eager, where)
    return row


def copies_exceeding(size: int, cache: int | None) -> int:
    """How many sets of `size` bytes fill a cache twice, so that each is evicted before it is used again."""
    return 1 if not cache else min(max(2, -(-2 * cache // max(size, 1))), _MAX_COPIES)


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure depends on: device, threads, versions, commit."""
    return {
        "device": device.type,
        **(_gpu(device) if device.type == "cuda" else {"device_name": _cpu_name(), "l2_bytes": None}),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "gankit": gankit.__version__,
        "python": platform.python_version(),
        "native": native_status(),
        "commit": _commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _gpu(device: torch.device) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    return {
        "device_name": properties.name,
        "l2_bytes": properties.L2_cache_size,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _row(case: Case, timings: dict[str, list[float]]) -> dict[str, Any]:
    ordered = {name: sorted(times) for name, times in timings.items()}

    def at(name: str, fraction: float) -> float:
        return ordered[name][round(fraction * (len(ordered[name]) - 1))]

    row: dict[str, Any] = {
        "op": case.op.name,
        "shape": list(case.shape),
        "dtype": str(case.dtype).removeprefix("torch."),
        "layout": case.layout,
        "direction": case.direction,
        "bytes": case.bytes,
        "samples": len(ordered["ours"]),
        "median_ms": at("ours", 0.5) * 1e3,
        "p10_ms": at("ours", 0.1) * 1e3,
        "p90_ms": at("ours", 0.9) * 1e3,
        "min_ms": at("ours", 0.0) * 1e3,
        "gbps": case.passes * case.bytes / at("ours", 0.5) / 1e9,
        "share_copy": case.passes / 2 * at("copy", 0.5) / at("ours", 0.5),
    }
    for fraction, suffix in ((0.5, ""), (0.0, "_min")):
        for name in ("copy", "clone"):
            row[f"ratio_{name}{suffix}"] = at("ours", fraction) / at(name, fraction)
        for name in ("eager", "compile", "compile_no_graphs", "aten"):
            present = name in ordered
            row[f"ratio_{name}{suffix}"] = at(name, fraction) / at("ours", fraction) if present else None
    return row


def _device_figures(case: Case, timings: dict[str, list[float]], copies: int) -> dict[str, Any]:
    """Of replays, each of which makes `copies` calls; None where one could not be captured."""
    medians = {name: statistics.median(times) / copies for name, times in timings.items()}
    ours = medians.get("ours", math.nan)
    figures = {
        "device_ms": ours * 1e3,
        "device_gbps": case.passes * case.bytes / ours / 1e9,
        "device_share_copy": case.passes / 2 * medians.get("copy", math.nan) / ours,
    }
    for name in ("eager", "compile_no_graphs", "aten"):
        figures[f"device_ratio_{name}"] = medians.get(name, math.nan) / ours
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    """The commit of the checkout that gankit runs from, with `+` where files differ from it; None outside one."""
    root = Path(gankit.__file__).resolve().parent.parent
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=10
        )
        changed = subprocess.run(
            ["git", "-C", str(root), "diff", "--quiet", "HEAD", "--", "csrc", "gankit/ops"],
            capture_output=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + "+" * (changed.returncode == 1) if head.returncode == 0 else None
