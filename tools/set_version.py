"""Gives gankit and its plugins a version: python tools/set_version.py 0.2.0

gankit/version.py has it; each plugin's pyproject.toml repeats it, since a plugin is built alone, and says with it which
gankit and which other plugins it needs. CHANGELOG.md is for people to write.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def bounds(version: str) -> str:
    """From the version's series on to the next that may change what the plugins use: 0.1.3 -> ``>=0.1,<0.2``, 2.1.0 ->
    ``>=2.1,<3``. The contract has its version in the entry points' groups; these plugins use more than the contract."""
    major, minor, patch = version.split(".", 2)
    first = f"{major}.{minor}" if patch.isdecimal() else version  # 0.2.0rc1 is before 0.2
    return f">={first},<{int(major) + 1}" if int(major) else f">={first},<0.{int(minor) + 1}"


def set_version(root: Path, version: str) -> None:
    replace(root / "gankit/version.py", r'^(__version__ = )".*"$', rf'\1"{version}"')
    for project in sorted(root.glob("plugins/gankit-plugin-*/pyproject.toml")):
        replace(project, r'^(version = )".*"$', rf'\1"{version}"')
        replace(project, r'"(gankit(?:-plugin-[a-z0-9-]+)?)>=[^"]*"', rf'"\1{bounds(version)}"')


def replace(path: Path, pattern: str, by: str) -> None:
    text, n = re.subn(pattern, by, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if not n:
        raise SystemExit(f"{path}: nothing there is like {pattern}")
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", sys.argv[1]):
        raise SystemExit("usage: python tools/set_version.py X.Y.Z, or X.Y.Zrc1")
    set_version(ROOT, sys.argv[1])
