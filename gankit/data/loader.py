"""Full batches without end, which can be continued exactly where they stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.data.faults import fault
from gankit.errors import GankitError, UsageError
from gankit.options.spelling import give, shown
from gankit.processes import ALONE, World

if TYPE_CHECKING:
    from gankit.plugin import Batch, Dataset, DataSpec

__all__ = ["Loader", "check_batch", "permutation"]


def permutation(length: int, seed: int, epoch: int, stream: str = "") -> Tensor:
    """The order of epoch `epoch` of a stream of samples, int64 (length,): a function of its arguments alone."""
    purpose = f"{seed}:{epoch}:{stream}" if stream else f"{seed}:{epoch}"
    digest = blake2b(purpose.encode("utf-8", "surrogatepass"), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
    return torch.randperm(length, generator=generator)


def check_batch(batch: Batch, spec: DataSpec, size: int, keys: Iterable[str] | None = None) -> None:
    """Raise :class:`GankitError` if `batch` is not `size` valid samples of `keys` (all, if None) as `spec` says."""
    if not isinstance(batch, Mapping):
        raise GankitError(f"the dataset's batch is a {type(batch).__name__}, not a dict of tensors")
    names = list(spec.keys if keys is None else keys)
    if missing := set(names) - set(batch):
        raise GankitError(f"the dataset's batch lacks the key {min(missing)!r} that its spec names")
    for name in names:
        if text := fault(spec[name], batch[name], size):
            raise GankitError(f"the dataset's {name!r} {text}")


class _Order:
    """Positions in the endless concatenation of the epochs' permutations of one stream."""

    def __init__(self, length: int, seed: int, stream: str) -> None:
        self.length, self.seed, self.stream = length, seed, stream
        self.seek((0, 0))

    @property
    def place(self) -> tuple[int, int]:
        """Epoch, and position in it."""
        return self.epoch, self.position

    def seek(self, place: tuple[int, int]) -> None:
        self.epoch, self.position = place
        self._indices = permutation(self.length, self.seed, self.epoch, self.stream)

    def take(self, count: int) -> Tensor:
        """The next `count` indices."""
        end = self.position + count
        if end <= self.length:
            part = self._indices[self.position : end]
            self.position = end
            return part
        parts = [self._indices[self.position :]]
        end -= self.length
        while True:
            self.seek((self.epoch + 1, min(end, self.length)))
            parts.append(self._indices[: self.position])
            if end <= self.length:
                return torch.cat(parts)
            end -= self.length


_Places = list[tuple[int, int]]
"""Of each stream: the epoch, and the position in it."""


