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
        """The kind of device, and each state as base64."""
        state = {"device": self.device.type, "run": encode_bytes(self.generator.get_state())}
        state["cpu"] = encode_bytes(torch.get_rng_state())
        if self.device.type == "cuda":
            state["cuda"] = encode_bytes(torch.cuda.get_rng_state(self.device))
        if self.device.type == "mps":
            state["mps"] = encode_bytes(torch.mps.get_rng_state())
        return state

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """The reverse of :meth:`state_dict`. ValueError, TypeError or RuntimeError if it is something else."""
        device = state.get("device", self.device.type)
        if device not in ("cpu", "cuda", "mps"):
            raise ValueError(f"it is of a device {device!r:.40}")
        if device == self.device.type:
            self.generator.set_state(decode_bytes(state["run"]))
        else:  # whose numbers could not be the same anyway; still a function of what was saved
            self.generator.manual_seed(int.from_bytes(sha256(state["run"].encode()).digest()[:8], "big") >> 1)
        torch.set_rng_state(decode_bytes(state["cpu"]))
        if self.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(decode_bytes(state["cuda"]), self.device)
        if self.device.type == "mps" and "mps" in state:
            torch.mps.set_rng_state(decode_bytes(state["mps"]))


__all__ = ["RandomPart"]
