"""Help is quick and safe: it imports neither torch nor plugins, and no broken plugin can stop it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import GOOD

PROBE = """
import sys
from gankit.cli.main import main
code = main({arguments!r})
heavy = {{"torch", "numpy", "toy", "pydantic", "jinja2", "PIL"}} & set(sys.modules)
print("HEAVY", *sorted(heavy), file=sys.stderr)
sys.exit(code)
"""


def probe(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}", "COLUMNS": "160"}
    code = PROBE.format(arguments=list(arguments))
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [("--help",), ("run", "--help"), ("list",), ("plugins", "--help"), ("bench", "--help")]
)
def test_help_imports_nothing_heavy(site, toy, arguments):
    done = probe(site.path, *arguments)
    assert done.returncode == 0, done.stderr
    # typer checks the values of a command's own options by pydantic
    assert done.stderr in ("HEAVY\n", *(["HEAVY pydantic\n"] if arguments == ("list",) else []))
    if arguments[-1] != "--help" or arguments[0] == "run":
        assert "toy" in done.stdout


def test_listing_imports_no_torch(site, toy):
    for arguments in (("plugins", "list"), ("list", "--json")):
        done = probe(site.path, *arguments)
        assert done.returncode == 0
        assert not re.search(r"HEAVY.*(torch|numpy|toy)", done.stderr)


BROKEN = {
    "raises": ("raise RuntimeError('no luck')", {}, "RuntimeError: no luck (raises.py:1)"),
    "exits": ("raise SystemExit(0)", {}, "SystemExit: 0"),
    "syntax": ("def :", {}, "SyntaxError"),
    "missing": ("import no_such_module", {}, "it needs the module 'no_such_module', which is not installed"),
    "gone": (None, {}, "No module named 'gone'"),
    "function": ("def Toy(): ...", {}, "function:Toy is a function, not a subclass of gankit.plugin.Variant"),
    "nothing": ("", {}, "has no attribute 'Toy'"),
    "newer": (GOOD, {"api": "v2"}, "made for version 2 of the plugin contract; this gankit speaks version 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugin_breaks_nothing_else(gankit, site, toy, name):
    source, more, cause = BROKEN[name]
    site.add(name, source, **more)
    for arguments in (("list",), ("plugins", "list"), ("run", "--help"), ("--help",), ("run", toy, "--help")):
        outcome = gankit(*arguments)
        assert outcome.code == 0, outcome.err
        if arguments not in (("--help",), ("run", toy, "--help")):
            assert name in outcome.out
    for arguments in (("run", name), ("run", name, "--help"), ("plugins", "info", name)):
        outcome = gankit(*arguments)
        assert outcome.code == 3
        first, second = outcome.err.strip().splitlines()
        assert f"of gankit-plugin-{name} 1.0 cannot be used" in first
        assert cause in first
        assert second == f"remove it with: pip uninstall gankit-plugin-{name}"
    assert gankit("plugins", "check", name).code == 3
    assert gankit("run", toy, "--dry-run").code == 0


def problem(gankit, name):
    """What `gankit list` says is wrong with a variant; and that `plugins list` and help say it too."""
    (found,) = [entry["problem"] for entry in gankit("list", "--json").data["variants"] if entry["name"] == name]
    for arguments in (("list",), ("plugins", "list"), ("run", "--help")):
        shown = " ".join(re.sub("[│]", " ", gankit(*arguments).out).split())
        assert found is None or found.split(" (")[0] in shown
    return found


SEEN = {"syntax": "SyntaxError: invalid syntax (syntax.py:1)", "gone": "there is no module 'gone'", "raises": None}


@pytest.mark.parametrize("name", SEEN)
def test_lists_say_what_is_plain_without_importing(gankit, site, toy, name):
    site.add(name, BROKEN[name][0])
    assert problem(gankit, name) == SEEN[name]
    assert problem(gankit, toy) is None
    assert name not in sys.modules


def test_lists_remember_what_failed_to_load(gankit, site, toy, tmp_path):
    site.add("deep", "import deep_inside\n" + GOOD)
    (site.path / "deep_inside.py").write_text("raise RuntimeError('no luck')")
    assert problem(gankit, "deep") is None  # nothing tells, and nothing is imported to see
    assert gankit("run", "deep", "--dry-run").code == 3
    assert problem(gankit, "deep") == "when last loaded: RuntimeError: no luck (deep_inside.py:1)"
    assert problem(gankit, toy) is None

    info = next(site.path.glob("gankit_plugin_deep*")) / "METADATA"
    info.write_text(info.read_text().replace("Version: 1.0", "Version: 2.0"))
    assert problem(gankit, "deep") is None  # that was said of another version
    assert gankit("plugins", "info", "deep").code == 3
    assert "no luck" in problem(gankit, "deep")

    (site.path / "deep_inside.py").write_text("")
    shutil.rmtree(site.path / "__pycache__", ignore_errors=True)
    assert gankit("plugins", "info", "deep").code == 0  # loading does not ask what was remembered
    assert problem(gankit, "deep") is None

    kept = tmp_path / "cache" / "failures.json"
    for content in ("[", "[]", json.dumps({f"{sys.prefix} variant deep": {"cause": 3}}), "[" * 100_000):
        kept.write_text(content)  # damaged, it says nothing
        assert problem(gankit, "deep") is None
    kept.unlink()
    os.mkfifo(kept)
    assert problem(gankit, "deep") is None


@pytest.mark.parametrize("content", ["[other]\nno assignment\n", "\udcff", None])
def test_metadata_of_others_that_cannot_be_read(site, toy, content):
    """torch, triton and pydantic read all of it when they are loaded, and would fail."""
    other = site.metadata("other")
    other.mkdir()
    (other / "METADATA").write_text("Name: other\nVersion: 1.0\n")
    file = other / "entry_points.txt"
    os.mkfifo(file) if content is None else file.write_text(content, errors="surrogateescape")
    done = probe(site.path, "run", toy, "--dry-run")
    assert "exit code 0" in done.stderr or done.returncode == 0, done.stderr
    assert "other" not in done.stderr
    listed = probe(site.path, "list")
    (warning,) = [line for line in listed.stderr.splitlines() if "other" in line]
    assert warning.startswith(f"warning: entry points that cannot be read: {file}: ")
    assert toy in listed.stdout


def test_module_that_is_missing_when_it_is_needed(gankit, site):
    late = GOOD.replace("def networks(self, spec):\n", "def networks(self, spec):\n        import no_such_module\n\n")
    outcome = gankit("run", site.add("late", late))
    assert outcome.code == 3
    assert "of gankit-plugin-late 1.0 cannot be used: it needs the module 'no_such_module'" in outcome.err
    assert outcome.err.splitlines()[-1] == "remove it with: pip uninstall gankit-plugin-late"


def test_duplicate_name(gankit, site, toy):
    site.add("second", GOOD, variants={"toy": "second:Toy"})
    for command in ("list", "run"):
        outcome = gankit(command, "toy") if command == "run" else gankit(command)
        text = outcome.out + outcome.err
        assert "gankit-plugin-toy" in text
        assert "gankit-plugin-second" in text
        assert "pip uninstall gankit-plugin-" in text
    assert gankit("run", "toy").code == 3
    assert gankit("plugins", "info", "second-dots").code == 0


def test_help_of_a_variant_whose_dataset_is_broken(gankit, site):
    site.add("toy", GOOD, datasets={})
    outcome = gankit("run", "toy", "--help")
    assert outcome.code == 0
    assert "--hidden" in outcome.out
    assert "unknown dataset 'toy-dots'" in outcome.err
    assert gankit("run", "toy").code == 2


def test_completion(site, toy):
    env = {
        **os.environ,
        "PYTHONPATH": str(site.path),
        "_GANKIT_COMPLETE": "complete_bash",
        "COMP_WORDS": "gankit run toy --kind ",
        "COMP_CWORD": "4",
    }
    code = "import sys; from gankit.cli.main import main; sys.exit(main([]))"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain", "fancy"], done.stderr


def test_output_into_a_closed_pipe(site, toy):
    code = "import sys; from gankit.cli.main import main; sys.exit(main(['list', '--json']))"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{code}" | true; echo ${{PIPESTATUS[0]}}'],
        env={**os.environ, "PYTHONPATH": str(site.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_progress_on_a_terminal(site, toy, tmp_path):
    import pty

    code = f"import sys; from gankit.cli.main import main; sys.exit(main(['run', '{toy}', '--out', '{tmp_path}/runs']))"
    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(site.path), "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait() == 0, shown
    assert b"training" in shown
    assert b"6/6" in shown
    assert b"discriminator/loss" in shown
    assert b"next: gankit sample" in shown
