"""Trainings in processes that torchrun starts: what they leave on disk, what kills and signals do to them."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import tiny_gan
from tiny_gan import SMALL, Blobs, BlobsConfig, Tiny
from training_helpers import final, numbers

import gankit
from gankit.runs import checkpoint

STARTED: list[subprocess.Popen[str]] = []
SCRIPT = [tiny_gan.__file__]


@pytest.fixture(autouse=True)
def _nothing_goes_on_training():
    """A test that fails must not leave its processes behind."""
    yield
    for process in STARTED:
        for one in (*children(process.pid), process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        process.wait()
    STARTED.clear()


def children(pid: int) -> list[int]:
    """The processes that `pid` has started, and those."""
    own = [int(one) for one in told(f"/proc/{pid}/task/{pid}/children").split()]
    return [grown for one in own for grown in (one, *children(one))]


def torchrun(*arguments: object, number: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    launch = ["--standalone", f"--nproc-per-node={number}", f"--max-restarts={restarts}", "--monitor-interval=0.1"]
    log = tempfile.TemporaryFile("w+")  # noqa: SIM115  a pipe that nobody empties would stop who writes into it
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *launch, *SCRIPT, *map(str, arguments)],
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    process.stdout = log
    STARTED.append(process)
    return process


def said(process) -> str:
    """All that it has printed."""
    process.stdout.seek(0)
    return process.stdout.read()


def wait_for(condition, process, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def workers(process) -> list[int]:
    return [one for one in children(process.pid) if tiny_gan.__file__ in told(f"/proc/{one}/cmdline")]


def told(place: str) -> str:
    """What /proc says of a process; nothing of one that has ended meanwhile."""
    try:
        return Path(place).read_text()
    except OSError:
        return ""


def newest(run: Path) -> str:
    place = run / "checkpoints" / "latest"
    return place.read_text().strip() if place.exists() else ""


def rows(run: Path) -> list[dict]:
    return numbers([json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()])


def test_one_run_as_of_one_process(tmp_path):
    """One directory, one log with the figures of one process, and a checkpoint that one process goes on from."""
    process = torchrun("train", tmp_path / "two", 24)
    assert process.wait(120) == 0, said(process)
    two = tmp_path / "two" / "tiny-blobs"
    assert [path.name for path in two.iterdir()] == ["0001"]
    two = two / "0001"
    options = {**SMALL, "steps": 24, "repeat": 2, "checkpoint_every": 3, "sample_every": 0}
    one = gankit.train(Tiny, Blobs(BlobsConfig()), out=tmp_path / "one", **options).path
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    assert [row["step"] for row in rows(one)] == [row["step"] for row in rows(two)]
    for of_one, of_two in zip(rows(one), rows(two), strict=True):
        for key in ("discriminator/real", "discriminator/fake", "generator/adversarial"):
            assert of_two[key] == pytest.approx(of_one[key], rel=1e-3)
    assert gankit.open_run(two, Tiny, Blobs).resume(30).steps == 30


STEPS = 240
KILLS = int(os.environ.get("GANKIT_KILLS", "1"))
"""How often a run is disturbed."""
TAKES_LONG = pytest.mark.skipif("GANKIT_KILLS" not in os.environ, reason="takes a minute: set GANKIT_KILLS=1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """The end of a run of two processes that nobody kills."""
    out = tmp_path_factory.mktemp("whole")
    process = torchrun("train", out, STEPS)
    assert process.wait(240) == 0, said(process)
    return final(out / "tiny-blobs" / "0001", STEPS)


def test_workers_killed_again_and_again(tmp_path, undisturbed):
    """SIGKILL of one or other at random moments: torchrun starts all anew."""
    draw = random.Random(3)
    process = torchrun("train", tmp_path, STEPS, restarts=50)
    run, kills, seen = tmp_path / "tiny-blobs" / "0001", 0, ""
    while process.poll() is None and kills < KILLS:
        wait_for(lambda seen=seen: newest(run) != seen and len(workers(process)) == 2, process)
        seen = newest(run)
        time.sleep(draw.uniform(0, 0.1))
        if len(both := workers(process)) == 2:
            os.kill(draw.choice(both), signal.SIGKILL)
            kills += 1
    assert process.wait(240) == 0, said(process)
    assert kills == KILLS
    assert [path.name for path in run.parent.iterdir()] == ["0001"]
    assert final(run, STEPS) == undisturbed


@TAKES_LONG
def test_the_launcher_killed_again_and_again(tmp_path, undisturbed):
    """Its processes notice, stop at one step and save it; two others go on with the run."""
    run, seen = tmp_path / "tiny-blobs" / "0001", ""
    for kill in range(KILLS):
        process = torchrun("resume", run) if kill else torchrun("train", tmp_path, STEPS)
        wait_for(lambda seen=seen: newest(run) > max(seen, "step-000000"), process)
        both = workers(process)
        assert len(both) == 2, said(process)
        process.kill()
        end = time.monotonic() + 60
        while any(Path(f"/proc/{one}").exists() for one in both):
            assert time.monotonic() < end, "they train on"
            time.sleep(0.02)
        seen = newest(run)
        assert seen < f"step-{STEPS:06d}"
    process = torchrun("resume", run)
    assert process.wait(240) == 0, said(process)
    assert final(run, STEPS) == undisturbed
    logged = [row["step"] for row in rows(run)]
    assert logged == sorted(set(logged))


def test_a_signal_to_any_of_them(tmp_path):
    process = torchrun("train", tmp_path, 100_000)
    run = tmp_path / "tiny-blobs" / "0001"
    wait_for(lambda: newest(run) >= "step-000003", process)
    os.kill(workers(process)[1], signal.SIGTERM)
    process.wait(60)
    output = said(process)
    assert output.count(f"Go on with: gankit resume {run}") == 1
    assert f"stopped after step {int(newest(run).removeprefix('step-'))}." in output
    checkpoint.verify(run / "checkpoints" / newest(run))


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gankit", *map(str, arguments)], capture_output=True, text=True, timeout=300
    )


def test_the_command(tmp_path):
    """`--processes 2`: one output, one run; what is wrong is told once, with its exit code, and not tried again."""
    options = ["--batch-size", 8, "--steps", 6, "--out", tmp_path, "--device", "cpu", "--checkpoint-every", 3]
    done = command("run", "gan", "--processes", 2, *options, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["steps"] == 6
    described = json.loads((Path(result["run"]) / "environment.json").read_text())
    assert described["processes"] == 2
    wrong = command("run", "gan", "--processes", 0, *options)
    assert wrong.returncode == 2
    assert "--processes 0: must be at least 1" in wrong.stderr
    nowhere = command("resume", tmp_path / "nowhere", "--processes", 2)
    assert nowhere.returncode == 2
    assert len([line for line in nowhere.stderr.splitlines() if line.startswith("error: ")]) == 1


@TAKES_LONG
def test_a_signal_to_the_launcher(tmp_path):
    """It is passed on, and the run is saved; one message, and the exit code of an interrupted command."""
    arguments = [
        "--batch-size",
        "8",
        "--steps",
        "100000",
        "--out",
        tmp_path,
        "--device",
        "cpu",
        "--checkpoint-every",
        "50",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "gankit", "run", "gan", "--processes", "2", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    run = tmp_path / "gan-mnist" / "0001"
    wait_for(lambda: newest(run) >= "step-000050", process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == 1
    assert f"stopped after step {int(newest(run).removeprefix('step-'))}. Go on with: gankit resume" in errors
    assert "interrupted" not in errors
