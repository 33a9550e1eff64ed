"""What reaches a terminal, and what becomes of output that nobody takes."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from gankit.cli import output, progress, streams
from gankit.cli.streams import escaped, printable
from gankit.events import Note, Progress

from .conftest import GOOD

NASTY = "a\x1b]0;title\x07b\x9b31m\u202ecod\u2066\r\x7f"
SHOWN = r"a\x1b]0;title\x07b\x9b31m\u202ecod\u2066\r\x7f"


def test_what_would_steer_a_terminal_is_shown_as_escapes():
    assert printable(NASTY) == SHOWN
    assert printable("two\nlines\tand é, 花, \u05d0, \U0001f33a") == "two\nlines\tand é, 花, \u05d0, \U0001f33a"
    assert printable("a\nb\tc", line=True) == r"a\nb\tc"
    assert escaped("[red]\x1b") == r"\[red]\x1b"
    for code in [*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]:
        assert (printable(chr(code)) == chr(code)) == (chr(code) in "\n\t")


def test_everything_that_is_said_goes_that_way(capsys):
    output.say(NASTY)
    output.warn(NASTY)
    output.say(output.table([(NASTY + "\n", 1)]))
    progress.Reporter()(Note(text=NASTY))
    captured = capsys.readouterr()
    assert captured.err == SHOWN + "\n"
    assert captured.out.splitlines() == [SHOWN, SHOWN + r"\n  1", SHOWN]


def test_a_live_line_too():
    from rich.console import Console

    live = progress.Live()
    file = io.StringIO()
    live.bar.live.console = live.bar.console.__class__(file=file, width=200)
    live.bar.live.console = Console(file=file, width=200)
    live.line(NASTY + "[red]x[/red]")
    live(Progress(what="[bold]work[/bold]" + NASTY, done=0, total=2))
    assert live.bar.tasks[0].description == "[bold]work[/bold]" + SHOWN
    live.stop()
    assert SHOWN + "[red]x[/red]" in file.getvalue()
    assert "\x07" not in file.getvalue()


def test_errors_and_names_of_files(gankit, site, toy):
    for arguments in (("run", toy, "--config", NASTY), ("run", NASTY), ("resume", NASTY), ("run", toy, "--x" + NASTY)):
        outcome = gankit(*arguments)
        assert outcome.code == 2
        assert not set("\x1b\x07\x9b\u202e") & set(outcome.out + outcome.err)
    boom = GOOD.replace(
        "def fool(self, step):\n", "def fool(self, step):\n        raise ArithmeticError('x\\x1b[2J')\n"
    )
    outcome = gankit("run", site.add("boom", boom))
    assert outcome.code in (1, 3)
    assert "\x1b" not in outcome.err
    assert r"\x1b[2J" in outcome.err


def test_descriptions_of_plugins(gankit, site):
    site.add("toy", GOOD.replace('"""A toy.', '"""A \\x1b[31mtoy\\u202e.'))
    info = next(site.path.glob("gankit_plugin_toy*")) / "METADATA"
    info.write_text(info.read_text().replace("Made up.", "Made \x1b[31mup."))
    for arguments in (("list",), ("run", "--help"), ("run", "toy", "--help"), ("plugins", "info", "toy")):
        outcome = gankit(*arguments)
        assert outcome.code == 0
        assert not set("\x1b\u202e") & set(outcome.out)
    assert r"\x1b[31m" in gankit("list").out
    assert (
        "\x1b"
        in gankit("list", "--json").data["variants"][
            [e["name"] for e in gankit("list", "--json").data["variants"]].index("toy")
        ]["summary"]
    )


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise OSError(5, "Input/output error")


def test_unheard_output_is_dropped(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Gone())
    monkeypatch.setattr(sys, "stderr", Gone())
    with streams.unheard():
        print("x", flush=True)
        print("y", file=sys.stderr, flush=True)
        sys.stdout.writelines(["a", "b"])
        assert not sys.stdout.isatty()
    with pytest.raises(BrokenPipeError):
        print("x")


RUN = "import sys; from gankit.cli.main import main; sys.exit(main({arguments!r}))"


def spawn(site, *arguments, **options):
    env = {**os.environ, "PYTHONPATH": f"{site.path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    code = RUN.format(arguments=list(arguments))
    return subprocess.Popen([sys.executable, "-c", code], env=env, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize("json", [False, True])
def test_a_training_outlives_the_reader_of_its_output(site, tmp_path, json):
    loud = GOOD.replace("def fool(self, step):\n", "def fool(self, step):\n        print('a line of the plugin')\n")
    name = site.add("toy", loud)
    arguments = ["run", name, "--steps", "40", "--log-every", "1", "--out", str(tmp_path / "runs")]
    process = spawn(
        site, *arguments, *(["--json"] if json else []), stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )
    (process.stderr if json else process.stdout).read(1)  # as `| head -c 1` does
    (process.stderr if json else process.stdout).close()
    rest = (process.stdout if json else process.stderr).read()
    assert process.wait(120) == 0
    assert (tmp_path / "runs/toy-toy-dots/0001/checkpoints/step-000040").is_dir()
    assert rest.startswith(b"{") if json else rest == b""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")
def test_with_both_streams_closed(site, toy, tmp_path):
    def close():
        os.close(1)
        os.close(2)

    process = spawn(site, "run", toy, "--out", str(tmp_path / "runs"), preexec_fn=close)
    assert process.wait(120) == 0
    assert (tmp_path / "runs/toy-toy-dots/0001/checkpoints/step-000006").is_dir()
