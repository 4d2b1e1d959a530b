"""Methods that users name or join wrongly: one clear line on stderr, exit status 2, before any work."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import Said, command
from tests.helpers import tiny_llava

RUN = ("run", "--model", "micro", "--tasks", "fiubench", "--output_path")


def refused(said: Said, *parts: str) -> None:
    assert said.status == 2, (said.out, said.err)
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if "error:" in line]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("methods", "args", "parts"),
    [
        ("sam", "", ("'sam' only changes how another one trains", "npo+sam")),
        ("sam+bounded", "", ("'sam+bounded' has no loss",)),
        ("uoe", "", ("'uoe' only changes how another one trains",)),
        ("chip+manu", "", ("'chip' edits weights and trains nothing, so nothing can be added to it",)),
        ("needle+rocr", "", ("'needle' edits weights",)),
        ("chip+icu", "", ("'chip' edits weights and 'icu' is a guard", "guard of the edited model", "pretrained=")),
        ("npo+icu", "", ("'icu' is a guard, so nothing can be added to it",)),
        ("dp2", "epsilon=0", ("epsilon=0", "above 0")),
        ("dp2", "epsilon=-1", ("epsilon=-1",)),
        ("uld", "weight=0.5", ("weight=0.5", "0 or a number below it")),
        ("uld", "layers=0", ("layers=0",)),
        ("npo+sam", "rho=-1", ("rho=-1",)),
        ("grad_diff+bounded", "omega=0", ("omega=0",)),
        ("manu", "share=2", ("share=2",)),
    ],
)
def test_methods_that_are_named_or_joined_wrongly(
    methods: str, args: str, parts: tuple[str, ...], tmp_path: Path
) -> None:
    words = ("--methods", methods, *(("--method_args", args) if args else ()))
    refused(command(*RUN, tmp_path / "run", *words), *parts)
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def test_words_that_stand_nowhere_are_found_before_any_work(tmp_path: Path) -> None:
    words = ("run", "--model", "micro", "--tasks", "fiubench", "--data", "synthetic", "--metadata", "num_subjects=20")
    given = ("--methods", "ga,obliviate", "--method_args", "names=Zyx Wvut", "--output_path", tmp_path / "run")
    refused(command(*words, *given), "none of the words to silence (3: Zyx Wvut, Zyx, Wvut)")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava") / "model")


@pytest.mark.parametrize(
    ("method", "args", "parts"),
    [
        ("npo+uoe", "", ("mixture of experts",)),
        ("rmu", "layer=40", ("layer", "40")),
        ("needle", "layer=40,column=0", ("layer=40 does not exist", "0 to 1")),
        ("rocr", "last_layer=40", ("last_layer=40 does not exist",)),
        ("uld", "layers=3", ("the first 3 layers are wanted, and the model has 2",)),
    ],
)
def test_what_the_model_has_not(method: str, args: str, parts: tuple[str, ...], model: Path, tmp_path: Path) -> None:
    words = ("unlearn", "--model", "hf", "--model_args", f"pretrained={model}", "--tasks", "fiubench", "--data")
    given = ("--method_args", args) if args else ()
    said = command(
        *words, "synthetic", "--method", method, *given, "--max_steps", "1", "--output_path", tmp_path / "out"
    )
    refused(said, *parts)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_a_guard_of_the_edited_model(model: Path, tmp_path: Path) -> None:
    """What the line about an edit and a guard says is to be done."""
    words = ("--tasks", "fiubench", "--data", "synthetic", "--output_path")
    first = ("unlearn", "--model", "hf", "--model_args", f"pretrained={model}", "--method", "manu")
    assert command(*first, *words, tmp_path / "edited").status == 0
    edited = next((tmp_path / "edited").rglob("model/config.json")).parent
    then = ("unlearn", "--model", "hf", "--model_args", f"pretrained={edited}", "--method", "icu")
    assert command(*then, *words, tmp_path / "guarded").status == 0
    assert list((tmp_path / "guarded").rglob("guard/guard.json"))
