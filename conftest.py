"""What the tests of the core and of the plugins share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from gankit.run import Run

sys.path.insert(0, str(Path(__file__).parent / "tests" / "support"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For networks so small that threads would only wait for each other. What a module shares is made so, too."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def resumes_exactly(tmp_path: Path, one_thread: None) -> Callable[..., Run]:
    """Trains twice with the same arguments of `gankit.train`, once killed at half of the `steps` and resumed: weights,
    averages and optimisers of both end as the same bytes, which is promised of the CPU. The variant may be a class, and
    the dataset an open one. Returns the run that was not killed."""
    import gankit
    from gankit.events import Saved
    from gankit.plugin import Dataset, Variant

    class Killed(Exception):
        pass

    def check(
        variant: str | type[Variant[Any]], dataset: str | Dataset[Any] | None = None, *, steps: int, **options: Any
    ) -> Run:
        def kill(event: object) -> None:
            if isinstance(event, Saved) and event.step == steps // 2:
                raise Killed

        options |= {"steps": steps, "checkpoint_every": steps // 2, "device": "cpu"}
        whole = gankit.train(variant, dataset, out=tmp_path / "whole", **options)
        with pytest.raises(Killed):
            gankit.train(variant, dataset, out=tmp_path / "killed", on_event=kill, **options)
        kinds = {
            "variant": variant if isinstance(variant, type) else None,
            "dataset": type(dataset) if isinstance(dataset, Dataset) else None,
        }
        resumed = gankit.open_run(tmp_path / "killed" / whole.path.parent.name, **kinds).resume()
        ends = [run.path / "checkpoints" / f"step-{steps:06d}" for run in (whole, resumed)]
        names = {path.name for path in ends[0].glob("*.safetensors")}
        assert {"weights.safetensors", "optimizers.safetensors"} <= names
        for name in names:
            assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes(), name
        return whole

    return check
