"""What adversarial losses come to where the discriminator cannot tell, in words: for `Variant.expect`.

`kind` is that of `gankit.ops.patchgan_d_loss` and `patchgan_g_loss`; `weight` is what a variant multiplies the loss by.
"""

from __future__ import annotations

import math

_DISCRIMINATOR = {"bce": 2 * math.log(2), "lsgan": 0.25, "hinge": 2.0}
_GENERATOR = {"bce": math.log(2), "lsgan": 0.25}


def discriminator(kind: str, weight: float = 1.0) -> str:
    """What to expect of a discriminator's loss."""
    if kind == "wgan":
        return (
            "The loss of a critic has no floor: minus it is its estimate of how far samples are from the data, which "
            "falls as they get better. One that grows without end says that the critic's slope is not held."
        )
    return (
        f"A discriminator that cannot tell real from drawn has a loss of {_number(_DISCRIMINATOR[kind] * weight)}, "
        "and one that always can of 0. A healthy run stays between the two, often for its whole length. Close to 0 "
        "the discriminator has won and the generator learns little; at the upper value for long it has stopped "
        "learning, or cannot tell because samples are that good: the sheets say which."
    )


def generator(kind: str, weight: float = 1.0) -> str:
    """What to expect of a generator's loss."""
    if kind in ("wgan", "hinge"):
        return (
            "Minus the mean of the discriminator's answers to drawn images, which have no zero of their own: the curve "
            "says little by itself, and does not fall as samples get better."
        )
    return (
        f"Where the discriminator cannot tell it is {_number(_GENERATOR[kind] * weight)}, and more while the "
        "discriminator is ahead. It does not fall as samples get better: both learn from each other. If it climbs "
        "without end, the discriminator has won."
    )


def _number(value: float) -> str:
    return f"{value:.3g}"


__all__ = ["discriminator", "generator"]
