"""The table of model types says of each what was found, and nothing of those that were not built."""

from __future__ import annotations

import json
from pathlib import Path

import sweep_models

LINES = [
    {"type": "b", "modality": "causal", "built": True, "shares": True, "continues": False, "score_difference": 1e-6}
    | {"texts_equal": 4, "texts": 4},
    {"type": "a", "modality": "causal", "built": True, "shares": False, "continues": False, "score_difference": 0.5}
    | {"texts_equal": 3, "texts": 4},
    {"type": "c", "modality": "causal", "built": True, "refused": "reads in both directions"},
    {"type": "d", "modality": "image-text", "built": False, "why": "no processor"},
]


def test_the_table(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    text = sweep_models.table(out)
    assert text.index("| `a` | each alone / each alone | **differ by 0.5** | **3 of 4 equal** |") < text.index("| `b`")
    assert "| `b` | together / each alone | equal | equal |" in text
    refused, left = text.split("## Refused when loaded")[1].split("## Not built")
    assert "`c`: reads in both directions" in refused
    assert "`d` (image-text): no processor" in left
    assert "Loaded, and then raised" not in text


def test_types_that_are_done_are_not_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "found.jsonl"
    out.write_text("".join(json.dumps({"type": kind, "modality": "causal"}) + "\n" for kind in ("llama", "gpt2")))
    sweep_models.sweep(out, limit=None, types=["llama", "gpt2"])
    assert len(list(sweep_models.lines(out))) == 2


def test_every_type_has_one_modality() -> None:
    found = dict(sweep_models.all_types())
    assert len(found) == len(sweep_models.all_types()) > 200
    assert found["llama"] == "causal"
    assert found["llava"] == "image-text"
