"""``--processes N``: the same command in several processes, which torchrun starts, watches and starts anew."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import typer

from gankit.errors import GankitError, UsageError

RESTARTS = 3
"""How often all are started anew when one has died."""
PATIENCE = 5.0
"""Seconds in which a process that ends with an error has told it."""
EXIT = "GANKIT_EXIT"
"""Where a launched process leaves the code of an error that it has told."""

command: list[str] = []
"""The arguments of the command that is run."""

HELP = "Train in so many processes on this machine, a GPU each where there are. For more machines: torchrun."


def started() -> bool:
    """Whether this process is one of those that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and "RANK" in os.environ


def follows() -> bool:
    """Whether it is one that leaves all output to another one."""
    return started() and os.environ["RANK"] != "0"


def launch(processes: int) -> None:
    """Runs this very command in so many processes until they end, and ends it; alone, or one of them, it goes on.

    One that dies takes the others with it, and all are started anew and go on from the newest checkpoint. One that
    ends with an error that it tells is not started anew.
    """
    if processes < 1:
        raise UsageError(f"--processes {processes}: must be at least 1")
    if processes == 1 or started():
        return
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # each its share of the cores: torchrun would give each a single one, on two cores or on sixty-four
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=RESTARTS,
        monitor_interval=0.2,
    )
    with tempfile.TemporaryDirectory(prefix="gankit-") as folder:
        os.environ[EXIT] = str(Path(folder) / "exit")
        try:
            elastic_launch(config, sys.executable)("-m", "gankit", *command)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            raise typer.Exit(failure.exitcode if failure.exitcode > 0 else 1) from None
        except RuntimeError as error:
            raise GankitError(f"the processes could not be started: {error}") from error
        finally:
            code = _told(os.environ.pop(EXIT), 0.0)
    raise typer.Exit(code or 0)


def ended(code: int, *, lost: bool) -> int:
    """With what a process ends that has told its error, if there was any: those who launched it learn it from a file.

    `lost`: it failed since another one is gone, which may have told its error.
    """
    place = os.environ.get(EXIT)
    if code == 0 or place is None or not started():
        return code
    if lost:
        return code if _told(place, PATIENCE) is None else 0
    if not follows():
        Path(place).write_text(str(code))
    return 0


def _told(place: str, patience: float) -> int | None:
    """The code that a process has left; None if none has for so many seconds."""
    until = time.monotonic() + patience
    while True:
        with suppress(OSError, ValueError):
            return int(Path(place).read_text())
        if time.monotonic() >= until:
            return None
        time.sleep(0.1)


__all__ = ["HELP", "ended", "follows", "launch", "started"]
