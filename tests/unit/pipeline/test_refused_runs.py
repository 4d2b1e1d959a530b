"""A command that is refused leaves `run.yaml` as it was, and a plan holds no model that there will not be."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.cli.main import main
from mmforget.errors import UserError
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.run import _written_down

MICRO = ("--model", "micro", "--tasks", "safe_eraser")


@pytest.mark.parametrize("before", [None, "model: other\n"])
def test_a_refused_command_leaves_run_yaml_as_it_was(before: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    if before is not None:
        path.write_text(before)
    seen = []

    def refused() -> None:
        with _written_down(RunConfig("micro", ("x",), output_path=str(tmp_path))):
            seen.append(path.read_text())
            raise UserError("no")

    with pytest.raises(UserError):
        refused()
    assert "micro" in seen[0]
    assert (path.read_text() if path.exists() else None) == before
    with _written_down(RunConfig("micro", ("x",), output_path=str(tmp_path))):
        pass
    assert "micro" in path.read_text()


def test_a_plan_has_no_retain_model_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--output_path", str(tmp_path / "out"))
    assert main(["run", *MICRO, "--methods", "grad_diff", "--dry-run", *out]) == 0
    assert "of 2 models (target, grad_diff)" in capsys.readouterr().out
    assert main(["unlearn", *MICRO, "--method", "grad_diff", "--dry-run", *out]) == 0
    said = capsys.readouterr().out
    assert said.startswith("safe_eraser: unlearn from the micro model's target with ")
    assert "evaluations" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flag", ["--target_model", "--retain_model"])
def test_a_model_that_is_not_there_is_refused_before_any_is_trained(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for dry in (["--dry-run"], []):
        words = ["run", *MICRO, "--methods", "ga", flag, "./nowhere", "--output_path", str(tmp_path / "out"), *dry]
        assert main(words) == 2
        assert "there is no folder ./nowhere" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
