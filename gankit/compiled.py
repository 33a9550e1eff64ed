"""Networks by torch.compile, for the losses of a training that asks for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn

__all__ = ["as_written", "compiled", "failure"]

_AS_WRITTEN: ContextVar[bool] = ContextVar("as_written", default=False)


@contextmanager
def as_written() -> Iterator[None]:
    """Within it compiled networks run as they are written, and can be differentiated twice."""
    token = _AS_WRITTEN.set(True)
    try:
        yield
    finally:
        _AS_WRITTEN.reset(token)


def compiled(networks: Mapping[str, nn.Module], but: Collection[str] = ()) -> dict[str, nn.Module]:
    """Those of `networks` that have parameters by torch.compile, as they are first called; the others, and those whose
    names `but` has, as they are."""
    return {
        name: _Compiled(network) if name not in but and any(True for _ in network.parameters()) else network  # type: ignore[misc]
        for name, network in networks.items()
    }


class _Compiled:
    """A network of which ``forward`` and the methods of its own class are compiled; all else is the network's.

    torch's own ``Module.compile`` knows of ``forward`` alone, and passes over modules of torch's such as Sequential.
    """

    def __init__(self, network: nn.Module) -> None:
        self.__dict__.update(_network=network, _made={})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._either("forward", self._network)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._network, name)
        own = inspect.ismethod(value) and value.__self__ is self._network and not hasattr(nn.Module, name)
        return (lambda *args, **kwargs: self._either(name, value)(*args, **kwargs)) if own else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._network, name, value)

    def _either(self, name: str, written: Callable[..., Any]) -> Callable[..., Any]:
        if _AS_WRITTEN.get():
            return written
        if name not in self._made:
            # random numbers are eager torch's, so that a run draws the same as without
            self._made[name] = torch.compile(written, dynamic=False, options={"fallback_random": True})
        return self._made[name]


def failure(error: Exception) -> str | None:
    """What is wrong if `error` is of torch.compile, as a sentence; None if it is of something else."""
    text = str(error)
    if "does not currently support double backward" in text:
        return (
            "it takes a gradient of a gradient, which a network by torch.compile has not: call the network there "
            "within gankit.compiled.as_written(), as gankit.losses does, or train without compile"
        )
    if any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__):  # which torch keeps to itself
        first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
        return f"torch.compile failed: {first[:300].rstrip('.')}. Train without compile"
    return None
