"""Weights of pytorch-CycleGAN-and-pix2pix: the outputs of the layer lists that they were made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from foreign_weights import drawn, saved
from junyanz_lists import Patch, Pixel, ResNet, UNet
from PIL import Image
from torch import nn

import gankit
from gankit.api import import_weights
from gankit.cli.main import main
from gankit.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def same(mine: nn.Module, theirs: nn.Module, channels: int = 3, side: int = 32) -> None:
    images = torch.rand(2, channels, side, side) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(mine(images), theirs(images), rtol=0, atol=1e-5)
        assert theirs(images).std() > 0.01


def test_both_generators_and_both_discriminators(tmp_path: Path) -> None:
    made = {"G_A": ResNet(3, 1), "G_B": ResNet(1, 3), "D_A": Patch(1), "D_B": Patch(3)}
    made = {name: drawn(network) for name, network in made.items()}
    run = import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", **made), out=tmp_path, size=32)
    networks, options = run.networks(device="cpu"), run.config.options
    same(networks["a_to_b"], made["G_A"])
    same(networks["b_to_a"], made["G_B"], 1)
    same(networks["discriminator_b"], made["D_A"], 1)  # which judges what G_A makes
    same(networks["discriminator_a"], made["D_B"])
    assert (options.g_width, options.blocks, options.d_width, options.d_layers, options.identity) == (4, 2, 4, 3, 0)
    assert run.spec.shape_of("b") == (1, 32, 32)
    assert run.steps == 0


@pytest.mark.parametrize("judge", [Patch(layers=1), Patch(layers=4), Pixel()], ids=["16", "142", "pixels"])
def test_unets_and_other_discriminators(tmp_path: Path, judge: nn.Module) -> None:
    made = {"G_A": drawn(UNet(downs=5, norm="instance")), "D_A": drawn(judge)}
    networks = import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", **made), out=tmp_path, size=64).networks(
        device="cpu"
    )
    same(networks["a_to_b"], made["G_A"], side=64)
    same(networks["discriminator_b"], judge, side=64)


def test_one_generator_alone_translates_and_is_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As it was released: in DataParallel, with statistics that old versions of torch kept."""
    made = drawn(ResNet())
    state = {f"module.{key}": value for key, value in made.state_dict().items()}
    state |= {"module.model.2.running_mean": torch.zeros(4), "module.model.2.running_var": torch.ones(4)}
    torch.save(state, tmp_path / "horse2zebra.pth")
    folders(tmp_path / "data")
    command = ["import", "junyanz", tmp_path / "horse2zebra.pth", "--out", tmp_path, "--json", "--size", "32"]
    training = ["--dataset", "unpaired-folder", "--data.root", tmp_path / "data", "--steps=2", "--d-width", "4"]
    assert main([str(word) for word in [*command, *training, "--sample-n", 2]]) == 0
    out = capsys.readouterr()
    run = gankit.open_run(json.loads(out.out)["run"])
    assert "no b_to_a and no discriminator_a and no discriminator_b" in out.err
    same(run.networks(device="cpu")["a_to_b"], made)
    said = json.loads((run.path / "environment.json").read_text())["imported"]
    assert said["format"] == "junyanz"
    assert [file["name"] for file in said["files"]] == ["horse2zebra.pth"]
    assert str(tmp_path) not in json.dumps(said)

    photo = tmp_path / "photo.png"
    Image.effect_noise((32, 32), 60).convert("RGB").save(photo)
    drawn_there = run.translate([photo]).images
    assert drawn_there.shape == (1, 3, 32, 32)
    assert run.resume().steps == 2
    assert (run.path / "samples" / "000000.png").is_file()
    assert not torch.equal(run.translate([photo], checkpoint="latest").images, drawn_there)


def folders(path: Path) -> Path:
    for side in ("trainA", "trainB"):
        (path / side).mkdir(parents=True)
        for number in range(3):
            Image.effect_noise((40, 32), 60).convert("RGB").save(path / side / f"{number}.png")
    return path


def test_data_may_be_given_later(tmp_path: Path) -> None:
    options = {"out": tmp_path / "runs", "size": 32, "steps": 1, "sample_n": 2, "d_width": 4}
    run = import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", G_A=ResNet()), **options)
    with pytest.raises(UsageError, match=r"data\.root is not set"):
        run.resume()
    config = run.path / "config.toml"
    config.write_text(config.read_text().replace('root = ""', f'root = "{folders(tmp_path / "data")}"'))
    assert gankit.open_run(run.path).resume().steps == 1
    tuned = gankit.train("cyclegan", "unpaired-folder", init=run.path, config=config, out=tmp_path / "tuned")
    assert tuned.steps == 1


@pytest.mark.parametrize(
    ("networks", "words"),
    [
        ({"G_A": ResNet(), "G": ResNet()}, "latest_net_G.pth does not say whose it is"),
        ({"G_A": ResNet(), "D_A": Patch(1)}, "channels of B: 3 in latest_net_G_A.pth, 1 in latest_net_D_A.pth"),
        ({"G_A": ResNet(), "D_A": Patch(), "D_B": nn.Linear(2, 2)}, "holds no weights of junyanz"),
        ({"G_A": ResNet(dropout=True)}, "dropout in its residual blocks"),
        ({"G_A": ResNet(), "G_B": ResNet(width=8)}, "the weights do not fit network 'b_to_a'"),
        ({"D_A": Patch()}, "holds no weights of junyanz for cyclegan or pix2pix"),
    ],
)
def test_what_is_not_one_model_is_refused(tmp_path: Path, networks: dict[str, nn.Module], words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        import_weights("junyanz", *saved(tmp_path, "latest_net_{}.pth", **networks), out=tmp_path / "runs", size=32)
    assert len(str(raised.value).splitlines()) <= 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("key", ["model.10.conv_block.5.bias", "model.19.weight", "extra"])
def test_all_tensors_are_accounted_for(tmp_path: Path, key: str) -> None:
    state = ResNet().state_dict()
    state.pop(key) if key in state else state.update({key: torch.zeros(3)})
    torch.save(state, tmp_path / "horse2zebra.pth")
    with pytest.raises(UsageError, match=f"horse2zebra.pth is not what its other tensors say: it (lacks|has) '{key}'"):
        import_weights("junyanz", tmp_path / "horse2zebra.pth", out=tmp_path)


def test_shapes_that_no_network_has_take_no_memory(tmp_path: Path) -> None:
    """Of a few kilobytes that say they are a network of a million channels."""
    state = ResNet().state_dict()
    for key, value, words in (
        ("model.1.weight", torch.zeros(100_000, 3, 7, 7), "the weights do not fit network 'a_to_b'"),
        ("model.1.weight", torch.zeros(4), "the names of junyanz, and shapes that none has"),
        ("model.19.weight", torch.zeros(()), "the names of junyanz, and shapes that none has|lacks 'model.19.weight'"),
    ):
        torch.save({**state, key: value}, tmp_path / "it.pth")
        with pytest.raises(UsageError, match=words):
            import_weights("junyanz", tmp_path / "it.pth", out=tmp_path / "runs", size=32)
    with pytest.raises(UsageError, match="kernel"):
        import_weights(
            "junyanz", *saved(tmp_path, "latest_net_{}.pth", G_A=ResNet()), out=tmp_path / "runs", size=32, kernel=5
        )
    assert not (tmp_path / "runs").exists()
