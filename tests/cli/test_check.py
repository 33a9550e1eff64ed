"""`gankit plugins check` passes good plugins and says what is wrong with broken ones."""

from __future__ import annotations

import re

import pytest

from .broken_plugins import BROKEN
from .conftest import GOOD


def test_good_plugin_passes(gankit, toy):
    outcome = gankit("plugins", "check", toy, "--json")
    assert outcome.code == 0, outcome.out
    assert outcome.data["ok"]
    assert all(check["ok"] for check in outcome.data["checks"])
    assert {"import", "options", "presets", "dataset", "networks", "phases", "losses", "samples", "saving", "bf16"} <= {
        check["check"] for check in outcome.data["checks"]
    }


def test_good_dataset_passes(gankit, toy):
    outcome = gankit("plugins", "check", "toy-dots", "--set", "data.size=12")
    assert outcome.code == 0, outcome.out
    assert "40 training and 10 test samples" in outcome.out


@pytest.mark.parametrize("what", BROKEN)
def test_broken_plugin_fails_with_its_reason(gankit, site, what):
    good, bad, check, reason = BROKEN[what]
    assert good in GOOD
    name = site.add("toy", GOOD.replace(good, bad))
    outcome = gankit("plugins", "check", name, "--json")
    failed = [result for result in outcome.data["checks"] if result["ok"] is False]
    assert outcome.code == 3
    assert [result["check"] for result in failed] == [check], failed
    assert reason in failed[0]["detail"]


def test_dataset_that_cannot_be_opened_without_options(gankit, site):
    source = GOOD.replace(
        "    in_memory = True\n",
        "    in_memory = True\n\n"
        "    def __init__(self, config, split='train'):\n"
        "        from gankit.plugin import UsageError\n\n"
        "        super().__init__(config, split)\n"
        "        if config.size == 8:\n"
        "            raise UsageError('data.size is not set')\n",
    )
    name = site.add("toy", source)
    outcome = gankit("plugins", "check", name)
    assert outcome.code == 0, outcome.out
    assert re.search(r"skipped +dataset +data.size is not set \(made-up data is used instead\)", outcome.out)
    outcome = gankit("plugins", "check", name, "--set", "data.size=12")
    assert outcome.code == 0
    assert "40 training" in outcome.out


def test_an_option_that_is_needed_is_named_as_the_command_takes_it(gankit, site):
    source = GOOD.replace(
        "    in_memory = True\n",
        "    in_memory = True\n\n"
        "    def __init__(self, config, split='train'):\n"
        "        from gankit.data.files import directory\n\n"
        "        super().__init__(config, split)\n"
        "        directory(config.some_root, 'data.some_root')\n",
    ).replace("        size: int", '        some_root: str = ""\n        """A directory."""\n        size: int')
    name = site.add("toy", source)
    assert "images: --data.some-root DIR\n" in gankit("run", name).err
    assert "images: --set data.some_root=DIR" in gankit("plugins", "check", "toy-dots").out
    assert "images: --set data.some_root=DIR" in gankit("plugins", "check", name).out
    assert "images: --set data.some_root=DIR" in gankit("bench", "step", "--variant", name).err
    for option in ("data.some_root=.", "data.some-root=."):
        assert gankit("plugins", "check", "toy-dots", "--set", option).code == 0
    assert gankit("bench", "step", "--variant", name, "--rounds", 2, "--set", "data.some_root=.").code == 0


def test_options_that_make_the_check_quick(gankit, site):
    """They are laid over the preset; what is given with --set over them."""
    source = GOOD.replace("    averaged =", '    check_options = {"hidden": 2}\n    averaged =')
    name = site.add("toy", source)
    assert "generator 206" in gankit("plugins", "check", name).out
    assert "generator 277" in gankit("plugins", "check", name, "--set", "hidden=3").out
    assert gankit("run", name, "--dry-run", "--json").data["plans"][0]["networks"][0]["parameters"] == 632


def test_unknown_name_and_malformed_option(gankit, toy):
    for option, words in (("data.sizee=3", "unknown option 'data.sizee'"), ("size=x", "data.size = 'x': must be")):
        outcome = gankit("plugins", "check", "toy-dots", "--set", option)
        assert (outcome.code, words in outcome.err) == (2, True), outcome.err
    outcome = gankit("plugins", "check", "toi")
    assert outcome.code == 2
    assert "unknown plugin 'toi'; did you mean 'toy'?" in outcome.err
    assert "OPTION=VALUE" in gankit("plugins", "check", toy, "--set", "size").err


def test_a_name_in_a_group_that_is_not_read(gankit, site):
    site.add("toy", GOOD, datasets={}, variants={"toy": "toy:Toy"}, api="1")
    for arguments in (("plugins", "check", "toy"), ("run", "toy"), ("plugins", "info", "toy")):
        outcome = gankit(*arguments)
        assert outcome.code == 2
        assert "gankit-plugin-toy has it in the entry-point group 'gankit.plugins.1'" in outcome.err


def test_a_network_that_no_phase_updates_is_named(gankit, site):
    source = GOOD.replace("        return {\n", '        return {\n            "extra": nn.Linear(2, 2),\n')
    outcome = gankit("plugins", "check", site.add("toy", source))
    assert outcome.code == 0, outcome.out
    assert "none updates extra" in outcome.out


def test_stages_are_checked_one_after_another(gankit, site):
    source = GOOD.replace(
        "        hidden: int",
        '        stage: int | None = Field(None, ge=1, le=2)\n        """Stage."""\n        hidden: int',
    ).replace("    averaged =", "    stages = 2\n    averaged =")
    good = (
        source
        + "\n    def inherits(self):\n        return {'generator': 'generator'} if self.config.stage == 2 else {}\n"
    )
    outcome = gankit("plugins", "check", site.add("toy", good))
    assert outcome.code == 0, outcome.out
    assert "takes over generator" in outcome.out
    bad = good.replace("{'generator': 'generator'}", "{'generator': 'gen'}")
    outcome = gankit("plugins", "check", site.add("toy2", bad))
    assert outcome.code == 3
    assert "takes 'gen' from the earlier stage" in outcome.out
