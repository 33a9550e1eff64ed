"""What is wrong with a plugin, for the tests of `gankit plugins check`: changes of the good one of conftest.py."""

from __future__ import annotations

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
    "expectation of nothing": (
        "def sample(",
        'def expect(self):\n        return {"generatr/loss": "It falls."}\n\n    def sample(',
        "phases",
        "expect() speaks of 'generatr/loss', which is no metric, and the phases are discriminator, generator",
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
