"""``F.pt2``: a program of torch.export, which torch alone loads and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gankit.export.program import quiet

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["runner", "write"]

FACTS = "gankit.json"
"""Of the extra files in a .pt2."""


def write(program: ExportedProgram, path: Path, facts: str) -> None:
    """Writes `program` to `path`, with `facts` beside it. The values it was traced with stay out of it."""
    program.example_inputs = None
    with quiet(), path.open("wb") as file:
        torch.export.save(program, file, extra_files={FACTS: facts})


def runner(path: Path) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """What computes the file's output in torch."""
    with quiet(), path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(values: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            result: Tensor = module(**values)
        return result

    return run
