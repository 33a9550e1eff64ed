"""Runs of a made-up plugin, whose pictures say what they were asked with, and the page of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from made_up import Site

import gankit

SOURCE = (Path(__file__).parent / "painter_plugin.py").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Made:
    """A directory of runs, and where the plugin lies that they are of."""

    root: Path
    site: Path
    painter: Path
    negative: Path


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    home = tmp_path_factory.mktemp("ui")
    site, root = home / "site", home / "runs"
    site.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        patch.setenv("GANKIT_CACHE", str(home / "cache"))
        Site(site).add(
            "painter",
            SOURCE,
            variants={"painter": "painter:Toy", "painter-negative": "painter:Negative"},
            datasets={"painter-dots": "painter:Dots", "painter-sides": "painter:Sides"},
        )
        painter = gankit.train("painter", out=root, device="cpu").path
        negative = gankit.train("painter-negative", out=root, device="cpu").path
        yield Made(root, site, painter, negative)


Serve = Callable[..., "contextmanager[str]"]


@pytest.fixture(scope="package")
def serve(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Starts the page in a process of its own; within, its address."""

    @contextmanager
    def serve(*arguments: str, root: Path = made.root, **environment: str) -> Iterator[str]:
        paths = [str(made.site), *(path for path in sys.path if path)]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **environment}
        command = [sys.executable, "-m", "gankit", "ui", str(root), "--port", "0", "--device", "cpu", *arguments]
        home = tmp_path_factory.mktemp("served")
        log, files = home / "log", home / "files"
        files.mkdir()
        env["TMPDIR"] = str(files)
        with log.open("wb") as told, subprocess.Popen(command, env=env, stdout=told, stderr=told) as process:
            try:
                while not (found := re.search(r"http://\S+/ ", log.read_text())):
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.1)
                yield found[0].strip()
            finally:
                process.terminate()
                process.wait(30)
        assert log.read_text().endswith("\ninterrupted\n")
        assert not list(files.glob("gankit-ui-*"))  # what was drawn goes with it

    return serve


@pytest.fixture(scope="package")
def place(serve: Serve) -> Iterator[str]:
    """The address of the page of all runs."""
    pytest.importorskip("gradio")
    with serve() as address:
        yield address
