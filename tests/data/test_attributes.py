"""Dataset attribute-folder: class directories as domains, CelebA's list and splits, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pictures import paint

from gankit.data.attributes import AttributeFolder, AttributeFolderConfig
from gankit.data.fingerprint import difference
from gankit.data.loader import check_batch
from gankit.errors import UsageError

NAMES = ("5_o_Clock_Shadow", "Black_Hair", "Blond_Hair", "Male", "Young")


def attributed(root: Path, split: str = "train", **options: object) -> AttributeFolder:
    config = AttributeFolderConfig.model_validate({"root": str(root), "size": 16, **options})
    return AttributeFolder(config, split)  # type: ignore[arg-type]


def row(number: int) -> list[int]:
    """What image `number` has: Black_Hair is bit 0, Blond_Hair bit 1, Male bit 2, the others never."""
    return [-1, *(1 if number >> bit & 1 else -1 for bit in range(3)), -1]


def celeba(root: Path, count: int = 16, ending: str = ".jpg", partition: bool = True) -> Path:
    """A few images laid out as CelebA's are, with its directories Img, Anno and Eval."""
    names = [f"{number:06}" for number in range(count)]
    for number, name in enumerate(names):
        paint(root / "Img/img_align_celeba" / f"{name}{ending}", 8 * number)
    (root / "Anno").mkdir(parents=True)
    rows = [f"{name}.jpg {' '.join(f'{value:2}' for value in row(number))}" for number, name in enumerate(names)]
    (root / "Anno/list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(NAMES) + " ", *rows, ""]))
    if partition:
        (root / "Eval").mkdir()
        parts = [0] * (count - 6) + [1] * 2 + [2] * 4
        (root / "Eval/list_eval_partition.txt").write_text(
            "".join(f"{name}.jpg {part}\n" for name, part in zip(names, parts, strict=True))
        )
    return root


def lines_of(root: Path) -> list[str]:
    return (root / "Anno/list_attr_celeba.txt").read_text().splitlines()


def write(root: Path, lines: list[str]) -> None:
    (root / "Anno/list_attr_celeba.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("below", ["", "Img", "Img/img_align_celeba"])
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_attributes_of_celeba_are_classes_of_their_names(tmp_path: Path, below: str, ending: str) -> None:
    root = celeba(tmp_path, ending=ending) / below
    train, test = (attributed(root, split, attributes=("Male", "Black_Hair")) for split in ("train", "test"))
    assert (len(train), len(test)) == (10, 4)
    assert {name: key.names for name, key in train.spec.keys.items() if key.kind == "class"} == {
        "Male": ("no", "yes"), "Black_Hair": ("no", "yes"),
    }  # fmt: skip
    for data, first in ((train, 0), (test, 12)):
        batch = data.batch(torch.arange(len(data)))
        check_batch(batch, data.spec, len(data))
        numbers = (batch["image"][:, 0, 8, 8].float() / 8).round().long()
        assert numbers.tolist() == list(range(first, first + len(data)))
        assert batch["Male"].tolist() == [int(n) >> 2 & 1 for n in numbers]
        assert batch["Black_Hair"].tolist() == [int(n) & 1 for n in numbers]
    assert train.notes() == ["2 images for validation are left out: there are some for testing"]


def test_attributes_that_exclude_each_other_are_one_label(tmp_path: Path) -> None:
    data = attributed(celeba(tmp_path), attributes=("Blond_Hair", "Black_Hair"), alternatives=True)
    assert data.spec["label"].names == ("Blond_Hair", "Black_Hair")
    assert [Path(file).stem[-1] for file in data.files()] == list("12569")
    assert data.batch(torch.arange(5))["label"].tolist() == [1, 0, 1, 0, 1]
    assert "8 images have none or several of the attributes, and are left out" in data.notes()


def test_without_a_partition_splits_are_as_of_any_folder(tmp_path: Path) -> None:
    root = celeba(tmp_path, partition=False)
    train, test = (attributed(root, split, attributes=("Male",), test_fraction=0.25) for split in ("train", "test"))
    assert (len(train), len(test)) == (12, 4)
    assert not set(train.files()) & set(test.files())
    half = tmp_path / "half"
    for number in range(8):
        paint(half / f"{'train' if number < 5 else 'test'}/{number:06}.jpg", number)
    assert len(attributed(half, "test", attributes=("Male",))) == 3  # the list is above


def test_a_list_as_kaggle_has_it(tmp_path: Path) -> None:
    for number in range(4):
        paint(tmp_path / f"img_align_celeba/img_align_celeba/{number:06}.jpg", number)
    rows = [f"{number:06}.jpg,{','.join(map(str, row(number)))}" for number in range(4)]
    (tmp_path / "list_attr_celeba.csv").write_text("\n".join([f"image_id,{','.join(NAMES)}", *rows]))
    parts = [f"{number:06}.jpg,{2 if number == 3 else 0}" for number in range(4)]
    (tmp_path / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *parts]))
    data = attributed(tmp_path, attributes=("Blond_Hair",))
    assert data.batch(torch.arange(3))["Blond_Hair"].tolist() == [0, 0, 1]
    assert len(attributed(tmp_path, "test", attributes=("Blond_Hair",))) == 1


def test_a_list_of_any_name_and_odd_attributes(tmp_path: Path) -> None:
    for name in ("x", "y"):
        paint(tmp_path / f"pictures/{name}.png", 5)
    path = tmp_path / "what.txt"
    path.write_text("\ufeffname long.hair image\r\nx.png 1 0\r\ny.png 0 1\r\n", encoding="utf-8")
    data = attributed(tmp_path / "pictures", attribute_list=str(path), attributes=("long.hair",), test_fraction=0)
    assert data.batch(torch.arange(2))["long_hair"].tolist() == [1, 0]
    with pytest.raises(UsageError, match="cannot be called 'image'"):
        attributed(tmp_path / "pictures", attribute_list=str(path), attributes=("image",))


