"""All random state of a training, as a part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import torch

from gankit.runs.checkpoint import decode_bytes, encode_bytes


class RandomPart:
    """The run's generator, and torch's global state, from which dropout and the like draw."""

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device

    def state_dict(self) -> dict[str, str]:
        """Each as base64."""
        state = {"run": encode_bytes(self.generator.get_state()), "cpu": encode_bytes(torch.get_rng_state())}
        if self.device.type == "cuda":
            state["cuda"] = encode_bytes(torch.cuda.get_rng_state(self.device))
        return state

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """The reverse of :meth:`state_dict`. ValueError, TypeError or RuntimeError if it is something else."""
        run = decode_bytes(state["run"])
        if run.numel() == self.generator.get_state().numel():
            self.generator.set_state(run)
        else:  # another kind of device, whose numbers could not be the same anyway; still a function of what was saved
            self.generator.manual_seed(int.from_bytes(sha256(state["run"].encode()).digest()[:8], "big") >> 1)
        torch.set_rng_state(decode_bytes(state["cpu"]))
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(decode_bytes(state["cuda"]), self.device)


__all__ = ["RandomPart"]
