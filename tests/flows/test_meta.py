"""`mmforget meta`: what is refused, the plan, and two models against two from training to the table."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.commands import Said, command

TINY = ("--model", "micro", "--tasks", "tofu_forget01", "--device", "cpu", "--quiet", "--workers", "1")


def meta(*words: str) -> Said:
    return command("meta", *TINY, *words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "hf", "--model_args", "pretrained=nowhere"), "pools are of micro models"),
        (("--after", "logit_lens"), "--after logit_lens: changes no weights by itself"),
        (("--after", "pruned_away"), "unknown attack 'pruned_away'"),
        (("--size", "0"), "'0' is not a whole number of at least 1"),
        (("--tasks", "unlok_vqa"), "unlok_vqa has no retain model"),
        (("--methods", "nonesuch"), "unknown method 'nonesuch'"),
        (("--methods", "npo,icu"), "method 'icu' puts a guard before the model"),
    ],
)
def test_what_cannot_be_is_one_line(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    said = meta(*words, "--output_path", str(tmp_path / "out"))
    assert said.status == 2
    assert expected in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "out").exists()


def test_the_plan_names_every_model(tmp_path: Path) -> None:
    said = meta("--size", "12", "--methods", "npo", "--output_path", str(tmp_path), "--dry-run", "--json")
    assert said.status == 0, said.err
    plan = json.loads(said.out)
    assert plan["changes"] == ["relearning(steps=16)", "quantisation"]
    models = plan["benchmarks"]["tofu_forget01"]
    names = [one["name"] for one in models]
    assert len(names) == len(set(names)) == 12 + 12 + 6 + 2
    changed = [one["name"].partition("-")[0] for one in models if one["is_changed"]]
    assert Counter(changed) == {"with": 10, "without": 10, "npo": 2}
    assert names[-1].startswith("npo-with-")


@pytest.mark.long
def test_two_models_against_two(tmp_path: Path) -> None:
    words = (
        "--size", "2", "--limit", "4", "--stage_one_args", "max_steps=4", "--attacks", "logit_lens", "--after",
        "relearning(rows=2,steps=2),quantisation", "--output_path", str(tmp_path), "--json",
    )  # fmt: skip
    said = meta(*words)
    assert said.status == 0, said.err
    found = json.loads(said.out)
    rows = found["benchmarks"]["tofu_forget01"]["rows"]
    by_key = {(row["metric"], row["set"], row["profile"], row["attack"]): row for row in rows}
    own = by_key["probability", "forget", "clean", None]
    # Two against two: every AUC is a quarter or none, and there is no interval.
    assert own["auc"]["value"] * 4 in range(5)
    assert (own["auc"]["low"], own["tells"], own["auc"]["num"]) == (None, None, 4)
    assert list(own["after"]) == ["relearning(rows=2,steps=2)", "quantisation"]
    assert own["seconds"] > 0
    assert by_key["attack_success", "forget", "clean", "logit_lens"]["seconds"] is not None
    assert by_key["probability", "retain_perturbed", "clean", None]["about"] == "kept"
    assert json.loads((tmp_path / "meta.json").read_text()) == found
    kept = {path.parent.parent.name for path in tmp_path.glob("*/models/*/quantisation/results_*.json")}
    assert {name.partition("-")[0] for name in kept} == {"with", "without"}
    again = json.loads(meta(*words).out)
    assert again["benchmarks"] == found["benchmarks"]
    assert again["legs_s"][0] == pytest.approx(found["wall_s"], abs=1.0)
    assert again["wall_s"] == pytest.approx(sum(again["legs_s"]))
    assert len(again["legs_s"]) == 2
