"""What is set for a process before torch is loaded, and left alone where the user did."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gankit.cli import process

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "GLIBC_TUNABLES")

PROBE = """
import json, os, sys
from gankit.cli import process
from gankit.cli.main import main
{first}
code = main({arguments!r})
print(json.dumps([process._settled, os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules]), file=sys.stderr)
"""


def probe(*arguments, first="", **environment):
    kept = {key: value for key, value in os.environ.items() if key not in SETTINGS and not key.startswith("MALLOC_")}
    code = PROBE.format(arguments=list(arguments), first=first)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stderr.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP and, in most systems, its C library")
def test_commands_that_work_are_settled_before_torch():
    settled, spins, _ = probe("resume", "nowhere")
    assert set(settled) == {"malloc", "openmp"}
    assert spins == str(process.SPINS)
    assert "GOMP_SPINCOUNT" in settled["openmp"]


@pytest.mark.parametrize("arguments", [("list",), ("run", "--help"), ("bench", "ops", "--op", "none")])
def test_pages_and_kernel_timings_are_not(arguments):
    assert probe(*arguments)[:2] == [{}, None]


@pytest.mark.parametrize(
    ("name", "value", "which"),
    [
        ("OMP_WAIT_POLICY", "active", "openmp"),
        ("GOMP_SPINCOUNT", "5", "openmp"),
        ("KMP_BLOCKTIME", "0", "openmp"),
        ("MALLOC_TRIM_THRESHOLD_", "100000", "malloc"),
        ("MALLOC_MMAP_THRESHOLD_", "100000", "malloc"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1000000", "malloc"),
    ],
)
def test_what_the_user_set_stays(name, value, which, monkeypatch):
    for other in (*SETTINGS, "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "_settled", {})
    monkeypatch.setattr(process, "_mallopt", lambda: lambda *_: 1)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    process.settle()
    assert "as you set it" in process.described()[which]
    assert name in process.described()[which]
    assert os.environ[name] == value
    if which == "openmp":
        assert os.environ.get("GOMP_SPINCOUNT") == (value if name == "GOMP_SPINCOUNT" else None)
    monkeypatch.setenv("GOMP_SPINCOUNT", "restored")  # monkeypatch takes back what settle may have set


def test_once_torch_is_loaded_nothing_is_changed(monkeypatch):
    import torch  # noqa: F401

    monkeypatch.setattr(process, "_settled", {})
    monkeypatch.setattr(process, "_settle_malloc", None)  # would raise
    process.settle()
    assert set(process.described().values()) == {"as it was: torch was loaded already"}


def test_without_glibc(monkeypatch):
    monkeypatch.setattr(process, "_mallopt", lambda: None)
    assert process._settle_malloc({}) == "as it was: this is not glibc"
    monkeypatch.setattr(process, "_mallopt", lambda: lambda *_: 0)
    assert "refused" in process._settle_malloc({})


def test_doctor_says_what_is_set(gankit):
    facts = {fact["name"]: fact for fact in gankit("doctor", "--json").data["facts"]}
    assert facts["malloc"]["value"]
    assert facts["openmp"]["value"]
