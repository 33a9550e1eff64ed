"""What the pages say to type is understood; the plugin of docs/plugins.md works exactly as it is printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from gankit.cli import train
from gankit.cli.main import build
from gankit.events import ignore
from gankit.training.launch import TrainRequest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plugins.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("plugins/*/README.md"))]


def printed(page: Path) -> list[str]:
    """The commands of a page: lines of its blocks of code, and what stands in its text as code with all it needs."""
    text = page.read_text(encoding="utf-8")
    *blocks, rest = re.split(r"^```", text, flags=re.MULTILINE)
    lines = [line for block in blocks[1::2] for line in block.replace("\\\n", " ").splitlines()]
    prose = " ".join([*blocks[::2], rest])
    spans = [
        " ".join(span.split()) for span in re.findall(r"`(gankit (?:run|[a-z]+ [A-Z]+|[a-z]+ runs/)[^`]+)`", prose)
    ]
    return [line for line in [*lines, *spans] if line.startswith("gankit ")]


def understood(line: str) -> None:
    """Takes a command apart as it would be when it is typed, and does nothing."""
    words = shlex.split(line, comments=True)[1:]
    name, *arguments = words[: words.index("|")] if "|" in words else words
    if name == "run":
        variant = arguments.pop(0)
        if variant == "--help":
            return
        train.command(variant, arguments).main(arguments, prog_name=variant, standalone_mode=False)
        return
    command = typer.main.get_command(build()).commands[name]
    while hasattr(command, "get_command"):
        command = command.get_command(typer.Context(command), arguments.pop(0))
    command.make_context(name, arguments)


def asked(name, settings, options):
    """What ``gankit run`` does first: makes options of what was typed."""
    what = {key: settings[key] for key in ("dataset", "preset", "config")}
    TrainRequest.make(name, *what.values(), options, settings["out"], ignore, init=settings["init"]).asked()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_is_understood(page, monkeypatch):
    monkeypatch.setattr(train, "execute", asked)
    unknown = re.compile(r"\bVARIANT\b|\brings\b|\.\.\.|NAME")  # stands for another; is the guide's own plugin
    wrong = {}
    for command in printed(page):
        if unknown.search(command.partition("#")[0]):
            continue
        try:
            understood(command)
        except Exception as error:
            wrong[command] = f"{type(error).__name__}: {error}"
    assert not wrong


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