def test_what_is_wrong_with_a_list_is_named_and_left_out(tmp_path: Path) -> None:
    root = celeba(tmp_path, partition=False)
    lines = lines_of(root)
    lines[3] += " 1"  # image 1
    lines[4] = lines[4].replace("-1", "x")  # image 2
    lines[5] = lines[6]  # image 3 is not listed, and 4 is twice
    write(root, [*lines, "999999.jpg 1 1 1 1 1"])
    paint(root / "Img/other.png", 3)
    data = attributed(root, attributes=("Male",), test_fraction=0)
    assert len(data) == 13
    assert data.notes() == [
        "list_attr_celeba.txt: 1 lines have not 5 values: line 4 (6)",
        "list_attr_celeba.txt: 1 lines have values other than 1 and -1: line 5",
        "list_attr_celeba.txt: 1 lines name an image again: line 7 (000004.jpg)",
        "4 images are not in the list, and left out: Img/img_align_celeba/000001.jpg, Img/img_align_celeba/000002.jpg, "
        "Img/img_align_celeba/000003.jpg, Img/other.png",
        "1 images of the list are not there: 999999.jpg",
    ]


def test_a_broken_image_takes_its_attributes_with_it(tmp_path: Path) -> None:
    root = celeba(tmp_path)
    (root / "Img/img_align_celeba/000002.jpg").write_bytes(b"")
    data = attributed(root, attributes=("Blond_Hair",))
    assert data.batch(torch.arange(9))["Blond_Hair"].tolist() == [0, 0, 1, 0, 0, 1, 1, 0, 0]
    assert any("1 of 10 image files cannot be read" in note for note in data.notes())


def test_classes_that_nothing_has_and_a_partition_with_gaps(tmp_path: Path) -> None:
    root = celeba(tmp_path)
    path = root / "Eval/list_eval_partition.txt"
    kept = path.read_text().splitlines()
    path.write_text("\n".join(["000000.jpg 7", *kept[2:]]))
    data = attributed(root, attributes=("Young", "Male"))
    assert len(data) == 8
    notes = data.notes()
    assert "no training image has Young 'yes'" in notes
    assert any("2 images are not in list_eval_partition.txt, and left out" in note for note in notes)


def test_errors_of_lists(tmp_path: Path) -> None:
    root = celeba(tmp_path / "celeba")
    for options, words in (
        ({}, r"data\.attributes is not set; choose some \(--data\.attributes 5_o_Clock_Shadow\) of: 5_o_Clock"),
        ({"attributes": ("Mail",)}, r"has no attribute 'Mail'; did you mean 'Male'\? It has: 5_o"),
        ({"attributes": ("Male", "Male")}, "names one twice: Male, Male"),
        ({"attributes": ("Male",), "alternatives": True}, "needs two data.attributes or more, not Male alone"),
        ({"attributes": ("Young", "5_o_Clock_Shadow"), "alternatives": True}, "no image has just one of Young, 5_o"),
        ({"attributes": ("Male",), "attribute_list": str(tmp_path / "absent.txt")}, "absent.txt: No such file"),
    ):
        with pytest.raises(UsageError, match=words):
            attributed(root, **options)
    for content, words in (
        (b"", "its first line names no attributes"),
        (b"16\n", "its first line names no attributes"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"2\nMale Young\n1.jpg 1 1 1\n", "no line says what an image has; .*have not 2 values"),
        (b"1\nMale Young\n1.jpg 1 1\n", "no image in .* is named in .*16 images are not in the list"),
    ):
        (root / "Anno/list_attr_celeba.txt").write_bytes(content)
        with pytest.raises(UsageError, match=words):
            attributed(root, attributes=("Male",))


def test_class_directories_are_domains(tmp_path: Path) -> None:
    for name, tone in (("summer", 10), ("winter", 200)):
        for number in range(10):
            paint(tmp_path / name / f"{number}.png", tone)
    data = attributed(tmp_path)
    assert data.spec["label"].names == ("summer", "winter")
    batch = data.batch(torch.arange(len(data)))
    assert torch.equal(batch["label"] == 1, batch["image"][:, 0, 0, 0] == 200)
    assert len(data) + len(attributed(tmp_path, "test")) == 20
    (tmp_path / "list_attr_celeba.txt").write_text("Male\n0.png 1\n")  # beside them: it counts
    with pytest.raises(UsageError, match="attributes is not set"):
        attributed(tmp_path)


def test_errors_without_a_list(tmp_path: Path) -> None:
    paint(tmp_path / "one/1.png", 1)
    with pytest.raises(UsageError, match=r"has no class directories to be domains: its 1 images .* --data\.attributes"):
        attributed(tmp_path)
    with pytest.raises(UsageError, match=r"data\.attributes is set, and .* has no list_attr_celeba\.txt"):
        attributed(tmp_path, attributes=("Male",))
    with pytest.raises(UsageError, match=r"data\.alternatives is set"):
        attributed(tmp_path, alternatives=True)
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match="no images in"):
        attributed(tmp_path / "none")


def test_the_fingerprint_knows_the_attributes(tmp_path: Path) -> None:
    root = celeba(tmp_path)
    first = attributed(root, attributes=("Male",)).fingerprint()
    assert first == attributed(root, attributes=("Male",)).fingerprint()
    lines = lines_of(root)
    lines[2] = lines[2].replace("-1", " 1")
    write(root, lines)
    assert difference(first, attributed(root, attributes=("Male",)).fingerprint()) == "1 has another class"
