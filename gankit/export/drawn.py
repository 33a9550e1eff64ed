"""What a variant draws while it samples: noted, or given, so that an exported file can be told it.

Every random tensor is made by one of torch's functions. A mode sees those calls wherever they are made, in a plugin, in
a layer or in `SampleRequest.noise`: no plugin has to say what it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gankit.errors import UsageError
from gankit.ops.instance_norm_act import instance_norm_act_reference
from gankit.ops.leaky_relu import leaky_relu_reference

__all__ = ["EMBEDDING", "NORMAL", "UNIFORM", "Draw", "Draws", "NotDrawn"]

NORMAL, UNIFORM = "standard normal", "uniform in [0, 1)"
EMBEDDING = "embedding"
"""What a module returns that no file can hold: the embedding of a caption that is read in Python."""

_NEW: dict[Any, str] = {
    torch.randn: NORMAL,
    torch.randn_like: NORMAL,
    torch.rand: UNIFORM,
    torch.rand_like: UNIFORM,
    torch.randint: "whole numbers, as of torch.randint",
    torch.randint_like: "whole numbers, as of torch.randint",
    torch.randperm: "an order, as of torch.randperm",
    torch.normal: "as of torch.normal",
    torch.bernoulli: "0 or 1, as of torch.bernoulli",
    Tensor.bernoulli: "0 or 1, as of torch.bernoulli",
    torch.multinomial: "as of torch.multinomial",
    Tensor.multinomial: "as of torch.multinomial",
}
_IN_PLACE: dict[Any, str] = {
    getattr(Tensor, name): f"as of Tensor.{name}"
    for name in ("normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_", "log_normal_", "geometric_")
}


class NotDrawn(Exception):
    """Another number of tensors is drawn than before: what is drawn depends on what comes in."""


@dataclass(frozen=True)
class Draw:
    """A tensor that was drawn, and how."""

    law: str
    value: Tensor


class Draws(TorchFunctionMode):
    """Within, what is drawn is noted in `seen`; where `given` is there, its tensors are taken in place of new ones.

    With `formulas` gankit's own ops are torch's, by their references, so that who loads what is traced needs no gankit;
    and ``len`` of a tensor is `size`, where its first dimension is a symbol.
    """

    def __init__(self, given: Sequence[Tensor] | None = None, *, formulas: bool = False, size: int = 0) -> None:
        super().__init__()
        self.seen: list[Draw] = []
        self._given, self._formulas, self._size = given, _formulas() if formulas else {}, size

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _NEW:
            out = kwargs.pop("out", None)
            drawn = self.take(_NEW[func], lambda: func(*args, **kwargs))
            return drawn if out is None else out.copy_(drawn)
        if func in _IN_PLACE:
            if self._given is None:
                self.take(_IN_PLACE[func], lambda: func(*args, **kwargs).clone())
                return args[0]
            return args[0].copy_(self.take(_IN_PLACE[func], lambda: args[0]))
        if func in self._formulas:
            return self._formulas[func](*args, **kwargs)
        if func is Tensor.__len__ and self._size and not isinstance(args[0].shape[0], int):
            return self._size  # python makes a plain int of it, and the batch would be fixed to that
        return func(*args, **kwargs)

    def take(self, law: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` draws, or what is given in its place."""
        if self._given is None:
            value = make()
        elif len(self.seen) == len(self._given):
            raise NotDrawn
        else:
            value = self._given[len(self.seen)]
        self.seen.append(Draw(law, value))
        return value.clone()  # whoever drew it may change it in place

    @contextmanager
    def outside(self, networks: Mapping[str, nn.Module]) -> Iterator[None]:
        """Takes what modules return that say they cannot be in a file (``outside = True``) as what is drawn."""
        modules = {m for network in networks.values() for m in network.modules() if getattr(m, "outside", False)}

        def instead(module: nn.Module) -> Callable[..., Tensor]:
            forward = module.forward

            def embedding(*args: Any) -> Tensor:
                try:
                    return forward(*args)
                except UsageError:  # a caption that was made up, of which the module knows nothing
                    n, size = len(args[0]), module.__dict__.get("size")
                    if not isinstance(size, int):
                        raise
                    return torch.arange(n * size).sin().view(n, size) * 2**0.5

            return lambda *args: self.take(EMBEDDING, lambda: embedding(*args))

        try:
            for module in modules:
                module.forward = instead(module)
            yield
        finally:
            for module in modules:
                module.__dict__.pop("forward", None)


def _formulas() -> dict[Any, Callable[..., Any]]:
    ops: Any = torch.ops.gankit
    found: dict[Any, Callable[..., Any]] = {ops.instance_norm_act.default: _norm}
    found[torch.linalg.solve_triangular] = _solve
    if hasattr(ops, "leaky_relu"):
        found[ops.leaky_relu.default] = _leaky
    return found


def _norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    negative_slope: float,
    eps: float,
    _from_output: bool,
) -> tuple[Tensor, Tensor]:
    y = instance_norm_act_reference(x, weight, bias, residual=residual, negative_slope=negative_slope, eps=eps)
    return y, y  # nobody reads the statistics forward


def _solve(a: Tensor, b: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """By the inverse, which is a constant where `a` comes of weights: ONNX solves nothing."""
    if unitriangular:
        a = a - torch.diag_embed(a.diagonal(dim1=-2, dim2=-1) - 1)
    inverse = torch.linalg.inv((a.triu() if upper else a.tril()).double()).to(a.dtype)
    return inverse @ b if left else b @ inverse


def _leaky(x: Tensor, bias: Tensor, negative_slope: float) -> Tensor:
    return leaky_relu_reference(x, bias, negative_slope=negative_slope)
