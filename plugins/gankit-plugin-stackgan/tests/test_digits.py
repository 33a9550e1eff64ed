"""The dataset of captioned digits: that pictures show and captions say what the classes name."""

import itertools
import random
import re

import pytest
import torch
from gankit_plugin_stackgan import captions, chinese
from gankit_plugin_stackgan.digits import CaptionedDigits, CaptionedDigitsConfig

from gankit.data.text import decode_text

ATTRIBUTES = ("digit", "ink", "ground", "stroke")


def every(split: str, **options: int) -> dict[str, torch.Tensor]:
    dataset = CaptionedDigits(CaptionedDigitsConfig(**options), split)  # type: ignore[arg-type]
    return dataset.batch(torch.arange(len(dataset)))


@pytest.fixture(scope="module")
def train() -> dict[str, torch.Tensor]:
    return every("train", copies=4)


@pytest.fixture(scope="module")
def test() -> dict[str, torch.Tensor]:
    return every("test", copies=4)


def lab(rgb: torch.Tensor) -> torch.Tensor:
    """CIELAB (D65) of sRGB (..., 3) from 0 to 255."""
    c = rgb.double() / 255
    c = torch.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    to_xyz = torch.tensor([[0.4125, 0.3576, 0.1804], [0.2127, 0.7152, 0.0722], [0.0193, 0.1192, 0.9503]]).double()
    x = c @ to_xyz.T / torch.tensor([0.9505, 1.0, 1.0888]).double()
    f = torch.where(x > 0.008856, x.clamp(min=1e-9) ** (1 / 3), 7.787 * x + 16 / 116)
    return torch.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def apart(a: tuple[int, int, int], b: tuple[int, int, int]) -> float:
    """CIE 1976 colour difference; 2.3 is just noticeable."""
    return float((lab(torch.tensor(a)) - lab(torch.tensor(b))).norm())


def test_colours_are_far_apart() -> None:
    for group, least in ((captions.INKS, 40), (captions.GROUNDS, 27)):
        colours = [one.rgb for one in group if one.rgb is not None]
        assert min(apart(a, b) for a, b in itertools.combinations(colours, 2)) > least
    for ink, ground in captions.allowed():
        colour = captions.GROUNDS[ground].rgb
        assert captions.INKS[ink].name != captions.GROUNDS[ground].name
        assert colour is None or apart(captions.INKS[ink].rgb, colour) > 50


def test_batch_matches_the_spec_and_is_pure() -> None:
    dataset = CaptionedDigits(CaptionedDigitsConfig(size=17, copies=1, text_length=100))
    assert len(dataset) == 1442
    indices = torch.tensor([5, 0, 5])
    first, again = dataset.batch(indices), dataset.batch(indices)
    assert set(first) == set(dataset.spec.keys)
    assert first["image"].shape == (3, 3, 17, 17)
    assert first["text"].shape == (3, 100)
    assert first["image"].dtype == first["text"].dtype == torch.uint8
    first["image"].zero_()
    for key, value in dataset.batch(indices).items():
        assert torch.equal(value, again[key])
        assert torch.equal(value[0], value[2])
    other = CaptionedDigits(CaptionedDigitsConfig(size=17, copies=1, text_length=100, seed=1)).batch(indices)
    assert not torch.equal(other["image"], again["image"])


def test_captions_say_the_classes(train: dict[str, torch.Tensor], test: dict[str, torch.Tensor]) -> None:
    for batch in (train, test):
        texts = decode_text(batch["text"])
        for row in range(0, len(texts), 7):
            digit, ink, ground, stroke = (int(batch[key][row]) for key in ATTRIBUTES)
            assert re.search(rf"\b({captions.DIGITS[digit]}|{digit})\b", texts[row])
            assert any(word in texts[row] for word in captions.INKS[ink].words)
            assert any(word in texts[row] for word in captions.GROUNDS[ground].words)
            said = captions.STROKES[stroke]
            assert any(word in texts[row] for word in said.adjectives + said.nouns)
        assert int((batch["text"] != 0).sum(1).max()) < batch["text"].shape[1]  # none is cut


def test_every_caption_fits() -> None:
    rows = itertools.product(range(10), range(7), range(8), range(3))
    pick = random.Random(0).randrange
    longest = max(len(captions.caption(*row, templates=captions.SEEN + captions.UNSEEN, pick=pick)) for row in rows)
    assert longest <= 96  # the least text_length


