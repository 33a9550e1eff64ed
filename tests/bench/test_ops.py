"""How ops are measured: clocks, turns, replays. The GPU's clock is one of paper here."""

from __future__ import annotations

import contextlib
import functools
import itertools
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch

from gankit.bench import EventClock, HostClock, bench_ops, measure, op_cases
from gankit.bench import run as bench_run
from gankit.bench.cases import round_robin
from gankit.bench.replay import replays
from gankit.bench.run import _device_figures, copies_exceeding


class PaperClock:
    """Says what each call costs, and keeps count."""

    min_sample = 1e-3

    def __init__(self, cost: dict[Any, float]) -> None:
        self.cost, self.calls = cost, []

    def time(self, call: Any, count: int) -> float:
        self.calls.append((call, count))
        return self.cost[call] * count


def test_candidates_take_turns_and_short_ones_are_timed_many_at_once() -> None:
    clock = PaperClock({"slow": 5e-3, "quick": 1e-5})
    timings = measure({"a": "slow", "b": "quick"}, clock, seconds=1.0, rounds=10)  # type: ignore[dict-item]
    assert timings == {"a": [5e-3] * 10, "b": pytest.approx([1e-5] * 10)}
    assert clock.calls[:4] == [("slow", 3), ("slow", 1), ("quick", 3), ("quick", 1)]  # warm-up, then how long one takes
    rounds = [clock.calls[i : i + 4] for i in range(4, len(clock.calls), 4)]
    turns = ([("slow", 1), ("slow", 1)], [("quick", 1), ("quick", 100)])  # untimed, then timed
    assert len(rounds) == 10
    assert all(turn in (turns[0] + turns[1], turns[1] + turns[0]) for turn in rounds)
    assert rounds.count(turns[0] + turns[1]) not in (0, 10)  # nobody always comes first


def test_at_least_seven_rounds_however_long_they_take() -> None:
    assert len(measure({"a": "slow"}, PaperClock({"slow": 9.0}), seconds=0.1)["a"]) == 7  # type: ignore[dict-item]


def test_host_clock_runs_every_call() -> None:
    calls: list[int] = []
    assert HostClock().time(lambda: calls.append(1), 4) > 0
    assert len(calls) == 4


def test_event_clock_waits_for_the_second_event_alone() -> None:
    log: list[str] = []

    class Event:
        names = itertools.count()

        def __init__(self) -> None:
            self.name = f"event {next(Event.names)}"

        def record(self) -> None:
            log.append(f"{self.name} recorded")

        def synchronize(self) -> None:
            log.append(f"{self.name} waited for")

        def elapsed_time(self, other: Event) -> float:
            log.append(f"{self.name} to {other.name}")
            return 12.5  # milliseconds

    assert EventClock(Event).time(lambda: log.append("call"), 2) == pytest.approx(12.5e-3)
    assert log == ["event 0 recorded", "call", "call", "event 1 recorded", "event 1 waited for", "event 0 to event 1"]


def test_copies_make_twice_the_cache() -> None:
    assert copies_exceeding(2**20, None) == 1  # the CPU's suite does not go round
    assert copies_exceeding(64 * 2**20, 50 * 2**20) == 2
    assert copies_exceeding(4 * 2**20, 50 * 2**20) == 25
    assert copies_exceeding(0, 50 * 2**20) == copies_exceeding(16, 50 * 2**20) == 64


