"""What ``gankit doctor`` says about this machine and what is installed on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import Any

import gankit
from gankit.cli import process
from gankit.discovery.entry_points import datasets, load_dataset, load_variant, variants
from gankit.errors import GankitError

NEEDED = ("numpy", "pydantic", "typer", "rich", "safetensors", "pillow", "imagecodecs", "tomli-w", "fsspec")


@dataclass(frozen=True)
class Fact:
    """`ok`: True, False (something to mend) or None (a plain fact). `fatal`: gankit cannot be used at all."""

    name: str
    value: str
    ok: bool | None = None
    fatal: bool = False


def facts() -> list[Fact]:
    """Everything, slowest last. Plugins are imported, each on its own."""
    return [
        Fact("gankit", gankit.__version__),
        Fact("python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
        *_torch(),
        *(Fact(name, value) for name, value in process.described().items()),
        *_packages(),
        *_tools(),
        *_plugins(),
    ]


def _torch() -> list[Fact]:
    try:
        import torch
    except Exception as error:
        return [Fact("torch", f"cannot be imported: {type(error).__name__}: {error}", False, fatal=True)]
    found = [
        Fact("torch", torch.__version__, True),
        Fact(
            "cpu", f"{torch.get_num_threads()} threads of {os.cpu_count()}, {torch.backends.cpu.get_cpu_capability()}"
        ),
        *_gpus(torch),
    ]
    try:
        from gankit.ops._library import native_available, native_status

        used = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        found.append(Fact("kernels", native_status(), all(native_available(device) for device in used)))
    except Exception as error:
        found.append(Fact("kernels", f"gankit.ops cannot be imported: {error}", False, fatal=True))
    return found


def _gpus(torch: Any) -> list[Fact]:
    built = torch.version.cuda
    if built is None:
        return [Fact("cuda", "torch is a CPU build")]
    if not torch.cuda.is_available():
        return [Fact("cuda", f"torch is built for CUDA {built}; no GPU is visible")]
    names = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        names.append(f"{device.name} ({device.total_memory / 2**30:.0f} GiB, sm_{device.major}{device.minor})")
    return [Fact("cuda", f"CUDA {built}: {', '.join(names)}", True)]


def _packages() -> list[Fact]:
    found = []
    for name in NEEDED:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            return [Fact("packages", f"{name} is not installed: pip install {name}", False, fatal=True)]
    return [Fact("packages", ", ".join(found), True), _extras()]


def _extras() -> Fact:
    """Which of the extras have all that they need."""
    needs: dict[str, list[str]] = {}
    for line in importlib.metadata.requires("gankit") or ():
        if found := re.match(r"([\w.-]+).*;.*\bextra == ['\"]([\w-]+)", line):
            needs.setdefault(found[2], []).append(found[1])
    lacking = sorted(extra for extra, names in needs.items() if not all(map(_is_installed, names)))
    there = ", ".join(sorted(set(needs) - set(lacking))) or "none"
    more = f"; not installed: {', '.join(lacking)} (pip install 'gankit[{lacking[0]}]')" if lacking else ""
    return Fact("extras", f"{there}{more}")


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _tools() -> list[Fact]:
    """What would compile the kernels; not needed once they are built."""
    compiler = os.environ.get("CXX") or next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), "")
    found = [Fact("compiler", _first_line(compiler) if compiler else "none: kernels cannot be built here")]
    found.append(Fact("nvcc", _first_line("nvcc", last=True) if shutil.which("nvcc") else "none"))
    return found


def _first_line(command: str, *, last: bool = False) -> str:
    try:
        done = subprocess.run([*command.split(), "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{command} does not run: {error}"
    lines = done.stdout.strip().splitlines() or [command]
    return lines[-1] if last else lines[0]


def _plugins() -> list[Fact]:
    found = []
    for kind, known, load in (("variant", variants(), load_variant), ("dataset", datasets(), load_dataset)):
        for name, entry in known.items():
            try:
                load(name)
            except GankitError as error:
                found.append(Fact(f"{kind} {name}", str(error).replace("\n", "; "), False))
            else:
                found.append(Fact(f"{kind} {name}", f"{entry.distribution} {entry.version}", True))
    return found or [Fact("plugins", "none installed")]


__all__ = ["Fact", "facts"]
