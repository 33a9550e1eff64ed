"""`gankit plugins check` passes good plugins and says what is wrong with broken ones."""

from __future__ import annotations

import re

import pytest

from .conftest import GOOD

# what is spoilt, by what, the check that must notice, and its reason
BROKEN = {
    "raises at import": ("import torch", "import torch\n\nraise RuntimeError('no luck')", "import", "no luck"),
    "missing dependency": ("import torch", "import torch\nimport no_such_module", "import", "no_such_module"),
    "not a variant": ("class Toy(Variant)", "class Toy(object)", "import", "not a subclass of gankit.plugin.Variant"),
    "abstract": ("def sample(", "def draw(", "import", "lacks sample"),
    "reserved option": ("hidden: int = Field(8", "steps: int = Field(8", "import", "'steps'"),
    "no default": ("Field(8, ge=1, le=64)", "Field(ge=1, le=64)", "options", "hidden has no default"),
    "no help": ('        """Width."""\n', "", "help texts", "hidden has no help text"),
    "unwritable option": (
        "limit: float | None = None",
        "limit: object = object()",
        "options",
        "cannot be written as TOML",
    ),
    "fickle option": (
        "limit: float | None = None",
        "limit: float = Field(default_factory=__import__('random').random)",
        "options",
        "differ from one time to the next",
    ),
    "preset": ('"hidden": 16', '"hiden": 16', "presets", "unknown option 'hiden' in preset 'wide'; did you mean"),
    "check options": (
        'averaged = ("generator",)',
        'averaged = ("generator",)\n    check_options = {"hiden": 2}',
        "presets",
        "`check_options`: unknown option 'hiden'; did you mean 'hidden'",
    ),
    "preset value": ('"hidden": 16', '"hidden": 99', "presets", "hidden = 99: must be less than or equal to 64"),
    "empty dataset": ("return 40 if", "return 0 if", "dataset", "training split is empty"),
    "dtype": (
        'return {"image": images,',
        'return {"image": images.float(),',
        "batches, train",
        "key 'image' is float32 (1, 1, 8, 8); its spec says uint8",
    ),
    "shape": (
        "repeat(1, 1, *self",
        "repeat(1, 3, *self",
        "batches, train",
        "(1, 3, 8, 8); its spec says uint8 (1, 1, 8, 8)",
    ),
    "class out of range": ("label = indices % 2", "label = indices % 3", "batches, train", "there are 2"),
    "missing key": (', "label": label}', "}", "batches, train", "its spec says image, label"),
    "impure batch": (
        "label = indices % 2\n",
        "label = indices % 2\n        images = images ^ torch.randint(0, 2, images.shape, dtype=torch.uint8)\n",
        "batches, train",
        "not a function of the indices alone",
    ),
    "numpy weights": (
        "def networks(self, spec):\n",
        "def networks(self, spec):\n        torch.seed()\n",
        "networks",
        "differs between two builds",
    ),
    "unknown network": ('updates=("generator",)', 'updates=("generatr",)', "phases", "updates 'generatr'"),
    "averaged": ('averaged = ("generator",)', 'averaged = ("gen",)', "phases", "`averaged` names 'gen'"),
    "not a scalar": (
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))}',
        'return {"loss": step.networks["discriminator"](self.fakes(step))}',
        "losses",
        "must be a scalar, its shape is (8, 1)",
    ),
    "nan": (
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))}',
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step))) * float("nan")}',
        "losses",
        "term 'loss' is nan in the first step",
    ),
    "detached": (
        'patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))',
        'patchgan_g_loss(step.networks["discriminator"](self.fakes(step).detach()))',
        "losses",
        "generator",
    ),
    "no gradient for one": (
        'updates=("discriminator",)',
        'updates=("discriminator", "generator")',
        "losses",
        "phase 'discriminator' updates 'generator', but its loss gives that network no gradient",
    ),
    "channels": (
        'request.batch["label"]))',
        'request.batch["label"])).repeat(1, 3, 1, 1)',
        "samples",
        "asked for (1, 1, H, W)",
    ),
    "range": ('request.batch["label"]))', 'request.batch["label"])) * 127', "samples", "images are in [-1, 1]"),
    "sample count": ("request.noise(request.n, 4), request.batch", "request.noise(1, 4), request.batch", "samples", ""),
    "ignores the seed": (
        "request.noise(request.n, 4)",
        "torch.randn(request.n, 4, generator=torch.Generator().manual_seed(__import__('random').getrandbits(60)))",
        "samples",
        "different samples for one seed",
    ),
    "one image": ("request.noise(request.n, 4)", "torch.zeros(request.n, 4)", "samples", "same samples for different"),
    "not resumable": (
        "step.noise(step.size, 4)",
        "torch.randn(step.size, 4, generator=torch.Generator().manual_seed(__import__('random').getrandbits(60)))",
        "saving",
        "draw all randomness from step.generator",
    ),
    "requires a string": ('frozenset({"image", "label"})', '"image"', "import", "requires must be a set of names"),
    "averaged a string": ('averaged = ("generator",)', 'averaged = "generator"', "import", "must be a tuple of names"),
    "flat presets": (
        '"wide": {"steps": 3,',
        '"wide": 3, "wider": {"steps": 3,',
        "import",
        "presets must be values of options",
    ),
    "metric": ("    averaged =", '    metric = "beauty"\n    averaged =', "phases", "metric 'beauty' is unknown"),
    "spec": ("return DataSpec(keys=", "return dict(keys=", "dataset", "spec is a dict, not a gankit.plugin.DataSpec"),
    "kind": ('Key(kind="class"', 'Key(kind="klass"', "dataset", "unknown kind 'klass'; there are image"),
    "networks in a list": (
        "        return {\n",
        "        return [nn.Linear(1, 1)] or {\n",
        "networks",
        "must return modules by name",
    ),
    "averaged but not trained": (
        'updates=("generator",)',
        'updates=("discriminator",)',
        "phases",
        "no phase updates it",
    ),
    "bare loss": (
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))}',
        'return patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))',
        "losses",
        "must return scalar tensors by name, not a Tensor",
    ),
    "loss a number": (
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))}',
        'return {"loss": patchgan_g_loss(step.networks["discriminator"](self.fakes(step))), "weight": 2.0}',
        "losses",
        "loss: Tensor, weight: float",
    ),
    "spoilt batch": (
        'discriminator = step.networks["discriminator"]',
        'discriminator = step.networks["discriminator"]; step.batch["image"].mul_(0.5)',
        "losses",
        "phase 'discriminator' changes step.batch['image'] in place",
    ),
    "conditions forgotten": (
        'conditions = frozenset({"label"})',
        "conditions = frozenset()",
        "samples",
        "request.batch has no 'label': the variant reads it and is not asked with it; name it in `conditions`",
    ),
    "conditions beyond requires": (
        'requires = frozenset({"image", "label"})',
        'requires = frozenset({"image"})',
        "import",
        "`conditions` names 'label', which `requires` does not",
    ),
    "a mask of ones": (
        'return {"image": images, "label": label}',
        'return {"image": images, "label": label, "mask": torch.ones_like(images)}\n\n'
        '    spec = DataSpec(keys={"image": Key(kind="image", shape=(1, 8, 8)), "mask": Key(kind="mask", '
        'shape=(1, 8, 8)), "label": Key(kind="class", names=("dark", "light"))})',
        "batches, train",
        "key 'mask' holds 1 at most; a mask is 255 where it holds",
    ),
    "streams all at once": (
        "        label = indices % 2\n",
        "        indices, label = indices['image'], indices['label'] % 2\n"
        "        label = label[:len(indices)]\n\n"
        "        return {'image': indices, 'label': label}\n\n"
        "    def streams(self):\n        return {'image': 40, 'label': 9}\n\n"
        "    def unused(self, indices):\n        label = images = 0\n",
        "batches, train",
        "batch() was asked for the stream 'image' alone, {'image': indices}: return the keys of those streams",
    ),
    "streams that are none": (
        "        label = indices % 2\n",
        "        label = indices.get('label') % 2\n",
        "batches, train",
        "batch() was asked with a tensor of indices (a mapping of streams comes only with several `streams`)",
    ),
    "float32 alone": (
        'patchgan_g_loss(step.networks["discriminator"](self.fakes(step)))',
        '1e-3 * torch.lerp(torch.ones(()), step.networks["discriminator"](self.fakes(step)).square().mean(), 1.0)',
        "bf16",
        "dtype",
    ),
    "state outside networks": (
        "    def fool(self, step):\n",
        "    calls = 0\n\n    def fool(self, step):\n        self.calls += 1\n"
        "        if self.calls == 2:\n            step.noise(1)\n",
        "saving",
        "the variant's attribute 'calls' changes from step to step",
    ),
}


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
