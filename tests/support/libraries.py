"""What a native library asks of the system and of torch, as binutils read it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

STABLE = frozenset((Path(__file__).parent / "torch_2_11_symbols.txt").read_text().split())
"""The C functions that torch 2.11, the oldest, exports of those that torch/csrc/inductor/aoti_torch/c/shim.h and
torch/csrc/stable/c/shim.h declare. What is not among them would keep a library from being imported there."""

SYSTEM = re.compile(r"\w+@(GLIBC|GLIBCXX|CXXABI|GCC|libcudart\.so)[._]\d[\d.]*")
PYTHON = re.compile(r"_?Py[A-Z_]\w*")
COMPILER = ("_ITM_deregisterTMCloneTable", "_ITM_registerTMCloneTable", "__gmon_start__")
"""Weak; nobody has to define them."""

NEEDED = re.compile(
    r"lib(c10|c10_cuda|torch|torch_cpu|torch_cuda)\.so"  # installed with torch
    r"|libcudart\.so\.\d+|libstdc\+\+\.so\.6|libgcc_s\.so\.1|lib(c|m|pthread)\.so\.6|ld-linux-[\w-]+\.so\.\d"
)


def undefined(library: Path) -> list[str]:
    """Symbols that others have to define, with their version, as ``memcpy@GLIBC_2.14``, if they have one."""
    lines = _said("nm", "--dynamic", "--undefined-only", str(library))
    return [line.split()[-1].replace("@@", "@") for line in lines]


def unexplained(symbols: list[str]) -> list[str]:
    """Those that come neither from the system nor from Python nor from torch's stable interface, which is plain C.
    Among them are those of torch's C++ interfaces, which change from version to version, and parts of libstdc++ that
    were found in torch's libraries, where the next torch may not have them."""

    def known(symbol: str) -> bool:
        return symbol in STABLE or symbol in COMPILER or bool(PYTHON.fullmatch(symbol) or SYSTEM.fullmatch(symbol))

    return [symbol for symbol in symbols if not known(symbol)]


def newest(symbols: list[str], whose: str) -> tuple[int, ...]:
    """The newest version of `whose` symbols, as (2, 14) of GLIBC."""
    versions = [symbol.partition(f"@{whose}_")[2] for symbol in symbols]
    return max((tuple(map(int, version.split("."))) for version in versions if version), default=())


def dynamic(library: Path, kind: str) -> list[str]:
    """Values of entries ``NEEDED``, ``RPATH``, ... of the dynamic section."""
    return [
        match[1]
        for line in _said("readelf", "-d", "-W", str(library))
        if (match := re.search(rf"\({kind}\).*\[(.*)\]", line))
    ]


def misfits(library: Path) -> list[str]:
    """What keeps a library from being imported on other systems and beside other torches; empty if all is well."""
    found = [f"undefined: {symbol}" for symbol in unexplained(undefined(library))]
    found += [f"needed: {name}" for name in dynamic(library, "NEEDED") if not NEEDED.fullmatch(name)]
    return found + [f"searches {path}" for kind in ("RPATH", "RUNPATH") for path in dynamic(library, kind)]


def _said(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
