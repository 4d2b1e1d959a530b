"""`mmforget distance` on small models: pairs with and without a retain model, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_benchmark import write_toy

from mmforget.cli.main import main
from mmforget.lm.engine import ModelEngine
from tests.helpers import tiny_llava

FADE = "fade(samples=2,max_new_tokens=3)"
PATH = "mode_connectivity(points=3)"
FORMS = "form_dependence(forms=choice)"


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What is typed but for the measures; its last word is the folder of a second model."""
    folder = tmp_path_factory.mktemp("distance")
    models = [str(tiny_llava(folder / str(seed), seed=seed, num_layers=1)) for seed in range(2)]
    tasks = write_toy(folder / "tasks")
    return [
        "distance", "--model", "hf", "--model_args", f"pretrained={models[0]}", "--device", "cpu", "--tasks",
        "toy", "--include_path", str(tasks), "--data", "synthetic", "--limit", "4", "--quiet", models[1],
    ]  # fmt: skip


def test_every_pair_has_its_numbers(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The target is the model itself, so that the way to it is no way; the retain model of another seed is the same."""
    *typed, other = words
    mine = typed[4].partition("=")[2]
    typed += ["--retain_model", other, "--null_model", other, "--target_model", mine, "--output_path", str(tmp_path)]
    assert main([*typed, "--measures", f"{FADE},{PATH},{FORMS}", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["toy"]
    by_pair = {(one["measure"], one["first"], one["second"]): one for one in found["compared"]}
    names = [("model", "retain"), ("target", "retain"), ("retain/1", "retain")]
    expected = [*((FADE, *one) for one in names), (PATH, "model", "target"), *((PATH, *one) for one in names)]
    assert list(by_pair) == [*expected, *((FORMS, one, "target") for one in ("model", "retain", "retain/1"))]
    assert [one["is_null"] for one in found["compared"]] == [
        *(False, False, True, False, False, False, True, False, True, True)
    ]
    told = [by_pair[FORMS, one, "target"]["result"]["by_token"] for one in ("model", "retain", "retain/1")]
    assert {one["value"] for one in told[0]["drops"].values()} == {0.0}
    assert told[0]["bias"]["reasons"] == ["no form has lost anything, so that none can have lost more than another"]
    assert told[1] == told[2] != told[0]
    assert by_pair[FADE, "model", "retain"]["result"]["total"]["value"] > 0.1
    assert by_pair[FADE, "model", "retain"]["result"] == by_pair[FADE, "target", "retain"]["result"]
    assert by_pair[FADE, "retain/1", "retain"]["result"]["total"]["value"] == pytest.approx(0.0, abs=1e-6)
    assert by_pair[PATH, "model", "target"]["result"]["retain"]["height"]["value"] == 0.0
    assert by_pair[PATH, "model", "retain"]["result"]["places"] == [0.0, 0.5, 1.0]
    assert found["evidence"] == {FADE: "reconstruction", PATH: "exact", FORMS: "reconstruction"}
    assert found["null"] == {FADE: "", PATH: "", FORMS: ""}
    assert len(list((tmp_path / "toy").glob("distance_*.json"))) == 1


def test_without_a_retain_model_there_is_no_number(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words[:-1], "--measures", f"{FADE},{PATH}"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "toy",
        f"  {FADE} (reconstruction)",
        "    model - retain: no retain model to compare with; give --retain_model",
        "    no second retain model, so nobody knows how far two of them lie apart; give --null_model",
        f"  {PATH} (exact)",
        "    model - retain: no retain model to compare with; give --retain_model",
        "    no second retain model, so nobody knows how far two of them lie apart; give --null_model",
    ]


@pytest.mark.long
def test_what_is_interrupted_goes_on_with_the_same_numbers(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the ninth pass: what was there by then is not asked again, and a third time nothing is."""
    *typed, other = words
    typed += ["--retain_model", other, "--json", "--measures", f"{FADE},{PATH},membership", "--output_path"]
    passes: list[int] = []
    score = ModelEngine.score_encoded

    def counted(engine: ModelEngine, *args: Any, **settings: Any) -> Any:
        passes.append(1)
        if len(passes) == stop:
            raise KeyboardInterrupt
        return score(engine, *args, **settings)

    monkeypatch.setattr(ModelEngine, "score_encoded", counted)

    def found(folder: Path, *, status: int = 0) -> tuple[Any, int]:
        before = len(passes)
        assert main([*typed, str(folder)]) == status
        return json.loads(capsys.readouterr().out or "{}"), len(passes) - before

    stop = -1
    whole, num = found(tmp_path / "whole")
    stop = len(passes) + 9
    assert found(tmp_path / "cut", status=130) == ({}, 9)
    again, rest = found(tmp_path / "cut")
    assert again == whole
    assert rest == num - 8
    assert found(tmp_path / "cut") == (whole, 0)


@pytest.mark.parametrize(
    ("measures", "told"),
    [
        ("fad", "unknown measure 'fad'"),
        ("fade(samples=0)", "samples=0 is not allowed; give a number above 0"),
        ("fade(samples=2", "measure 'fade(samples=2' has no closing bracket"),
        ("", "no measure is named"),
        ("mode_connectivity(curve=round)", "curve"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], measures: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words[:-1], "--measures", measures]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith("mmforget: error: ")
    assert told in line
