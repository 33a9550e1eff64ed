"""One run for all tests here: they look at copies of its directory."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from gankit.evaluate import JudgeConfig


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run that evaluated, by a judge that learns for a moment."""
    import torch
    from report_helpers import train

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        torch.set_num_threads(1)
        patch.setenv("GANKIT_CACHE", str(tmp_path_factory.mktemp("judges")))
        patch.setattr("gankit.evaluate.cache.JudgeConfig", lambda: JudgeConfig(width=4, steps=5, batch_size=8))
        run = train(tmp_path_factory.mktemp("runs"))
        torch.set_num_threads(threads)
    return run.path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    copy = tmp_path / "told-blobs" / "0001"
    shutil.copytree(trained, copy)
    return copy
