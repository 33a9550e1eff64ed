"""The plugin in docs/plugins.md installs, passes its check, trains and draws, exactly as it is printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "plugins.md"


def test_plugin_of_the_guide(tmp_path):
    text = PAGE.read_text(encoding="utf-8")
    project, source = (re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("toml", "python"))
    assert len(project.splitlines()) + len(source.splitlines()) < 60
    folder, site = tmp_path / "plugin", tmp_path / "site"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(project)
    (folder / "gankit_rings.py").write_text(source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", site, folder], check=True)

    def gankit(*arguments: str) -> str:
        code = "import sys; from gankit.cli.main import main; sys.exit(main())"
        env = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    assert "rings" in gankit("list")
    assert "keeps the contract" in gankit("plugins", "check", "rings")
    commands = [line.split()[1:] for line in text.splitlines() if re.match(r"gankit (run|sample) .*rings", line)]
    assert [command[0] for command in commands] == ["run", "sample"]
    run, sample = commands
    run[run.index("--steps") + 1] = "20"
    assert "next: gankit sample" in gankit(*run)
    gankit(*sample)
    assert (tmp_path / "runs/rings-ring-images/0001/sample-0001.png").is_file()
