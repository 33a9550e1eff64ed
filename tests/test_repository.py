"""What holds for the tree as a whole."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from by_path import load

import gankit
from gankit.ops.patchgan_loss import KINDS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(p for d in ("gankit", "plugins", "benchmarks") for p in (ROOT / d).rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("gankit-plugin-*"))
set_version = load(ROOT / "tools" / "set_version.py")


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
    """The core's is in gankit/version.py alone. What is released together needs the same gankit and each other."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]
    assert re.search(rf"^## {re.escape(gankit.__version__)}( |$)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    of_this = set_version.bounds(gankit.__version__)
    for plugin in PLUGINS:
        project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
        assert project["version"] == gankit.__version__, plugin.name
        family = [need for need in project["dependencies"] if need.startswith("gankit")]
        assert family[0] == f"gankit{of_this}", plugin.name
        assert all(need.endswith(of_this) for need in family), plugin.name


def test_a_version_is_set_everywhere(tmp_path):
    for folder in ("gankit", *(f"plugins/{plugin.name}" for plugin in PLUGINS)):
        (tmp_path / folder).mkdir(parents=True)
        name = "version.py" if folder == "gankit" else "pyproject.toml"
        shutil.copy(ROOT / folder / name, tmp_path / folder)
    before = {path: path.read_text() for path in tmp_path.rglob("*.*") if path.is_file()}
    assert len(before) == len(PLUGINS) + 1
    set_version.set_version(tmp_path, "1.2.0rc1")
    assert all(">=1.2.0rc1,<2" in path.read_text() for path in before if path.name == "pyproject.toml")
    assert not [path for path in before if gankit.__version__ in path.read_text()]
    set_version.set_version(tmp_path, gankit.__version__)
    assert {path: path.read_text() for path in before} == before


@pytest.mark.parametrize(
    ("version", "bounds"),
    [("0.1.0", ">=0.1,<0.2"), ("0.1.7", ">=0.1,<0.2"), ("2.3.4", ">=2.3,<3"), ("0.2.0rc1", ">=0.2.0rc1,<0.3")],
)
def test_plugins_need_the_series_of_gankit_that_they_are_released_with(version, bounds):
    assert set_version.bounds(version) == bounds


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
