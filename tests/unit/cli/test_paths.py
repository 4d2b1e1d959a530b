"""`~` in an argument is the home folder, also where a shell leaves it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.cli.flags import given_model
from mmforget.cli.main import build_parser, main
from mmforget.cli.paths import with_home
from mmforget.model.spec import ModelSpec

RUN = ("run", "--tasks", "a", "--methods", "ga", "--output_path", "o")


@pytest.mark.parametrize(
    ("words", "name", "wanted"),
    [
        (["eval", "--tasks", "a", "--output_path=~/out"], "output_path", "{home}/out"),
        (["eval", "--tasks", "a", "--use_cache=~/c.sqlite"], "use_cache", "{home}/c.sqlite"),
        (["eval", "--tasks", "a", "--feature_folder", "~/f"], "feature_folder", "{home}/f"),
        (["eval", "--tasks", "a", "--include_path=~/t", "--include_path", "/u"], "include_path", ["{home}/t", "/u"]),
        (["eval", "--tasks", "a", "--data=~/d"], "data", "{home}/d"),
        (
            [*RUN, "--target_model=~/m"],
            "target_model",
            "{home}/m",
        ),
        (
            [*RUN, "--retain_model=~/m"],
            "retain_model",
            "{home}/m",
        ),
        (["validate", "~/tasks/a.yaml"], "name", "{home}/tasks/a.yaml"),
        (["eval", "--tasks", "a~b", "--data", "synthetic"], "tasks", "a~b"),
    ],
)
def test_every_path(words: list[str], name: str, wanted: str | list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/mine")
    found = getattr(with_home(build_parser().parse_args(words)), name)
    expected = [wanted] if isinstance(wanted, str) else wanted
    expected = [one.format(home="/home/of/mine") for one in expected]
    assert found in (expected[0], expected)


@pytest.mark.parametrize("words", [["leaderboard", "~/runs", "--output_path=~/board"], ["rescore", "~/runs"]])
def test_folders_of_records(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is looked for is the folder of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    args = with_home(build_parser().parse_args(words))
    assert [Path(one) for one in args.runs] == [tmp_path / "runs"]
    assert main(words) == 2
    assert str(tmp_path / "runs") in capsys.readouterr().err


def test_a_model_to_compare_with_has_not_the_adapter_of_the_one_that_is_attacked() -> None:
    args = {"pretrained": "base", "revision": "abc", "peft": "lora", "dtype": "float32"}
    named = given_model("target", model_args=args, device="cpu")
    assert named == ModelSpec("target", dtype="float32", device="cpu")
    assert given_model("pretrained=target,peft=other", model_args=args, device="cpu") == ModelSpec(
        "target", peft="other", device="cpu"
    )
