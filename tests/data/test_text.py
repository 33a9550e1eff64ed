from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gankit.data.text import decode_text, encode_text


def test_bytes_and_padding() -> None:
    rows = encode_text(["ab", "", "é"], 4)
    assert rows.dtype == torch.uint8
    assert rows.tolist() == [[97, 98, 0, 0], [0, 0, 0, 0], [0xC3, 0xA9, 0, 0]]


@pytest.mark.parametrize(
    ("text", "length", "want"),
    [("seven", 3, "sev"), ("日本", 5, "日"), ("日本", 6, "日本"), ("é", 1, ""), ("a😀b", 4, "a"), ("a\0b", 8, "a b")],
)
def test_a_long_text_is_cut_between_characters(text: str, length: int, want: str) -> None:
    assert decode_text(encode_text([text], length)) == [want]


@given(st.lists(st.text(max_size=20), max_size=4), st.integers(1, 40))
def test_what_comes_back_is_a_beginning(texts: list[str], length: int) -> None:
    rows = encode_text(texts, length)
    assert rows.shape == (len(texts), length)
    for text, back in zip(texts, decode_text(rows), strict=True):
        clean = text.replace("\0", " ").encode("utf-8", "replace").decode()
        assert clean.startswith(back)
        assert len(clean.encode()) > length or back == clean


def test_lone_surrogates_and_foreign_bytes() -> None:
    assert decode_text(encode_text(["\ud800x"], 4)) == ["?x"]
    assert decode_text(torch.tensor([[0xFF, 97, 0, 98]], dtype=torch.uint8)) == ["\ufffda"]


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="length must be at least 1"):
        encode_text(["a"], 0)
    with pytest.raises(TypeError, match="uint8 of two dimensions"):
        decode_text(torch.zeros(2, 2))
