"""An endless stream of full batches that can be continued exactly where it stopped."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gankit.errors import GankitError, UsageError

if TYPE_CHECKING:
    from gankit.plugin import Batch, Dataset, DataSpec

__all__ = ["Loader", "check_batch", "permutation"]

_DTYPES = {"image": torch.uint8, "class": torch.int64, "text": torch.uint8, "vector": torch.float32}


def permutation(length: int, seed: int, epoch: int) -> Tensor:
    """The order of epoch `epoch`, int64 (length,): a function of its arguments alone."""
    digest = blake2b(f"{seed}:{epoch}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))
    return torch.randperm(length, generator=generator)


def check_batch(batch: Batch, spec: DataSpec, size: int) -> None:
    """Raise :class:`GankitError` if `batch` is not `size` samples of what `spec` says."""
    if missing := set(spec.keys) - set(batch):
        raise GankitError(f"the dataset's batch lacks the key {min(missing)!r} that its spec names")
    for name, key in spec.keys.items():
        want = (_DTYPES[key.kind], (size, *key.shape))
        got = (batch[name].dtype, tuple(batch[name].shape))
        if want != got:
            raise GankitError(f"the dataset's {name!r} is {got[0]} {got[1]}; its spec says {want[0]} {want[1]}")


class _Order:
    """Positions in the endless concatenation of the epochs' permutations."""

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self.seek(0, 0)

    def seek(self, epoch: int, position: int) -> None:
        self.epoch, self.position = epoch, position
        self._indices = permutation(self.length, self.seed, epoch)

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
            self.seek(self.epoch + 1, min(end, self.length))
            parts.append(self._indices[: self.position])
            if end <= self.length:
                return torch.cat(parts)
            end -= self.length


class Loader:
    """Batches of exactly `batch_size` samples without end.

    Each epoch goes through the dataset once in an order of its own, drawn from (`seed`, epoch); batches run across the
    ends of epochs, so nothing is left over and a dataset may be smaller than a batch.

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
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise UsageError(f"workers must be at least 0, got {workers}")
        if (length := len(dataset)) < 1:
            raise UsageError(f"the dataset's {dataset.split} split is empty: there is nothing to load")
        self.dataset = dataset
        self.batch_size = batch_size
        self.workers = 0 if dataset.in_memory else workers
        self._pin = pin
        self._depth = self.workers * ahead
        self._order = _Order(length, seed)  # where reading is
        self._epoch = self._position = 0  # where the user of the batches is
        self._waiting: deque[tuple[Future[Batch], int, int]] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._checked = False

    def next(self) -> Batch:
        """The next batch: CPU tensors as the dataset made them (images uint8), in page-locked memory if asked for."""
        if self.workers:
            return self._next_ahead()
        order = self._order
        try:
            batch = self._read(order.take(self.batch_size))
        except BaseException:
            order.seek(self._epoch, self._position)
            raise
        self._epoch, self._position = order.epoch, order.position
        return batch

    def _next_ahead(self) -> Batch:
        pool = self._pool
        if pool is None:
            pool = self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="gankit-loader")
        while len(self._waiting) <= self._depth:
            indices = self._order.take(self.batch_size)
            read = pool.submit(self._read, indices)
            self._waiting.append((read, self._order.epoch, self._order.position))
        try:
            batch = self._waiting[0][0].result()
        except BaseException:
            self._rewind()
            raise
        _, self._epoch, self._position = self._waiting.popleft()
        return batch

    def _read(self, indices: Tensor) -> Batch:
        try:
            batch = self.dataset.batch(indices)
        except GankitError:
            raise
        except Exception as error:
            raise GankitError(f"reading samples failed: {type(error).__name__}: {error}") from error
        if not self._checked:
            check_batch(batch, self.dataset.spec, len(indices))
            self._checked = True
        if self._pin:
            batch = {key: value.pin_memory() for key, value in batch.items()}
        return batch

    def _rewind(self) -> None:
        """Forget what was read ahead."""
        for read, _, _ in self._waiting:
            read.cancel()
        self._waiting.clear()
        self._order.seek(self._epoch, self._position)

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, after the batches that :meth:`next` returned: whole numbers, fit for JSON."""
        return {
            "epoch": self._epoch,
            "position": self._position,
            "length": self._order.length,
            "seed": self._order.seed,
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from `state`. Raises :class:`UsageError` if the dataset or the seed is another one."""
        for name, what in (("length", "samples in the training split"), ("seed", "as the loader's seed")):
            now, then = getattr(self._order, name), state[name]
            if now != then:
                raise UsageError(f"the run began with {then} {what} and there are now {now}: it cannot go on exactly")
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
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
