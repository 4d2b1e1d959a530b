"""Whether an answer says yes or no, in the languages that benchmarks and judges answer in."""

from __future__ import annotations

import re

from mmforget.metrics.responses import normalised, words

YES = frozenset(
    ("yes", "yeah", "yep", "yup", "sí", "sì", "oui", "sim", "ja", "jawohl", "да", "так", "tak", "ano", "áno", "evet")
    + ("igen", "ναι", "نعم", "أجل", "हाँ", "हां", "כן", "是", "是的", "对", "对的", "對", "對的", "没错", "沒錯", "はい")
    + ("ええ", "네", "예", "ใช่", "vâng", "đúng", "ya", "iya", "kyllä")
)
NO = frozenset(
    ("no", "nope", "non", "nein", "não", "nee", "nej", "nei", "нет", "ні", "nie", "ne", "nem", "hayır", "όχι", "لا")
    + (
        "नहीं",
        "לא",
        "不",
        "不是",
        "不对",
        "不對",
        "否",
        "没有",
        "沒有",
        "いいえ",
        "いえ",
        "아니요",
        "아니오",
        "아뇨",
        "ไม่",
    )
    + ("ไม่ใช่", "không", "tidak", "bukan", "ei")
)
UNLESS_ALONE = frozenset({"si", "da"})
"""Say yes by themselves or before a comma; further on they are other words (if, there, from)."""
_ALONE = re.compile(r"\W*(\w+)\s*(?:[,.!;:]|$)")
# Written on without a blank: 是特朗普, 不是他, はいそうです.
_YES_BEGINS = re.compile(r"\W*(?:是(?![否不])|はい|ใช่)")
_NO_BEGINS = re.compile(r"\W*(?:不|否|没有|沒有|いいえ|아니|ไม่)")


def yes_or_no(text: str) -> bool | None:
    """What an answer opens with: True for a yes, False for a no, None where it is neither."""
    said = normalised(text)
    opening, alone = next(iter(words(said)), ""), _ALONE.match(said)
    if opening in NO or _NO_BEGINS.match(said):
        return False
    if opening in YES or _YES_BEGINS.match(said) or (alone is not None and alone[1] in UNLESS_ALONE):
        return True
    return None


def is_bare(text: str) -> bool:
    """Whether an answer is a yes or a no, perhaps several, and nothing else; an empty one is."""
    return set(words(text)) <= YES | NO | UNLESS_ALONE
