"""An environment in which gankit and its plugins can be installed as by a user: it has all that is installed here, by
links to it, but gankit and its plugins themselves, which are installed here from the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

OURS = re.compile(r"gankit.*|__editable__.*|.*\.pth|.*\.egg-link|__pycache__", re.IGNORECASE)


class Apart:
    """`path` is made. Commands run in `home`, an empty folder."""

    def __init__(self, path: Path) -> None:
        self.home = path / "home"
        self.bin = path / "env" / "bin"
        others = path / "others"
        others.mkdir(parents=True)
        for site in (Path(entry) for entry in sys.path):
            if site.name in ("site-packages", "dist-packages") and site.is_dir():
                for one in site.iterdir():
                    if not OURS.fullmatch(one.name) and not os.path.lexists(others / one.name):
                        (others / one.name).symlink_to(one)
        self.home.mkdir()
        venv.create(path / "env", symlinks=True)
        (self.site,) = (path / "env").glob("lib/python*/site-packages")
        (self.site / "others.pth").write_text(f"{others}\n")
        tools = f"{self.bin}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # ninja's, too
        hidden = ("PYTHON", "GANKIT_", "PIP_", "VIRTUAL_ENV")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
        self.environment |= {"PATH": tools, "GANKIT_CACHE": str(path / "cache"), "GANKIT_CUDA": "0", "COLUMNS": "120"}

    def install(self, *what: str | Path, options: tuple[str, ...] = ()) -> None:
        """By pip, which has no network: what is required must be here."""
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check", "install"]
        self._run(*pip, "--quiet", "--no-index", "--no-build-isolation", *options, *what)

    def run(self, program: str, *arguments: str | Path) -> str:
        """What a program of the environment prints."""
        return self._run(self.bin / program, *arguments)

    def _run(self, *command: str | Path) -> str:
        done = subprocess.run(command, cwd=self.home, env=self.environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout
