"""What holds for the tree as a whole."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import gankit
from gankit.ops.patchgan_loss import KINDS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for d in ("gankit", "plugins", "benchmarks") for p in (ROOT / d).rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("gankit-plugin-*"))


def test_the_core_decides_nothing_by_the_name_of_a_variant():
    """Examples in docstrings may name one; an identifier or a string that the program compares with may not."""
    names = {p.name.removeprefix("gankit-plugin-") for p in PLUGINS} - set(
        KINDS
    )  # a loss may be called as a variant is
    assert names
    for path in (p for p in SOURCES if p.is_relative_to(ROOT / "gankit")):
        for node in ast.walk(ast.parse(path.read_text())):
            found = {getattr(node, field, None) for field in ("id", "attr", "name", "arg")}
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            assert not found & names, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_nothing_is_unpickled():
    """What torch reads for us it reads as weights only."""
    word = re.compile(
        r"\btorch\.load\((?!.*weights_only=True\))|^\s*(import|from) c?pickle|allow_pickle\s*=\s*True", re.MULTILINE
    )
    shipped = [p.relative_to(ROOT) for p in SOURCES if "tests" not in p.relative_to(ROOT).parts]
    assert shipped
    assert not [p for p in shipped if word.search((ROOT / p).read_text())]


def test_the_page_of_results_is_what_the_rows_say():
    made = subprocess.run([sys.executable, ROOT / "benchmarks" / "results_page.py", "--check"], capture_output=True)
    assert made.returncode == 0, made.stderr.decode()


def test_versions_agree():
    core = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert core["version"] == gankit.__version__
    assert f"## {core['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda p: p.name)
def test_a_plugin_is_named_after_what_it_brings_and_needs_gankit(plugin):
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["name"] == plugin.name
    brought = {name for group in project["entry-points"].values() for name in group}
    assert plugin.name.removeprefix("gankit-plugin-") in brought
    assert any(need.startswith("gankit") for need in project["dependencies"])
    assert (plugin / "README.md").stat().st_size > 200


def test_ci_runs_the_test_command_of_the_readme():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    command = re.search(r"^(make test)\b", readme, re.MULTILINE)
    assert command
    assert re.search(rf"^{command[1]}\b", script, re.MULTILINE)
