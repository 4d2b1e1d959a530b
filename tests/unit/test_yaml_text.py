"""What YAML of strangers may stand for. Harmless texts, just above and below the bounds."""

from __future__ import annotations

import pytest
import yaml

from mmforget import yaml_text
from mmforget.reading import MAX_DEPTH
from mmforget.yaml_text import parse_yaml


@pytest.mark.parametrize(
    "text",
    ["a: [1, {b: x}]", "- &one {a: 1}\n- *one\n- <<: *one\n  b: 2", "", "just text", "a: |\n  [[[ {{ &x *y\n", "[]"],
)
def test_ordinary_texts_say_what_safe_load_says(text: str) -> None:
    assert parse_yaml(text) == yaml.safe_load(text)


def test_nesting_is_bounded() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse_yaml(deepest) == yaml.safe_load(deepest)
    for text in (f"[{deepest}]", "\n".join(f"{' ' * level}a:" for level in range(MAX_DEPTH + 2)), "- " * 65 + "a"):
        with pytest.raises(ValueError, match=f"nested deeper than {MAX_DEPTH} levels"):
            parse_yaml(text)


def test_what_is_named_again_counts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    half = "[" * 40 + "]" * 40
    with pytest.raises(ValueError, match="nested deeper"):
        parse_yaml(f"- &half {half}\n- " + "[" * 30 + "*half" + "]" * 30)
    monkeypatch.setattr(yaml_text, "MAX_VALUES", 15)
    # Three names of a list of three (four values with itself), and the list around them: 4 + 4 + 4 + 1 = 13.
    assert len(parse_yaml("- &a [1, 2, 3]\n- *a\n- *a")) == 3
    with pytest.raises(ValueError, match="stands for more than 15 values"):
        parse_yaml("- &a [1, 2, 3]\n- *a\n- *a\n- *a")


def test_a_part_does_not_hold_itself() -> None:
    with pytest.raises(ValueError, match=r"\*a stands inside the part that it names"):
        parse_yaml("a: &a [1, *a]")


@pytest.mark.parametrize("text", ["a: [1", "*nobody", "a: 1\n b: 2", "!!python/object:os.system x", "a: 1\n---\nb: 2"])
def test_what_is_no_safe_yaml_is_yamls_own_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        parse_yaml(text)