class Loader:
    """Batches of exactly `batch_size` samples without end.

    Each epoch goes through the dataset once in an order of its own, drawn from (`seed`, epoch); batches run across the
    ends of epochs, so nothing is left over and a dataset may be smaller than a batch. If the dataset has several
    streams, each is gone through like that by itself, so that what stands beside a sample changes from epoch to epoch.

    Of several processes of a `world` each gets its share of the rows of a batch, whose number they must divide: all go
    through the same order, and stand at the same place.

    `workers` threads read ahead, `ahead` batches each; the order is that of one reader. With ``workers=0``, and for a
    dataset that says it is ``in_memory``, batches are read when asked for: handing one over costs more than copying it.
    `pin` puts them in page-locked memory. An error while reading comes out of :meth:`next`, which may be called again.

    Close it, or use it in a ``with`` block, to drop what is read ahead; a loader that is garbage ends its threads too.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        *,
        pin: bool = False,
        ahead: int = 2,
        world: World = ALONE,
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise UsageError(f"workers must be at least 0, got {workers}")
        if batch_size % world.size:
            near = give("batch_size", max(batch_size // world.size, 1) * world.size)
            raise UsageError(
                f"batch_size = {batch_size} cannot be shared evenly by {world.size} processes. Use {near}."
            )
        streams = dict(dataset.streams())
        for stream, length in (streams or {"": 0}).items():
            if length < 1:
                named = f"stream {stream!r} of the dataset's" if stream else "dataset's"
                raise UsageError(f"the {named} {dataset.split} split is empty: there is nothing to load")
        self.dataset = dataset
        self.batch_size = batch_size
        self.size = batch_size // world.size
        """Samples of a batch that this process gets."""
        self.seed = seed
        self._share = world.share(batch_size)
        self.workers = 0 if dataset.in_memory else workers
        self._pin = pin
        self._depth = self.workers * ahead
        self._orders = [_Order(length, seed, stream) for stream, length in streams.items()]  # where reading is
        self._places = self._reached()  # where the user of the batches is
        self._waiting: deque[tuple[Future[Batch], _Places]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._checked = False

    def next(self) -> Batch:
        """The next batch: CPU tensors as the dataset made them (images uint8), in page-locked memory if asked for."""
        if self.workers:
            return self._next_ahead()
        try:
            batch = self._read(self._take())
        except BaseException:
            self._rewind()
            raise
        self._places = self._reached()
        return batch

    def _next_ahead(self) -> Batch:
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="gankit-loader")
        while len(self._waiting) <= self._depth:
            read = pool.submit(self._read, self._take())
            self._waiting.append((read, self._reached()))
        try:
            batch = self._waiting[0][0].result()
        except BaseException:
            self._rewind()
            raise
        _, self._places = self._waiting.popleft()
        return batch

    def _take(self) -> Tensor | dict[str, Tensor]:
        """What to ask the dataset for next: indices, by stream if there are several."""
        own = self._share
        if len(self._orders) == 1:
            return self._orders[0].take(self.batch_size)[own]
        return {order.stream: order.take(self.batch_size)[own] for order in self._orders}

    def _reached(self) -> _Places:
        return [order.place for order in self._orders]

    def _read(self, indices: Tensor | dict[str, Tensor]) -> Batch:
        try:
            batch = self.dataset.batch(indices)
        except GankitError:
            raise
        except Exception as error:
            raise GankitError(f"reading samples failed: {type(error).__name__}: {error}") from error
        if not self._checked:
            check_batch(batch, self.dataset.spec, self.size)
            self._checked = True
        if self._pin:
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return batch

    def _rewind(self) -> None:
        """Forget what was read ahead."""
        for read, _ in self._waiting:
            read.cancel()
        self._waiting.clear()
        for order, place in zip(self._orders, self._places, strict=True):
            order.seek(place)

    def state_dict(self) -> dict[str, Any]:
        """Where each stream stands, after the batches that :meth:`next` returned: whole numbers, fit for JSON."""
        return {
            "seed": self.seed,
            "streams": {
                order.stream: {"length": order.length, "epoch": epoch, "position": position}
                for order, (epoch, position) in zip(self._orders, self._places, strict=True)
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; :class:`UsageError` if that is damaged, or of another dataset or seed.

        One that says it is not ``begun`` is of a run made without its data: it begins at the first sample.
        """
        seed, streams = _field(state, "seed"), state.get("streams")
        if seed != self.seed:
            raise UsageError(
                f"the run began with {seed} as the loader's seed and it is now {self.seed}: it cannot go on exactly"
            )
        if not isinstance(streams, Mapping):
            raise UsageError(f"the loader's state is damaged: its streams are {shown(streams)}")
        if state.get("begun") is False and not streams:
            streams = {order.stream: {"length": order.length, "epoch": 0, "position": 0} for order in self._orders}
        if set(streams) != {order.stream for order in self._orders}:
            then, now = (", ".join(map(repr, names)) for names in (streams, (o.stream for o in self._orders)))
            raise UsageError(f"the run began with the streams {then} and there are now {now}: it cannot go on exactly")
        self._places = [_place(order, streams[order.stream]) for order in self._orders]
        self._rewind()

    def close(self) -> None:
        """End the threads. The loader can still be used: they are started again when needed."""
        self._rewind()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _place(order: _Order, state: object) -> tuple[int, int]:
    """The place that the state of one stream says; :class:`UsageError` if it is none."""
    length, epoch, position = (_field(state, name) for name in ("length", "epoch", "position"))
    if length != order.length:
        of = f" of {order.stream!r}" if order.stream else ""
        raise UsageError(
            f"the run began with {length} samples{of} in the training split and there are now {order.length}: "
            "it cannot go on exactly"
        )
    if position > length:
        raise UsageError(f"the loader's state is damaged: its position is {position} of {length}")
    return epoch, position


def _field(state: object, name: str) -> int:
    value = state.get(name) if isinstance(state, Mapping) else None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"the loader's state is damaged: its {name} is {shown(value)}")
    return value
