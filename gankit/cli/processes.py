"""``--processes N``: the same command in several processes, which torchrun starts, watches and starts anew."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import typer

from gankit.errors import GankitError, UsageError

RESTARTS = 3
"""How often all are started anew when one has died."""
SAVING = "110"
"""Seconds in which those that a signal ends may save, before they are killed."""
GRACE = 5.0
"""Seconds in which a process that ends with an error has told it, once others notice that it is gone."""

command: list[str] = []
"""The arguments of the command that is run."""
launched: list[int] = []
"""The exit code of what was launched, once it has ended: all is told then."""

HELP = "Train in so many processes on this machine, a GPU each where there are. For more machines: torchrun."


def started() -> bool:
    """Whether this process is one of those that torchrun has started to train."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and "RANK" in os.environ and command[:1] in (["run"], ["resume"])


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
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # each its share of the cores: torchrun would give each a single one, on two cores or on sixty-four
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SAVING)
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
    code = 0
    with tempfile.TemporaryDirectory(prefix="gankit-") as folder:
        os.environ["GANKIT_EXIT"] = str(Path(folder) / "exit")
        try:
            elastic_launch(config, sys.executable)("-m", "gankit", *command)
        except ChildFailedError as error:
            _, failure = error.get_first_failure()
            code = failure.exitcode if failure.exitcode > 0 else 1
        except SignalException as error:
            code = 128 + error.sigval
        except RuntimeError as error:
            raise GankitError(f"the processes could not be started: {error}") from error
        finally:
            del os.environ["GANKIT_EXIT"]
        told = sorted(Path(folder).glob("exit-*"), key=lambda place: int(place.name[5:]))
        code = int(told[-1].read_text()) if told else code
    launched.append(code)
    raise typer.Exit(code)


def ended(code: int, error: BaseException | None = None) -> tuple[bool, int]:
    """Whether this process tells the `error` that it ends with, and its exit code.

    Of those that ``--processes`` has started the first to have an error tells it, and leaves its code in a file; they
    all end well then, since torchrun would start them anew. Of others that torchrun has started the leader tells it,
    and each one what it alone has met.
    """
    if error is None or not started():
        return True, code
    from gankit.processes import told_errors

    kind = type(error).__name__
    place = told_errors()
    if kind == "Follows":
        return False, 0 if place else code
    if place is None:
        return not follows() or (kind != "ProcessLost" and _joined()), code
    if kind == "ProcessLost":  # what became of the other one is told by it, or torchrun starts all anew
        gone = not _appears(place)
        return gone and not follows(), code if gone else 0
    try:
        with place.open("x") as file:
            file.write(str(code))
    except FileExistsError:
        return False, 0
    return True, 0


def _joined() -> bool:
    from torch import distributed

    return distributed.is_initialized()


def _appears(place: Path) -> bool:
    """Whether the file is there, or comes soon."""
    until = time.monotonic() + GRACE
    while not place.exists():
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)
    return True


__all__ = ["HELP", "ended", "follows", "launch", "launched", "started"]
