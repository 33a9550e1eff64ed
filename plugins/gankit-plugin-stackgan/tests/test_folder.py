"""The dataset captioned-folder: where captions come from, what is left out, and that it is told."""

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import torch
from gankit_plugin_stackgan.folder import CaptionedFolder, CaptionedFolderConfig
from PIL import Image

from gankit.check.checker import Checker
from gankit.check.data import check_data
from gankit.data.files import held_out
from gankit.data.text import decode_text
from gankit.errors import UsageError


def open_folder(root: Path, split: str = "train", **options: object) -> CaptionedFolder:
    given = {"root": str(root), "size": 16, "test_fraction": 0.0, **options}
    return CaptionedFolder(CaptionedFolderConfig.model_validate(given), split)  # type: ignore[arg-type]


def paint(path: Path, tone: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), (tone,) * 3).save(path)


def describe(root: Path, *entries: object) -> None:
    """Write metadata.jsonl, a line an entry; strings as they are."""
    lines = (entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False) for entry in entries)
    (root / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


def samples(dataset: CaptionedFolder) -> list[tuple[int, str]]:
    """(grey tone, caption) of every sample."""
    batch = dataset.batch(torch.arange(len(dataset)))
    return list(zip(batch["image"][:, 0, 8, 8].tolist(), decode_text(batch["text"]), strict=True))


def test_captions_of_metadata_stand_by_their_images(captioned: Path) -> None:
    assert samples(open_folder(captioned)) == [(20 * n, f"grey {20 * n}") for n in range(10)]


def test_it_keeps_the_contract(captioned: Path) -> None:
    checker = Checker()
    assert check_data(checker, lambda split: open_folder(captioned, split, test_fraction=0.2, channels=1))
    assert [result.detail for result in checker.results] == ["8 training and 2 test samples", *["image, text"] * 2]


def test_several_captions_an_image_in_one_split(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / f"{number}.png", 20 * number)
    describe(tmp_path, *[{"file_name": f"{n}.png", "text": [f"{n} once", f"{n}  twice "]} for n in range(10)])
    train, test = (open_folder(tmp_path, split, test_fraction=0.3) for split in ("train", "test"))
    assert (len(train), len(test)) == (14, 6)
    assert set(test.files()) == held_out([f"{n}.png" for n in range(10)], 0.3)
    for dataset in (train, test):
        said = samples(dataset)
        assert [f"{tone // 20} {word}" for tone, _ in said[::2] for word in ("once", "twice")] == [t for _, t in said]
    assert not {text for _, text in samples(train)} & {text for _, text in samples(test)}


def test_a_text_file_beside_each_image(tmp_path: Path) -> None:
    paint(tmp_path / "deep" / "a.b.png", 10)
    (tmp_path / "deep" / "a.b.txt").write_bytes(b"\xef\xbb\xbffirst\r\n\r\n  second   one\r\n")
    paint(tmp_path / "c.jpg", 200)
    (tmp_path / "c.txt").write_text("third")
    assert samples(open_folder(tmp_path)) == [(200, "third"), (10, "first"), (10, "second one")]


def test_what_cannot_be_used_is_left_out_counted_and_named(tmp_path: Path) -> None:
    for name in ("good", "mute", "blank"):
        paint(tmp_path / f"{name}.png", 50)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n")
    describe(
        tmp_path,
        {"file_name": "good.png", "text": "fine"},
        {"file_name": "./sub/../good.png", "text": "another line, the same image"},
        "",
        "{not json",
        "[" * 100_000,
        {"file_name": "good.png", "caption": "another key"},
        {"file_name": 3, "text": "a number"},
        {"file_name": "good.png", "text": ["fine", 3]},
        '["good.png", "a list"]',
        {"file_name": "gone.png", "text": "not there"},
        {"file_name": "../outside.png", "text": "not below the root"},
        {"file_name": "blank.png", "text": " \n "},
        {"file_name": "broken.png", "text": "cannot be decoded"},
    )
    dataset = open_folder(tmp_path)
    assert samples(dataset) == [(50, "fine"), (50, "another line, the same image")]
    notes = dataset.notes()
    assert notes[:5] == [
        "2 lines are not JSON: metadata.jsonl line 4, metadata.jsonl line 5",
        "4 lines lack file_name or text: metadata.jsonl line 6, metadata.jsonl line 7, metadata.jsonl line 8, "
        "metadata.jsonl line 9",
        "2 captions name an image that is not there: metadata.jsonl line 10 (gone.png), "
        "metadata.jsonl line 11 (../outside.png)",
        "1 captions are empty: metadata.jsonl line 12",
        "2 images have no caption: blank.png, mute.png",
    ]
    assert "1 of 2 image files cannot be read" in notes[5]
    assert "broken.png" in notes[5]


def test_text_files_that_are_missing_empty_or_not_utf8(tmp_path: Path) -> None:
    for name, content in {
        "good": b"fine",
        "latin": "caf\xe9".encode("latin-1"),
        "blank": b"\n \n",
        "mute": None,
    }.items():
        paint(tmp_path / f"{name}.png", 50)
        if content is not None:
            (tmp_path / f"{name}.txt").write_bytes(content)
    dataset = open_folder(tmp_path)
    assert [text for _, text in samples(dataset)] == ["fine", "caf\ufffd"]
    assert dataset.notes() == [
        "1 captions are empty: blank.txt",
        "1 files are not UTF-8 (what does not fit is replaced): latin.txt",
        "1 images have no caption: mute.png",
    ]


def test_captions_in_any_script(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    captions = [
        "日本の花 🌸 e\u0301",
        "line\u2028separator and\u0085next line",  # raw in a JSON string, and no end of a line of JSON
        "nul \0 within",
        "lone \ud800 surrogate",
        "日" * 50,
    ]
    describe(tmp_path, *[{"file_name": "a.png", "text": text} for text in captions[:2]], *[
        json.dumps({"file_name": "a.png", "text": text}) for text in captions[2:]
    ])  # fmt: skip
    dataset = open_folder(tmp_path, text_length=32)
    assert dataset.notes() == ["1 of 5 captions are cut after 32 bytes; the longest has 150: --data.text-length BYTES"]
    assert open_folder(tmp_path, text_length=150).notes() == []
    assert [text for _, text in samples(dataset)] == [
        "日本の花 🌸 e\u0301",
        "line separator and next line",
        "nul   within",
        "lone ? surrogate",
        "日" * 10,  # cut between two characters: 32 bytes hold ten and two thirds
    ]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_in_file_names_may_be_spelt_either_way(tmp_path: Path, form: str) -> None:
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    paint(tmp_path / unicodedata.normalize(form, "fleur-été.png"), 70)
    describe(tmp_path, {"file_name": unicodedata.normalize(other, "fleur-été.png"), "text": "une fleur"})
    dataset = open_folder(tmp_path)
    assert samples(dataset) == [(70, "une fleur")]
    assert dataset.notes() == []


def test_an_image_that_turns_out_broken_is_replaced_with_its_caption(captioned: Path) -> None:
    dataset = open_folder(captioned, cache=False)
    assert len(dataset) == 10
    (captioned / "3.png").write_bytes(b"gone bad")
    batch = dataset.batch(torch.tensor([2, 3, 9]))
    assert decode_text(batch["text"]) == ["grey 40", "grey 80", "grey 180"]
    assert batch["image"][:, 0, 0, 0].tolist() == [40, 80, 180]


def test_nothing_to_use_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.root is not set"):
        CaptionedFolder(CaptionedFolderConfig())
    with pytest.raises(UsageError, match=r"no captioned images in .*: no images; give metadata\.jsonl"):
        open_folder(tmp_path)
    paint(tmp_path / "mute.png")
    with pytest.raises(UsageError, match=r"1 images have no caption: mute\.png; give metadata\.jsonl .* or a \.txt"):
        open_folder(tmp_path)
    describe(tmp_path, {"file_name": "gone.png", "text": "x"})
    with pytest.raises(UsageError, match=r"an image that is not there: metadata\.jsonl line 1 \(gone\.png\)"):
        open_folder(tmp_path)


def test_one_image_is_enough(tmp_path: Path) -> None:
    paint(tmp_path / "a.png", 9)
    (tmp_path / "a.txt").write_text("alone")
    for split in ("train", "test"):
        assert samples(open_folder(tmp_path, split, test_fraction=0.5)) == [(9, "alone")]


def test_options_can_be_listed_without_torch() -> None:
    code = "import sys, gankit_plugin_stackgan.folder; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_a_directory_named_from_here_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of other datasets: a run may be resumed from another directory."""
    monkeypatch.chdir(tmp_path)
    assert CaptionedFolderConfig(root="pictures").root == str(tmp_path / "pictures")