def test_calls_go_round_through_their_copies() -> None:
    seen: list[int] = []

    def fused(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        seen.append(x.data_ptr())
        return x + bias.view(1, -1, 1, 1)

    for case in op_cases(["leaky_relu"], quick=True)[-2:]:  # forward, forward + backward
        case = replace(case, op=replace(case.op, fused=fused, eager=fused))
        calls = case.calls(torch.device("cpu"), compiled=False, copies=3)
        for name in ("ours", "eager"):
            call = round_robin(calls[name])
            for _ in range(6):
                call()
        for at in (0, 6):  # ours, then eager, on the same memory
            assert len(set(seen[at : at + 3])) == 3
            assert seen[at : at + 3] == seen[at + 3 : at + 6]
        assert seen[:6] == seen[6:12]
        seen.clear()


@pytest.mark.parametrize("direction", ["forward", "forward+backward", "penalty"])
def test_on_a_gpu_results_stay_until_the_same_call_comes_again(direction: str) -> None:
    """Else every call would write where the one before did, in memory that the cache still has."""
    alive: list[weakref.ref[torch.Tensor]] = []

    def fused(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        y = (x + bias.view(1, -1, 1, 1)) ** 2
        alive.append(weakref.ref(y.untyped_storage()))  # type: ignore[arg-type]
        return y

    case = next(c for c in op_cases(["leaky_relu"], quick=True))
    case = replace(case, op=replace(case.op, fused=fused), shape=(1, 2, 3, 3), direction=direction)
    for gpu in (False, True):
        calls = case.calls(torch.device("cpu"), compiled=False, copies=2, gpu=gpu)["ours"]
        alive.clear()
        for call in (*calls, calls[0]):
            call()
        assert [storage() is not None for storage in alive] == ([False, True, True] if gpu else [False] * 3)


def test_replays_make_every_call_once_and_leave_out_what_cannot_be_captured() -> None:
    made: list[str] = []

    def capture(work: Any) -> Any:
        made.clear()
        work()
        if made[0] in errors:
            raise errors[made[0]]
        return work

    names = ("ours", "eager", "compile", "clone", "copy")
    calls = {name: [lambda name=name: made.append(name)] * 3 for name in names}  # type: ignore[misc]
    errors: dict[str, Exception] = {"eager": RuntimeError("operation not permitted when stream is capturing\nmore")}
    graphs, refused = replays(calls, capture)
    assert set(graphs) == {"ours", "copy"}  # compile has graphs of its own
    assert refused == {"eager": "operation not permitted when stream is capturing"}
    made.clear()
    graphs["ours"]()
    assert made == ["ours"] * 3
    errors["ours"] = RuntimeError("an illegal memory access")  # is no matter of capturing
    with pytest.raises(RuntimeError, match="illegal"):
        replays(calls, capture)


def test_figures_of_replays() -> None:
    case = op_cases(["leaky_relu"], quick=True)[0]
    timings = {"ours": [1.0, 2.0, 9.0], "eager": [6.0], "copy": [1.0], "aten": [1.0]}
    figures = _device_figures(case, timings, copies=10)
    assert figures["device_ms"] == 200.0
    assert figures["device_gbps"] == pytest.approx(2 * case.bytes / 0.2 / 1e9)
    assert figures["device_share_copy"] == 0.5
    assert figures["device_ratio_eager"] == pytest.approx(3.0)
    assert figures["device_ratio_aten"] == pytest.approx(0.5)
    assert figures["device_ratio_compile_no_graphs"] is None
    assert set(_device_figures(case, {"eager": [1.0]}, 1).values()) == {None}
    assert measure({}, HostClock()) == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_measured_with_and_without_its_host() -> None:
    for row in bench_ops("cuda", ["leaky_relu", "instance_norm_act", "patchgan_d_loss[bce]"], quick=True):
        assert row["device_refused"] is None
        assert 0 < row["device_ms"] <= row["median_ms"] * 1.5
        assert None not in (row["device_share_copy"], row["device_ratio_eager"])


def test_suite_of_a_gpu_has_4_and_64_mib_in_float32_and_bfloat16() -> None:
    cpu, gpu = op_cases(), op_cases(device="cuda")
    assert set(cpu) < set(gpu)
    for op in {case.op.name for case in gpu}:
        sizes = {(case.bytes // max(case.op.logits, 1), case.dtype) for case in gpu if case.op.name == op}
        for dtype in (torch.float32, torch.bfloat16):
            assert {(4 * 2**20, dtype), (64 * 2**20, dtype)} <= sizes, op


def test_torchs_own_kernels_compute_the_same_as_eager() -> None:
    """What is compared has to be the same op: `aten` runs on GPUs alone, its formulas run here."""
    compared = set()
    for case in op_cases(device="cuda"):
        if case.op.aten is None or case.op.name in compared:
            continue
        compared.add(case.op.name)
        x = [torch.randn(2, 3, 4, 4) for _ in range(max(case.op.logits, 1))]
        x += [torch.randn(3) for _ in range(case.op.channel_args)]
        torch.testing.assert_close(case.op.aten(*x), case.op.eager(*x))
    assert {"instance_norm_act", "patchgan_d_loss[bce]", "patchgan_g_loss[lsgan]"} <= compared


def test_what_autograd_keeps_besides_the_output() -> None:
    """Eager keeps two maps for a norm and its activation, we none; small ones, and on demand, one."""
    cases = {(c.op.name, c.shape): c for c in op_cases(["instance_norm_act"]) if c.direction == "forward+backward"}
    large = cases["instance_norm_act", (1, 256, 64, 64)]
    statistics = 2 * 256 * 4

    def kept(case: Any, function: Any) -> int:
        return case.kept_bytes(function, torch.device("cpu"))

    assert kept(large, large.op.fused) <= statistics + 8
    assert kept(large, large.op.eager) >= 2 * large.bytes
    on_demand = cases["instance_norm_act[keep_input]", (1, 256, 64, 64)]
    assert large.bytes <= kept(on_demand, on_demand.op.fused) <= large.bytes + statistics
    small = cases["instance_norm_act", (1, 64, 4, 4)]
    assert kept(small, small.op.fused) >= small.bytes


class PaperEvent:
    """A second later than the one before."""

    seconds = itertools.count()

    def record(self) -> None:
        self.at = next(PaperEvent.seconds)

    def synchronize(self) -> None: ...

    def elapsed_time(self, other: PaperEvent) -> float:
        return 1e3 * (other.at - self.at)


@pytest.mark.parametrize("op", ["leaky_relu", "instance_norm_act", "patchgan_d_loss"])
def test_all_that_a_gpu_is_asked_runs_on_paper(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of `--device cuda` from case to row, on the CPU's memory, and with compilation left out."""
    modes: list[str] = []

    def compiled(function: Any, *, dynamic: bool, mode: str) -> Any:
        modes.append(mode)
        return function

    def calls(case: Any, device: torch.device, compiled: bool, copies: int) -> dict[str, Any]:
        assert device.type == "cuda"
        return real(case, torch.device("cpu"), compiled, copies, gpu=True)

    case = op_cases([op])[-1]
    real = type(case).calls
    monkeypatch.setattr(type(case), "calls", calls)
    monkeypatch.setattr(bench_run, "replays", functools.partial(replays, capture=lambda work: work))
    monkeypatch.setattr(type(case), "kept_bytes", lambda *_: 0)  # it would make tensors on the GPU
    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(bench_run, "machine", lambda _: {"device": "cuda", "l2_bytes": 5 * case.bytes})
    monkeypatch.setattr(bench_run, "clock_for", lambda *_, **__: EventClock(PaperEvent))
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(bench_run, "op_cases", lambda *arguments: [case] if arguments[2] == "cuda" else [])
    (row,) = bench_ops("cuda", [op])
    assert modes == ["max-autotune", "max-autotune-no-cudagraphs"]
    assert row["copies"] == 10
    assert row["median_ms"] == row["p90_ms"] == 1e3
    assert row["share_copy"] == case.passes / 2
    assert row["ratio_compile"] == row["ratio_compile_no_graphs"] == row["ratio_eager"] == 1
    assert row["ratio_aten"] == (1 if case.op.aten else None)
    assert row["device_ms"] == 1e3 / 10  # a replay makes ten calls
    assert row["device_share_copy"] == case.passes / 2
    assert row["device_gbps"] == pytest.approx(case.passes * case.bytes / 0.1 / 1e9)
    assert row["device_ratio_eager"] == row["device_ratio_compile_no_graphs"] == 1
    assert row["device_ratio_aten"] == (1 if case.op.aten else None)


def test_bench_refuses_a_gpu_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="device must be one that torch finds here, got 'cuda'"):
        bench_ops("cuda")
