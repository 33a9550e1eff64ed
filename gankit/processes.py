"""The processes that train one run together, as ``torchrun`` starts them: who they are, and what they tell each other.

The process of rank 0 leads: it alone reads and writes the run. torch.distributed carries everything: tensors between
GPUs by NCCL, all else by gloo. What goes between processes is tensors and JSON; nothing is pickled.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

import torch
from torch import Tensor
from torch import distributed as dist

from gankit.errors import GankitError, out_of_memory

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the leader may train an encoder, or judge, in the meantime."""
BUCKET = 2**23
"""Numbers that are sent at once, so that the copy of gradients that is sent stays small beside them."""


class ProcessLost(GankitError):
    """Another process of the training is gone."""


def _talks(function: Callable[P, R]) -> Callable[P, R]:
    """Says in a line what torch says in pages where the other side is gone."""

    @wraps(function)
    def talk(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:  # gloo's are plain; DistBackendError of NCCL is one
            if out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()
            text = f"another process of this training is gone ({reason[-1][:200] if reason else 'no reason given'})"
            raise ProcessLost(text) from error

    return talk


@dataclass(frozen=True)
class World:
    """This process among those that train together. All of them call the same methods in the same order."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def connected(self) -> bool:
        """Whether the others, if there are any, can be reached."""
        return self.size == 1 or dist.is_initialized()

    def abandon(self) -> None:
        """Ends the connection: whatever the others wait for fails, now; on GPUs once this process has ended."""
        if self.size > 1 and dist.is_initialized() and not dist.is_nccl_available():
            dist.destroy_process_group()

    def share(self, count: int) -> slice:
        """Which of `count` rows of a whole batch are this process's."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    @_talks
    def sum_(self, tensor: Tensor) -> Tensor:
        """`tensor`, contiguous, becomes the sum over all processes, in place; the same bits in each."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def average_(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its mean over all processes, in place: gradients after a backward pass.

        Of one type, and on one device, they go together, a bucket at a time, whatever their layout in memory.
        """
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([_in_memory(one) for one in bucket])
            self.sum_(flat).div_(self.size)
            torch._foreach_copy_([_in_memory(one) for one in bucket], list(flat.split([one.numel() for one in bucket])))

    def largest(self, value: int) -> int:
        """The largest `value` of all processes."""
        if self.size == 1:
            return value
        return int(self._of_all(torch.tensor([value])).amax())

    def spread(self, values: Tensor) -> Tensor:
        """How far `values` (N,) on the CPU are apart: the largest less the smallest of each over all processes."""
        found = self._of_all(values)
        return found.amax(0) - found.amin(0)

    def _of_all(self, values: Tensor) -> Tensor:
        """Those of all processes, (size, N)."""
        found = values.new_zeros(self.size, len(values))
        found[self.rank] = values
        return self.sum_(found)

    @_talks
    def send(self, values: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        """From the leader to all others, which :meth:`receive` it: JSON, and tensors by name."""
        if self.size == 1:
            return
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in (tensors or {}).items()}
        kinds = [[name, str(one.dtype).removeprefix("torch."), list(one.shape)] for name, one in on_cpu.items()]
        text = torch.frombuffer(bytearray(json.dumps([values, kinds]).encode()), dtype=torch.uint8)
        dist.broadcast(torch.tensor([len(text)]), 0)
        dist.broadcast(text, 0)
        for one in on_cpu.values():
            dist.broadcast(_bytes(one), 0)

    @_talks
    def receive(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What the leader sends."""
        length = torch.zeros(1, dtype=torch.int64)
        dist.broadcast(length, 0)
        text = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(text, 0)
        values, kinds = json.loads(bytes(text.numpy()))
        tensors = {}
        for name, dtype, shape in kinds:
            tensors[name] = torch.empty(shape, dtype=getattr(torch, dtype))
            dist.broadcast(_bytes(tensors[name]), 0)
        return values, tensors


ALONE = World()
_launch: str | None = None
_calls = 0


def launch_id() -> str | None:
    """A name for what the processes that torchrun started train next, the same once it has started them anew.

    None without torchrun. Each call is another name, so that a script may train several runs, one after another.
    """
    global _calls
    run = os.environ.get("TORCHELASTIC_RUN_ID")
    if run is None:
        return None
    _calls += 1
    # where processes do not share the agent's store its own process is what stays
    return f"{_launch or f'{run}-{socket.gethostname()}-{os.getppid()}'}/{_calls}"


def started_together() -> bool:
    """Whether torchrun, or whoever speaks like it, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and "RANK" in os.environ


def joined() -> World:
    """The world that this process was started into; joins it when first asked. :class:`GankitError` if that fails."""
    if not started_together():
        return ALONE
    if not dist.is_initialized():
        from torch.distributed.nn import functional  # noqa: F401  imported later, its defaults would hold the group

        on_gpus = torch.cuda.is_available()
        if on_gpus:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl" if on_gpus else "gloo"
        try:
            dist.init_process_group(backend, timeout=PATIENCE, **_meeting())
        except (RuntimeError, ValueError) as error:
            raise GankitError(f"the processes that train together do not find each other: {error}") from error
        if not on_gpus:
            atexit.register(_leave)
    return World(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    """Ends gloo's threads before Python ends: one that lets go of a tensor while Python is taken down aborts it."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _meeting() -> dict[str, Any]:
    """Where the processes of this start meet, as init_process_group takes it; empty: where torch would have them meet.

    The store that torchrun's agent keeps outlives a start that failed, with the addresses of those who are dead; torch
    reads them, and waits for ever. So all agree on a name for this start first. The number of restarts is none: each
    machine counts its own.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return {}
    global _launch
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    _launch = store.compare_set("gankit/launch", "", uuid4().hex).decode()
    name = uuid4().hex
    if rank == 0:
        store.set("gankit/leader", name)
        for other in range(1, size):  # each says a name of its own, so that no answer to one who is dead can be meant
            place = f"{name}/{other}"
            _wait_for(partial(store.check, [place]))
            store.set(f"{place}/{store.get(place).decode()}", "")
        return {"store": dist.PrefixStore(name, store), "rank": rank, "world_size": size}
    leaders = ""

    def answered() -> bool:
        nonlocal leaders
        if store.check(["gankit/leader"]) and leaders != (now := store.get("gankit/leader").decode()):
            leaders = now
            store.set(f"{leaders}/{rank}", name)
        return bool(leaders) and store.check([f"{leaders}/{rank}/{name}"])

    _wait_for(answered)
    return {"store": dist.PrefixStore(leaders, store), "rank": rank, "world_size": size}


def _wait_for(done: Callable[[], bool]) -> None:
    """Until it is; :class:`ProcessLost` if another process has told an error in the meantime."""
    while not done():
        if (told := told_errors()) and told.exists():
            raise ProcessLost("another process of this training has ended before it began")
        time.sleep(0.05)


def told_errors() -> Path | None:
    """The file in which a process that ``--processes`` started leaves the exit code of an error that it has told."""
    place = os.environ.get("GANKIT_EXIT")
    return Path(f"{place}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}") if place else None


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """In order, those of one type and device together, up to BUCKET numbers, or one that is larger alone."""
    buckets: list[list[Tensor]] = []
    room: dict[tuple[torch.dtype, torch.device], tuple[list[Tensor], int]] = {}
    for one in tensors:
        kind = one.dtype, one.device
        bucket, filled = room.get(kind, ([], BUCKET))
        if filled + one.numel() > BUCKET:
            bucket, filled = [], 0
            buckets.append(bucket)
        bucket.append(one)
        room[kind] = bucket, filled + one.numel()
    return buckets


def _in_memory(tensor: Tensor) -> Tensor:
    """A dense tensor's numbers as they lie in memory, a view (numel,): channels_last does not have to be undone."""
    return tensor.detach().as_strided((tensor.numel(),), (1,))


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)


__all__ = ["ALONE", "ProcessLost", "World", "joined", "launch_id", "started_together", "told_errors"]
