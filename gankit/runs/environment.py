"""What a run was made with: ``environment.json``. Nothing that names the user or the machine."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from gankit.discovery.entry_points import owner
from gankit.errors import GankitError
from gankit.json_file import read_object
from gankit.version import __version__


def environment(device: torch.device, *classes: type) -> dict[str, Any]:
    """Versions, device and threads; `classes` are the variant and the dataset, whose distributions are named."""
    described: dict[str, Any] = {
        "gankit": __version__,
        "plugins": _distributions(*classes),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "device": str(device),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "cuda": torch.version.cuda,
            "gpu": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cudnn": torch.backends.cudnn.version(),
        }
    return described


def launched(run: Path) -> object:
    """The name of the launch in which `run` was begun (:func:`gankit.processes.launch_id`), if it is known."""
    try:
        return read_object(run / "environment.json", "").get("launch")
    except GankitError:
        return None


def _distributions(*classes: type) -> dict[str, str]:
    """The plugins that `classes` come from, with their versions."""
    owners = [owner(cls.__module__) for cls in classes]
    return {entry.distribution: entry.version for entry in owners if entry is not None}
