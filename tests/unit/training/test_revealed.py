"""Rows that a model writes itself: trained on in place of those to forget, written anew, kept and found again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mmforget.asking import Decoding
from mmforget.errors import UserError
from mmforget.methods.base import METHODS
from mmforget.methods.composite import Composite
from mmforget.methods.material import Material
from mmforget.methods.revealing import Asking, Told, Write
from mmforget.methods.rewriting import answered, asked
from mmforget.model.fingerprint import folder_hashes
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.many import unlearn_many
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.unit.training.conftest import make_examples

ROWS = make_examples()
MATERIAL = Material(forget=ROWS[:4], retain=ROWS[4:8])
SETTINGS = TrainSettings(lr=1e-2, max_steps=4, batch_size=4, order="file", seed=1, lora=LoraSettings(r=2, alpha=4))
GREEDY = Decoding(6)


@dataclass(frozen=True)
class Tells:
    """Asks each row in turn, greedily; `silent` counts from 0 the calls that are answered by nothing."""

    rounds: int = 2
    silent: tuple[int, ...] = ()

    def reveal(self, material: Material, write: Write, *, seed: int) -> list[Told]:
        CALLS.append(seed)
        texts = write([Asking(row, "who is it?", GREEDY) for row in material.forget])
        return [Told("who is it?", "" if len(CALLS) - 1 in self.silent else text + " x") for text in texts]


CALLS: list[int] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def joined(name: str, part: Any) -> Composite:
    return Composite((name, "tells"), (METHODS.get(name)(), part))


def forget(loaded: LoadedModel, folder: Path, method: Any, **more: Any) -> TrainReport:
    progress = more.pop("progress", None)
    return unlearn(
        loaded, MATERIAL, method=method, settings=replace(SETTINGS, **more), folder=folder, label="told",
        progress=progress,
    )  # fmt: skip


def lines(folder: Path, number: int) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / f"revealed_{number}.jsonl").read_text().splitlines()]


def test_one_round_equals_a_training_on_the_rows_that_the_model_wrote(llava: LoadedModel, tmp_path: Path) -> None:
    report = forget(llava, tmp_path / "told", joined("npo", Tells(rounds=1)))
    told = lines(tmp_path / "told", 1)
    assert [one["id"] for one in told] == [row.id for row in ROWS[:4]]
    written = [answered(asked(row, one["question"]), one["answer"]) for row, one in zip(ROWS, told, strict=False)]
    alone = Composite(("npo",), (METHODS.get("npo")(),))
    plain = unlearn(
        llava, replace(MATERIAL, forget=written), method=alone, settings=SETTINGS, folder=tmp_path / "plain"
    )
    assert folder_hashes(report.output) == folder_hashes(plain.output)
    assert len(CALLS) == 1


def test_rows_are_written_anew_by_the_model_as_it_is_by_then(llava: LoadedModel, tmp_path: Path) -> None:
    forget(llava, tmp_path / "told", joined("grad_diff", Tells()), lr=0.1)
    first, second = lines(tmp_path / "told", 1), lines(tmp_path / "told", 2)
    assert len(CALLS) == len(set(CALLS)) == 2
    assert [one["answer"] for one in first] != [one["answer"] for one in second]


class Killed(BaseException):
    """In place of the end of the process."""


@pytest.mark.parametrize("until", [1, 3])
def test_a_killed_training_finds_the_rows_again(llava: LoadedModel, tmp_path: Path, until: int) -> None:
    """Killed in the first round and in the second, whose rows a model further on would not write."""
    method = joined("npo", Tells())
    whole = forget(llava, tmp_path / "whole", method, save_steps=1)

    def kill(done: int, planned: int, label: str) -> None:
        if done == until:
            raise Killed

    with pytest.raises(Killed):
        forget(llava, tmp_path / "killed", method, save_steps=1, progress=kill)
    num_written = len(CALLS)
    again = forget(llava, tmp_path / "killed", method, save_steps=1)
    assert folder_hashes(again.output) == folder_hashes(whole.output)
    assert len(CALLS) - num_written == (1 if until == 1 else 0)


def test_a_round_whose_rows_are_gone_is_not_made_up(llava: LoadedModel, tmp_path: Path) -> None:
    def kill(done: int, planned: int, label: str) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        forget(llava, tmp_path, joined("npo", Tells()), save_steps=1, progress=kill)
    (tmp_path / "revealed_2.jsonl").unlink()
    with pytest.raises(UserError, match=r"\A[^\n]*revealed_2.jsonl has not the rows[^\n]+\Z"):
        forget(llava, tmp_path, joined("npo", Tells()), save_steps=1)


def test_a_model_that_tells_nothing_keeps_its_rows_or_is_refused(llava: LoadedModel, tmp_path: Path) -> None:
    forget(llava, tmp_path / "later", joined("grad_diff", Tells(silent=(1,))))
    plain = [{name: one[name] for name in ("question", "answer")} for one in lines(tmp_path / "later", 1)]
    assert [{name: one[name] for name in ("question", "answer")} for one in lines(tmp_path / "later", 2)] == plain
    CALLS.clear()
    with pytest.raises(UserError, match="the model answers nothing for 4 of 4 rows"):
        forget(llava, tmp_path / "first", joined("grad_diff", Tells(silent=(0,))))


def test_what_would_be_lost_when_rows_are_written_anew_is_refused(llava: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train with LoRA \(--lora_r 8\), or add rounds=1"):
        forget(llava, tmp_path / "full", joined("npo", Tells()), lora=None)
    with pytest.raises(UserError, match="weighs rows once, before training; add rounds=1"):
        forget(llava, tmp_path / "influence", joined("inpo", Tells()))
    with (
        pytest.raises(UserError, match="the model writes its own; make them one by one"),
        unlearn_many(llava, {"a": MATERIAL}, method=joined("npo", Tells()), settings=SETTINGS),
    ):
        pass


def test_every_loss_finds_its_other_rows_beside_those(llava: LoadedModel, tmp_path: Path) -> None:
    """Refusals answer the new questions."""
    refusing: Sequence[Example] = ROWS[:4]
    report = unlearn(
        llava, Material(forget=refusing, retain=ROWS[4:8], refusals=("no.",)), method=joined("po", Tells()),
        settings=SETTINGS, folder=tmp_path,
    )  # fmt: skip
    assert not report.stopped
