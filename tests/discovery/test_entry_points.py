"""Finding plugins by metadata; see tests/cli/test_startup.py for what the command line says about broken ones."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from gankit.discovery import entry_points, metadata
from gankit.errors import PluginError, UsageError

PLUGIN = """
from gankit.plugin import Dataset, Variant

class Toy(Variant):
    dataset = "x"
    def networks(self, spec): ...
    def phases(self): ...
    def sample(self, networks, request): ...

class Dots(Dataset):
    spec = None
    def __len__(self): return 1
    def batch(self, indices): ...
"""


def install(folder: Path, module: str, entries: str, distribution: str = "", source: str = PLUGIN) -> None:
    distribution = distribution or f"gankit-plugin-{module}"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\nSummary: A toy.\n")
    (info / "entry_points.txt").write_text(entries)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("GANKIT_CACHE", str(tmp_path / "cache"))  # where failures to load are noted
    monkeypatch.setenv("PYDANTIC_DISABLE_PLUGINS", "__all__")  # as the command line does where metadata is damaged
    modules = set(sys.modules)
    yield tmp_path / "site"
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_found_without_importing(site):
    entries = (
        "[gankit.plugins.v1]\nzz_toy = zz:Toy\n[gankit.datasets.v1]\nzz_dots = zz:Dots\n[console_scripts]\nx = y:z\n"
    )
    install(site, "zz", entries, source="raise RuntimeError")
    found = entry_points.variants()["zz_toy"]
    assert (found.distribution, found.version, found.value) == ("gankit-plugin-zz", "1.2", "zz:Toy")
    assert (found.summary, found.problem, found.kind) == ("A toy.", None, "variant")
    assert entry_points.datasets()["zz_dots"].kind == "dataset"
    assert "zz_dots" not in entry_points.variants()
    assert list(entry_points.variants()) == sorted(entry_points.variants())
    assert "zz" not in sys.modules


def test_a_name_that_cannot_be_printed_is_a_problem(site):
    entries = "[gankit.plugins.v1]\nzz_toy = zz:Toy\nzz\x1b[31m = zz:Toy\n[gankit.datasets.v1]\nzz dots = zz:Dots\n"
    install(site, "zz", entries)
    assert entry_points.variants()["zz_toy"].problem is None
    assert entry_points.variants()["zz\x1b[31m"].problem == (
        "its name 'zz\\x1b[31m' is none: letters, digits, '.', '-' and '_' make one"
    )
    with pytest.raises(PluginError, match="its name 'zz dots' is none"):
        entry_points.load_dataset("zz dots")
    from gankit.cli import options, train

    group = train.Variants(name="run")
    assert "zz_toy" in group.list_commands(None)
    assert not any("\x1b" in name for name in group.list_commands(None))
    assert not options._datasets("zz d")


def test_load(site):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n[gankit.datasets.v1]\nzz_dots = zz:Dots\n")
    assert entry_points.load_variant("zz_toy").__name__ == "Toy"
    assert entry_points.load_dataset("zz_dots").__name__ == "Dots"
    with pytest.raises(UsageError, match="unknown variant 'zz_tyo'; did you mean 'zz_toy'"):
        entry_points.load_variant("zz_tyo")
    with pytest.raises(UsageError, match="unknown dataset 'zz_toy'"):
        entry_points.load_dataset("zz_toy")


def test_current_version_wins_over_another_of_the_same_name(site):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n[gankit.plugins.v2]\nzz_toy = zz:New\nzz_new = zz:New\n")
    assert entry_points.variants()["zz_toy"].problem is None
    assert entry_points.load_variant("zz_toy").__name__ == "Toy"
    with pytest.raises(PluginError, match="version 2 of the plugin contract; this gankit speaks version 1"):
        entry_points.load_variant("zz_new")


def test_a_name_claimed_twice(site, tmp_path, monkeypatch):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n")
    install(site, "yy", "[gankit.plugins.v1]\nzz_toy = yy:Toy\nyy_toy = yy:Toy\n")
    with pytest.raises(PluginError, match=r"gankit-plugin-(yy|zz) 1.2 registers the same name") as caught:
        entry_points.load_variant("zz_toy")
    assert "gankit-plugin-zz" in str(caught.value)
    assert "gankit-plugin-yy" in str(caught.value)
    assert entry_points.load_variant("yy_toy")

    # the same distribution further down the path is shadowed, not a second claim
    install(tmp_path / "old", "yy", "[gankit.plugins.v1]\nyy_toy = yy:Old\n", distribution="gankit_plugin.YY")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "old")])
    assert entry_points.variants()["yy_toy"].problem is None
    assert entry_points.variants()["yy_toy"].value == "yy:Toy"


@pytest.mark.parametrize(
    "entries", ["gankit.plugins.v1]\nx", "[gankit.plugins.v1\nx = y", "[gankit.plugins.v1]\nnothing\n"]
)
def test_damaged_entry_points_of_others(site, entries, capsys):
    install(site, "ww", entries)
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n")
    assert entry_points.variants()["zz_toy"].problem is None
    assert capsys.readouterr().err == ""  # listings say it, a training does not


def test_what_can_be_read_of_damaged_entry_points_counts(site):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\nbroken\nzz_odd = what is this\n")
    assert entry_points.load_variant("zz_toy")
    with pytest.raises(PluginError, match="'what is this' is not MODULE:CLASS"):
        entry_points.load_variant("zz_odd")
    file = site / "gankit_plugin_zz-1.2.dist-info" / "entry_points.txt"
    assert f"{file}: line 3 is not NAME = VALUE" in metadata.faults()


@pytest.mark.parametrize("damage", ["gone", "bytes", "pipe", "nameless"])
def test_metadata_that_cannot_be_read(site, damage):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n")
    file = site / "gankit_plugin_zz-1.2.dist-info" / "METADATA"
    file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage != "gone":
        file.write_bytes(b"\xff\0" if damage == "bytes" else b"Summary: x\n")
    entry = entry_points.variants()["zz_toy"]
    assert (entry.distribution, entry.version) == ("gankit-plugin-zz", "1.2")  # as the directory is called
    assert entry_points.load_variant("zz_toy")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("produces = 'image'", "zz:Toy.produces must be a tuple of names, not 'image'"),
        ("produces = ['image']", "produces must be a tuple of names"),
        ("conditions = {1}", "conditions must be a set of names"),
        ("averaged = (None,)", "averaged must be a tuple of names"),
        ("random = 0", "random must be True or False, not 0"),
        ("stages = True", "stages must be a number, at least 1, not True"),
        ("stages = 2", "it has several stages: its Config needs a field `stage: int | None`"),
        ("metric = 3", "metric must be a name or None"),
        ("metrics = {'a': 'better'}", 'metrics must be names with "larger" or "smaller"'),
        ("presets = {'default': 3}", "presets must be values of options by name, by the preset's name"),
        ("check_options = []", "check_options must be values of options by name"),
    ],
)
def test_attributes_that_are_wrong(site, line, cause):
    source = PLUGIN.replace('dataset = "x"', f'dataset = "x"\n    {line}')
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n", source=source)
    with pytest.raises(PluginError, match=re.escape(cause)):
        entry_points.load_variant("zz_toy")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no\\nluck')", r"RuntimeError: no luck \(zz.py:1\)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import not_there_at_all", "it needs the module 'not_there_at_all', which is not installed"),
        ("from gankit.plugin import Nothing", "cannot import name 'Nothing'"),
        ("Toy = 3", "zz:Toy is a int, not a subclass"),
        ("class Toy: ...", "zz:Toy is the class Toy, not a subclass of gankit.plugin.Variant"),
        (PLUGIN.replace("def phases", "def other"), "zz:Toy lacks phases"),
        (PLUGIN.replace('dataset = "x"', "pass"), "names no default dataset"),
        (PLUGIN.replace('dataset = "x"', 'dataset = "x"\n    Config = dict'), "Config is not a pydantic model"),
        (
            PLUGIN.replace('dataset = "x"', 'dataset = "x"\n    from gankit.options.run import RunConfig as Config'),
            "has the name of an option that every run has",
        ),
    ],
)
def test_broken(site, source, cause):
    install(site, "zz", "[gankit.plugins.v1]\nzz_toy = zz:Toy\n", source=source)
    with pytest.raises(PluginError, match=cause) as caught:
        entry_points.load_variant("zz_toy")
    first, second = str(caught.value).splitlines()
    assert first.startswith("variant 'zz_toy' of gankit-plugin-zz 1.2 cannot be used: ")
    assert second == "remove it with: pip uninstall gankit-plugin-zz"
