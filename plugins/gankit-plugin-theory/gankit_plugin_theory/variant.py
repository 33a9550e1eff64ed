"""Variant ``theory``: a GAN on the line, where everything that the theory speaks of can be computed and drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from gankit.errors import UsageError
from gankit.plugin import Config, DataSpec, Optim, Phase, Preparation, SampleRequest, Step, Variant

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gankit.plugin import Networks


EIGHT = (-7.0, -5.0, -3.0, -1.0, 1.0, 3.0, 5.0, 7.0)
"""Means of eight Gaussians, of which a generator may miss some."""


class TheoryConfig(Config):
    """Options of the variant ``theory``."""

    hidden: int = Field(64, ge=1)
    """Width of the two hidden layers of each network."""
    loss: Literal["non-saturating", "saturating"] = "non-saturating"
    """What the generator minimises: -log D(G(z)), or log(1 - D(G(z))) as in the minimax game."""
    d_turns: int = Field(4, ge=1)
    """Updates of the discriminator in a step: the theory asks for the best discriminator at all times."""
    grid: int = Field(100, ge=20, le=2000)
    """Points of the line at which densities are compared and drawn."""
    d_optim: Optim = Optim(lr=5e-3, betas=(0.5, 0.99), schedule="cosine", hold=0.3)
    """Optimiser of the discriminator."""
    g_optim: Optim = Optim(lr=1e-3, betas=(0.5, 0.99), schedule="cosine", hold=0.3)
    """Optimiser of the generator."""


class Theory(Variant[TheoryConfig]):
    """GAN of two densities on the line: D beside p_data / (p_data + p_g), V beside -log 4 (Goodfellow et al. 2014)."""

    Config = TheoryConfig
    dataset = "densities"
    requires = frozenset({"x", "component"})
    produces = ("x",)
    averaged = ("generator", "discriminator")
    metric = "jsd"
    metrics: ClassVar = {"jsd": "smaller", "d_error": "smaller", "v_error": "smaller", "covered": "larger"}
    presets: ClassVar = {
        "default": {
            "steps": 1000,
            "batch_size": 1024,
            "sample_n": 1000,
            "sample_every": 25,
            "eval_every": 250,
            "eval_n": 1000,
            "ema": 0.99,
            "workers": 0,
        },
        "eight": {
            "steps": 3000,
            "batch_size": 512,
            "sample_n": 1000,
            "sample_every": 100,
            "eval_every": 500,
            "eval_n": 1000,
            "grid": 300,
            "ema": 0.99,
            "workers": 0,
            "hidden": 128,
            "data.means": EIGHT,
            "data.deviations": (0.3,),
        },
        "collapse": {
            "steps": 1000,
            "batch_size": 256,
            "sample_n": 1000,
            "sample_every": 100,
            "eval_every": 1000,
            "ema": 0.99,
            "workers": 0,
            "grid": 300,
            "d_turns": 1,
            "d_optim": {"lr": 1e-3, "betas": (0.9, 0.99), "schedule": "constant"},
            "g_optim": {"lr": 2e-2, "betas": (0.9, 0.99), "schedule": "constant"},
            "data.means": EIGHT,
            "data.deviations": (0.3,),
        },
    }

    def networks(self, spec: DataSpec) -> dict[str, nn.Module]:
        from gankit_plugin_theory.mixture import Mixture
        from gankit_plugin_theory.networks import Perceptron

        if spec["x"].kind != "vector" or spec["x"].shape != (1,):
            raise UsageError(f"theory takes one number a sample; the data's x is {spec['x'].kind} {spec['x'].shape}")
        import torch

        hidden, count = self.config.hidden, spec.classes("component")
        unknown = Mixture(*(torch.ones(count, dtype=torch.float64) for _ in range(3)))
        return {"generator": Perceptron(hidden), "discriminator": Perceptron(hidden), "mixture": unknown.state()}

    def prepare(self, preparation: Preparation) -> None:
        """Keeps what p_data is: as the dataset says, or fitted to all that is there to train on."""
        import torch

        from gankit_plugin_theory.densities import Densities
        from gankit_plugin_theory.mixture import Mixture

        train = preparation.train
        if isinstance(train, Densities):
            mixture = train.mixture()
        else:
            batch = train.batch(torch.arange(len(train)))
            mixture = Mixture.of(batch["x"], batch["component"])
        preparation.networks["mixture"].load_state_dict(mixture.state().state_dict())

    def phases(self) -> Sequence[Phase]:
        c = self.config
        return (
            Phase(
                name="discriminator",
                updates=("discriminator",),
                loss=self._discriminator,
                optim=c.d_optim,
                repeat=c.d_turns,
            ),
            Phase(name="generator", updates=("generator",), loss=self._generator, optim=c.g_optim),
        )

    def expect(self) -> Mapping[str, str]:
        return {
            "": "The theory says where all of it ends: the densities on each other, D at 1/2 everywhere, V at -log "
            "4. A default run ends with a jsd of 0.00001 to 0.00006. In the picture collapse is a green density on "
            "some of the dotted peaks alone.",
            "discriminator": "v is the value of the game, which ends at -log 4 = -1.386, and d is minus that: a "
            "discriminator that cannot tell has 1.386. Nearer to 0 it can tell, so the densities still differ.",
            "generator": "It ends at ln 2 = 0.693, or with the saturating loss at minus that.",
            "jsd": "The divergence of the two densities, in nats: 0 at the end of the game, at most 0.693. The preset "
            "collapse ended at 0.63.",
            "d_error": "How far D is from the best there is. The theory holds only while this is small.",
            "v_error": "How far V is from -log 4.",
            "covered": "How many of the data's components have their part of the samples: fewer than there are "
            "is collapse.",
        }

    def codes(self, request: SampleRequest) -> Tensor:
        return request.noise(request.n, 1)

    def decode(self, networks: Networks, codes: Tensor, request: SampleRequest) -> Tensor:
        return networks["generator"](codes)

    def figures(self, networks: Networks, request: SampleRequest) -> Mapping[str, Tensor]:
        from gankit_plugin_theory.mixture import Mixture
        from gankit_plugin_theory.picture import draw

        mixture = Mixture.kept(networks["mixture"])
        return {"densities": draw(networks, mixture, request.device, self.config.grid)}

    def measure(
        self, networks: Networks, batches: Iterable[Mapping[str, Tensor]], generator: torch.Generator
    ) -> dict[str, float]:
        import torch

        from gankit_plugin_theory.measures import compare, quantiles
        from gankit_plugin_theory.mixture import Mixture

        real = torch.cat([batch["x"] for batch in batches])
        mixture = Mixture.kept(networks["mixture"])
        fake = networks["generator"](quantiles(100_000, real.device))
        return compare(mixture, real, fake, networks["discriminator"], self.config.grid)

    def _fake(self, step: Step) -> Tensor:
        return step.shared("fake", lambda: step.networks["generator"](step.noise(step.size, 1)))

    def _discriminator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_d_loss

        discriminator = step.networks["discriminator"]
        real, fake = discriminator(step.batch["x"]), discriminator(self._fake(step).detach())
        loss = patchgan_d_loss(real, fake, kind="bce")
        step.log("v", -loss)  # the value of the game, -log 4 at its end
        return {"d": loss}

    def _generator(self, step: Step) -> dict[str, Tensor]:
        from gankit.ops import patchgan_g_loss

        logits = step.networks["discriminator"](self._fake(step))
        if self.config.loss == "saturating":
            return {"g": -patchgan_g_loss(-logits, kind="bce")}
        return {"g": patchgan_g_loss(logits, kind="bce")}
