"""Numbering, opening, locking."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from gankit.errors import UsageError
from gankit.runs.directory import RunDir


def test_numbers_follow_on(tmp_path):
    assert RunDir.create(tmp_path, "cgan", "digits").path == tmp_path / "cgan-digits" / "0001"
    (tmp_path / "cgan-digits" / "0041").mkdir()
    (tmp_path / "cgan-digits" / "notes").mkdir()
    assert RunDir.create(tmp_path, "cgan", "digits").path.name == "0042"
    assert RunDir.create(tmp_path, "cgan", "other").path.name == "0001"


def test_runs_started_at_once_get_different_numbers(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: RunDir.create(tmp_path, "v", "d").path, range(48)))
    assert len(set(runs)) == 48


def test_unwritable_output_is_wrong_usage(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to .*file.*Give another --out"):
        RunDir.create(tmp_path / "file", "v", "d")
    with pytest.raises(UsageError, match="cannot write to"):
        RunDir.create("/proc/nowhere", "v", "d")


def test_opening(tmp_path):
    with pytest.raises(UsageError, match="there is no run at"):
        RunDir.open(tmp_path / "absent")
    with pytest.raises(UsageError, match="is not a run"):
        RunDir.open(tmp_path)
    for _ in range(2):
        run = RunDir.create(tmp_path, "v", "d")
        (run.path / "config.toml").write_text("")
    RunDir.create(tmp_path, "v", "d")  # without a config: killed at once
    assert RunDir.open(tmp_path / "v-d").path.name == "0002"
    assert RunDir.open(tmp_path / "v-d" / "0001").path.name == "0001"


def test_one_process_trains_a_run(tmp_path):
    run = RunDir.create(tmp_path, "v", "d")
    script = f"""
from pathlib import Path
from gankit.runs.directory import RunDir
with RunDir(Path({str(run.path)!r})).lock():
    pass
"""
    with run.lock():
        busy = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert "is being trained by another process" in busy.stderr
    free = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert free.returncode == 0, free.stderr