def test_captions_in_chinese_say_the_same_classes() -> None:
    english, other = (
        CaptionedDigits(CaptionedDigitsConfig(size=16, copies=2, text_length=96, language=language))
        for language in ("en", "zh")
    )
    rows = torch.arange(0, len(other), 11)
    batch, same = other.batch(rows), english.batch(rows)
    assert all(torch.equal(batch[key], same[key]) for key in ("image", *ATTRIBUTES))
    texts = decode_text(batch["text"])
    assert not any("\ufffd" in text for text in texts)
    for row, text in enumerate(texts):
        digit, ink, ground, stroke = (int(batch[key][row]) for key in ATTRIBUTES)
        assert [d for d in range(10) if chinese.DIGITS[d] in text or str(d) in text] == [digit]
        assert any(word in text for word in chinese.INKS[ink])
        assert any(word in text for word in chinese.GROUNDS[ground])
        assert any(word in text for word in chinese.STROKES[stroke])
    rows = itertools.product(range(10), range(7), range(8), range(3))
    pick = random.Random(0).randrange
    said = [chinese.caption(*row, templates=chinese.SEEN + chinese.UNSEEN, pick=pick) for row in rows]
    assert max(len(text.encode()) for text in said) <= 96


def test_articles() -> None:
    def first(_: int) -> int:
        return 0

    assert captions.caption(8, 0, 0, 0, templates=("a {d}",), pick=first) == "an eight"
    assert captions.caption(1, 0, 0, 0, templates=("a {d}",), pick=first) == "a one"
    assert captions.caption(8, 0, 0, 0, templates=("a {d}",), pick=lambda n: n - 1) == "an 8"


def test_held_out_combinations_and_sentences(train: dict[str, torch.Tensor], test: dict[str, torch.Tensor]) -> None:
    def combinations(batch: dict[str, torch.Tensor]) -> list[tuple[int, ...]]:
        return [tuple(row) for row in torch.stack([batch[key] for key in ATTRIBUTES[:3]], 1).tolist()]

    known, asked = set(combinations(train)), combinations(test)
    new = sum(row not in known for row in asked) / len(asked)
    assert 0.45 < new < 0.65
    assert not known & {row for row in asked if captions.held_out(*row)}
    heard = {"somebody wrote", "in front of", "make up this", "handwritten", "this is "}
    assert not any(phrase in text for text in decode_text(train["text"]) for phrase in heard)
    assert 0.2 < sum(any(p in text for p in heard) for text in decode_text(test["text"])) / len(asked) < 0.3
    for key, names in zip(ATTRIBUTES[1:], (captions.INKS, captions.GROUNDS, captions.STROKES), strict=True):
        assert torch.bincount(train[key], minlength=len(names)).min() > 0.04 * len(known)


def test_pictures_show_ink_ground_and_stroke(train: dict[str, torch.Tensor]) -> None:
    image = train["image"].float()
    corner = image[:, :, 0, 0]
    covered = []
    for index, ground in enumerate(captions.GROUNDS):
        rows = train["ground"] == index
        if ground.rgb is not None:
            assert (corner[rows] - torch.tensor(ground.rgb)).abs().max() <= 7
        else:
            assert image[rows].std((2, 3)).mean() > 20  # a photograph, not a colour
    for index, ink in enumerate(captions.INKS):
        rows = train["ink"] == index
        near = ((image[rows] - torch.tensor(ink.rgb).view(3, 1, 1)).abs().amax(1) <= 7).float().mean((1, 2))
        assert (near > 0.02).float().mean() > 0.97
    plain = torch.tensor([ground.rgb is not None for ground in captions.GROUNDS])[train["ground"]]
    ground = torch.tensor([ground.rgb or (0, 0, 0) for ground in captions.GROUNDS])[train["ground"]]
    differs = ((image - ground.view(-1, 3, 1, 1)).abs().amax(1) > 30).float().mean((1, 2))
    covered = [float(differs[plain & (train["stroke"] == stroke)].mean()) for stroke in range(3)]
    assert covered[1] > 1.2 * covered[0]
    assert covered[2] > 1.2 * covered[1]


def test_bounds() -> None:
    with pytest.raises(ValueError, match="size"):
        CaptionedDigitsConfig(size=8)
    with pytest.raises(ValueError, match="text_length"):
        CaptionedDigitsConfig(text_length=20)
