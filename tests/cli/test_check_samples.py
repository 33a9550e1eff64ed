"""`gankit plugins check` of what is drawn: what may be the same, what may be noisy, panels and figures."""

from __future__ import annotations

from .conftest import GOOD

TRANSLATOR = GOOD.replace('conditions = frozenset({"label"})', 'conditions = frozenset({"image"})\n    random = False')
TRANSLATOR = TRANSLATOR.replace(
    "    def sample(",
    '    def sample(self, networks, request):\n        return -request.batch["image"]\n\n    def unused(',
)


def test_what_answers_the_same_to_the_same_passes_if_it_says_so(gankit, site):
    assert gankit("plugins", "check", site.add("honest", TRANSLATOR)).code == 0
    for name, source, reason in (
        ("silent", TRANSLATOR.replace("    random = False\n", ""), "or say `random = False`"),
        ("fickle", GOOD.replace("    averaged =", "    random = False\n    averaged ="), "`random` is False, but"),
    ):
        outcome = gankit("plugins", "check", site.add(name, source), "--json")
        (failed,) = [result for result in outcome.data["checks"] if result["ok"] is False]
        assert (failed["check"], reason in failed["detail"]) == ("samples", True)


def test_layers_with_noise_of_their_own_pass(gankit, site):
    noisy = GOOD.replace("nn.Tanh(),", "Noise(), nn.Tanh(),")
    noisy = noisy.replace(
        "class Dots(",
        "class Noise(nn.Dropout):\n    def train(self, mode=True):\n        return super().train()\n\n\nclass Dots(",
        1,
    )
    assert gankit("plugins", "check", site.add("noisy", noisy)).code == 0


def test_panels_and_figures_are_checked(gankit, site):
    good = GOOD.replace(
        "    def sample(",
        "    def panels(self, networks, request):\n"
        '        return {"real": request.batch["image"], "drawn": self.sample(networks, request)}\n\n'
        "    def figures(self, networks, request):\n"
        '        return {"plot": torch.zeros(4, 4, 3, dtype=torch.uint8)}\n\n'
        "    def sample(",
    )
    outcome = gankit("plugins", "check", site.add("shown", good), "--json")
    (samples,) = [result for result in outcome.data["checks"] if result["check"] == "samples"]
    assert samples["ok"]
    assert samples["detail"] == "1x8x8; shown with real, drawn, plot"
    for name, old, new, reason in (
        ("flat", 'request.batch["image"],', 'request.batch["image"].mean(),', "panels() returned () for 'real'"),
        ("pale", ", dtype=torch.uint8)}", ")}", "figures() returned torch.float32 (4, 4, 3) for 'plot'"),
    ):
        outcome = gankit("plugins", "check", site.add(name, good.replace(old, new)), "--json")
        (failed,) = [result for result in outcome.data["checks"] if result["ok"] is False]
        assert (failed["check"], reason in failed["detail"]) == ("samples", True), failed
