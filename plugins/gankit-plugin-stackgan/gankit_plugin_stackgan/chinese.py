"""The ways to say in Chinese what captioned digits look like, in the order of `captions`. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["SEEN", "UNSEEN", "caption"]

DIGITS = ("零", "一", "二", "三", "四", "五", "六", "七", "八", "九")
INKS = (
    ("黑色", "乌黑", "墨黑"),
    ("白色", "雪白", "粉笔白"),
    ("红色", "深红", "鲜红"),
    ("绿色", "翠绿", "叶绿"),
    ("蓝色", "宝蓝", "钴蓝"),
    ("黄色", "金黄", "柠檬黄"),
    ("紫色", "紫罗兰色", "梅紫"),
)
GROUNDS = (
    ("黑底", "黑色背景", "纯黑的底"),
    ("白底", "白纸", "白色纸张"),
    ("灰底", "灰色背景", "灰墙"),
    ("浅蓝底", "淡蓝背景", "天蓝色背景"),
    ("粉底", "浅粉背景", "粉红色背景"),
    ("棕底", "棕色背景", "棕色纸板"),
    ("花的照片", "大丽花的花瓣", "橙色的花"),
    ("庙宇的照片", "宝塔", "庙宇的屋顶"),
)
STROKES = (("细", "纤细", "很细"), ("中等", "适中", "不粗不细"), ("粗", "粗壮", "很粗"))

SEEN = (
    "{g}上{s}的{i}数字{d}",
    "{g}上有个{s}的{i}{d}",
    "{s}的{i}{d},{g}",
    "数字{d},{i},笔画{s},{g}",
    "{i}的{d},笔画{s},写在{g}上",
    "{g}前面是{s}的{i}{d}",
    "{i}的数字{d}画在{g}上,笔画{s}",
)
UNSEEN = ("有人在{g}上写了{s}的{i}{d}", "这是{g},上面有{s}的{i}{d}", "手写的{d}:{i},{s};背景:{g}")


def caption(
    digit: int, ink: int, ground: int, stroke: int, *, templates: Sequence[str], pick: Callable[[int], int]
) -> str:
    """A sentence that says all four attributes. `pick(n)` draws a number below n."""

    def one(words: Sequence[str]) -> str:
        return words[pick(len(words))]

    return one(templates).format(
        s=one(STROKES[stroke]),
        i=one(INKS[ink]),
        d=one((DIGITS[digit], DIGITS[digit], str(digit))),
        g=one(GROUNDS[ground]),
    )
