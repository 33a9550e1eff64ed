"""The dataset of real handwritten digits."""

import sys

import pytest
import torch
from gankit_plugin_cgan.digits import Digits, DigitsConfig, _originals


def every(dataset: Digits) -> dict[str, torch.Tensor]:
    return dataset.batch(torch.arange(len(dataset)))


def test_split_is_stratified_complete_and_disjoint() -> None:
    train, test = every(Digits(DigitsConfig(size=8), "train")), every(Digits(DigitsConfig(size=8), "test"))
    assert (len(train["label"]), len(test["label"])) == (1442, 355)
    counts = torch.bincount(torch.cat([train["label"], test["label"]]), minlength=10)
    share = torch.bincount(test["label"], minlength=10) / counts
    assert ((share - 0.2).abs() < 0.01).all()
    # at 8x8 nothing is resized: both splits together are the originals, each once
    together = torch.cat([train["image"], test["image"]]).flatten(1).tolist()
    pixels, _ = _originals()
    expected = torch.from_numpy(pixels).float().mul(255 / 16).round().flatten(1).to(torch.uint8).tolist()
    assert sorted(together) == sorted(expected)


@pytest.mark.parametrize("size", [8, 28, 32, 65])
def test_batch_matches_the_spec(size: int) -> None:
    dataset = Digits(DigitsConfig(size=size))
    batch = dataset.batch(torch.tensor([3, 0, 3]))
    assert batch["image"].shape == (3, *dataset.spec.image_shape) == (3, 1, size, size)
    assert batch["image"].dtype == torch.uint8
    assert batch["label"].dtype == torch.int64
    assert torch.equal(batch["image"][0], batch["image"][2])
    assert dataset.spec.classes() == 10


def test_enlarging_keeps_the_picture() -> None:
    small = every(Digits(DigitsConfig(size=8)))["image"].float()
    large = every(Digits(DigitsConfig(size=32)))["image"].float()
    again = torch.nn.functional.interpolate(large, (8, 8), mode="area")
    correlation = torch.corrcoef(torch.stack([small.flatten(), again.flatten()]))[0, 1]
    assert correlation > 0.98


def test_changing_a_batch_does_not_change_the_dataset() -> None:
    dataset = Digits(DigitsConfig(size=8))
    dataset.batch(torch.tensor([0]))["image"].zero_()
    assert dataset.batch(torch.tensor([0]))["image"].any()


def test_without_scikit_learn_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from gankit.errors import PluginError

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PluginError, match="pip install scikit-learn"):
        _originals()


def test_does_not_import_scikit_learn() -> None:
    import subprocess

    code = (
        "import sys; from gankit_plugin_cgan.digits import Digits; assert 'torch' not in sys.modules\n"
        "Digits(Digits.Config()); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
