"""Which caption is held against an image, and how the image encoder sees a drawn one."""

import torch

from gankit.text.matching import ImageEncoder, others
from gankit.text.training import coarsen, nudge


def test_the_nearest_caption_that_says_something_else() -> None:
    texts = torch.tensor([[1.0, 0.0], [0.99, 0.05], [0.6, 0.8], [0.5, 0.87], [-1.0, 0.0]])
    chosen = others(texts)
    # 0 and 1 say the same, and so do 2 and 3
    assert chosen.tolist() == [2, 2, 1, 1, 3]


def test_captions_that_all_say_the_same_get_the_next_one() -> None:
    assert others(torch.ones(4, 8)).tolist() == [1, 2, 3, 0]
    assert others(torch.ones(1, 8)).tolist() == [0]


def test_match_falls_as_images_come_to_show_their_captions() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(3, 8).freeze()
    encoder.bank.copy_(torch.nn.functional.normalize(torch.randn_like(encoder.bank), dim=1))
    texts = torch.randn(4, 8)
    images = torch.zeros(4, 3, 16, 16, requires_grad=True)
    optimizer = torch.optim.Adam([images], 0.1)
    draw = torch.Generator().manual_seed(0)
    first = encoder.match(images, texts, draw)
    for _ in range(30):
        optimizer.zero_grad()
        encoder.match(images, texts, draw).backward()
        optimizer.step()
    assert encoder.match(images, texts, draw) < 0.5 * first
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_half_of_the_images_are_coarse_and_all_are_moved_alike() -> None:
    images = torch.rand(4, 3, 32, 32)
    seen = coarsen(images, 8)
    assert torch.equal(seen[2:], images[2:])
    assert not torch.allclose(seen[:2], images[:2], atol=0.05)
    moved = nudge(images, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    inner = [images[..., 4 - y : 28 - y, 4 - x : 28 - x] for y in range(-2, 3) for x in range(-2, 3)]
    assert any(torch.equal(moved[..., 4:28, 4:28], place) for place in inner)


def test_match_sees_each_image_distorted_and_repeats_it() -> None:
    encoder, texts, images = ImageEncoder(3, 8).freeze(), torch.randn(4, 8), torch.rand(4, 3, 48, 48)
    first, second = (encoder.match(images, texts, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert first != second
    assert encoder.match(images, texts, torch.Generator().manual_seed(0)) == first
    plain = encoder.find(encoder(images), torch.nn.functional.normalize(texts, dim=1), encoder.bank)
    assert plain not in (first, second)


def test_captions_that_say_the_same_are_no_others() -> None:
    torch.manual_seed(0)
    encoder = ImageEncoder(3, 8)
    image, text, bank = (torch.nn.functional.normalize(torch.randn(n, 8), dim=1) for n in (1, 1, 16))
    wanted = encoder.find(image, text, bank)
    near = torch.nn.functional.normalize(text + 0.05 * torch.randn(3, 8), dim=1)
    torch.testing.assert_close(encoder.find(image, text, torch.cat([bank, text, near])), wanted)
    assert encoder.find(image, text, torch.cat([bank, image])) > wanted + 1
    # asked for twice, each image is found by its caption alone
    torch.testing.assert_close(encoder.find(image.repeat(2, 1), text.repeat(2, 1), bank), wanted)
