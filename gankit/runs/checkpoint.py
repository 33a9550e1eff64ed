"""One checkpoint: what a run can be continued from, in a folder of its own.

``weights.safetensors`` holds ``<network>.<name>``; ``ema.safetensors`` the same of the averaged networks;
``optimizers.safetensors`` ``<phase>/<network>.<parameter>/<name>``; ``state.json`` everything that is not a tensor, and
the SHA-256 of the others.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from gankit.runs import tensor_folder
from gankit.runs.tensor_folder import DamagedCheckpoint

PARTS = ("weights", "ema", "optimizers")

Name = Annotated[str, Field(max_length=1000)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
TensorFile = Literal["weights.safetensors", "ema.safetensors", "optimizers.safetensors"]


class Best(BaseModel):
    """Which evaluation was the best so far."""

    model_config = ConfigDict(extra="allow", strict=True)

    metric: Name
    value: Number
    step: Count


class State(BaseModel):
    """What stands in ``state.json``, beside the digests. What each of `parts` holds is for that part to judge."""

    model_config = ConfigDict(extra="allow", strict=True)

    step: Count
    variant: Name
    dataset: Name
    stage: Count | None
    device: Name
    seconds: Annotated[Number, Field(ge=0)]
    best: Best | None
    owed: list[Literal["log", "sample", "evaluate", "save"]]
    """What step `step` called for and was not done when the checkpoint was written: a resumed run does it first."""
    versions: dict[str, Name]
    parts: dict[str, dict[str, Any]]
    files: dict[TensorFile, Name]


@dataclass
class Checkpoint:
    """What a run can be continued from. `tensors` are keyed by part, one of `PARTS`; `state` is JSON (:class:`State`).

    `folder` is where it was read from.
    """

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes `checkpoint` into `folder`, all or nothing: see :func:`~gankit.runs.tensor_folder.write_folder`."""
    tensor_folder.write_folder(folder, checkpoint.tensors, {"step": checkpoint.step, **checkpoint.state})


def read(folder: Path, parts: Iterable[str] = PARTS) -> Checkpoint:
    """The checkpoint in `folder` with the `parts` asked for. :class:`DamagedCheckpoint` names the file that is bad."""
    state = read_state(folder)
    tensors = tensor_folder.read_tensors(folder, parts, state["files"])
    return Checkpoint(step=state["step"], tensors=tensors, state=state, folder=folder)


def read_state(folder: Path) -> dict[str, Any]:
    """``state.json``, checked against its own digest and against :class:`State`."""
    state = tensor_folder.read_state(folder)
    path = tensor_folder.present(folder) / "state.json"
    try:
        State.model_validate(state)
        if "weights.safetensors" not in state["files"]:
            raise DamagedCheckpoint(f"{path} names no weights")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:200]
        raise DamagedCheckpoint(f"{path} is damaged: {where}: {first['msg'][:200]}") from error
    return state


def verify(folder: Path) -> None:
    """Raises :class:`DamagedCheckpoint` unless every file is there and unaltered."""
    tensor_folder.verify(folder, read_state(folder)["files"])


def encode_bytes(tensor: Tensor) -> str:
    """A uint8 tensor (a generator's state) as text."""
    return base64.b64encode(tensor.cpu().numpy().tobytes()).decode()


def decode_bytes(text: str) -> Tensor:
    """The reverse of :func:`encode_bytes`. ValueError or TypeError if `text` is something else."""
    return torch.frombuffer(bytearray(base64.b64decode(text, validate=True)), dtype=torch.uint8)
