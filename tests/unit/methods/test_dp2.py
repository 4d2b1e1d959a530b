"""DP2Unlearning's request and what it says of its base; what trains the base is tested with the training."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.errors import UserError
from mmforget.methods.bases import Privacy, base_of
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.spec import ModelSpec
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import tiny_llama
from tests.toy_steps import loss, scored, step


def test_the_request_learns_the_rows_to_keep() -> None:
    """(1 + 2 + 3) / 3 = 2 over three tokens of two answers."""
    total, parts = loss(build("dp2"), step(retain=scored([-1.0, -2.0], [-3.0])))
    assert total.item() == pytest.approx(2.0)
    assert parts == {"retain": pytest.approx(2.0)}


def test_the_base_is_as_released() -> None:
    base = base_of(build("dp2"))
    assert base is not None
    assert base.privacy == Privacy(epsilon=1.0, delta=1e-12, clip=1.0, accountant="prv")
    told = {key: base.training[key] for key in ("lr", "epochs", "batch_size", "optimizer", "weight_decay", "schedule")}
    assert told == {
        "lr": 5e-5, "epochs": 10.0, "batch_size": 8, "optimizer": "sgd", "weight_decay": 0.01, "schedule": "constant"
    }  # fmt: skip
    assert base_of(build("npo")) is None


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("epsilon=0", "epsilon=0.0 is not allowed; give a number above 0"),
        ("epsilon=-2", "epsilon=-2.0 is not allowed"),
        ("delta=1", "delta=1.0 is not allowed; give a number below 1"),
        ("clip=0", "clip=0.0"),
        ("base_lr=0", "base_lr=0.0"),
        ("base_max_steps=0", "base_max_steps=0"),
        ("base_batch_size=0", "base_batch_size=0"),
        ("accountant=gdp", "unknown value for accountant"),
    ],
)
def test_what_cannot_be_is_refused(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("dp2", args)


def test_no_other_loss_can_be_added() -> None:
    with pytest.raises(UserError, match="epochs of 'dp2' run over other rows than those to forget"):
        build("dp2+npo")


def test_epochs_run_over_the_rows_to_keep(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every one of them once an epoch; the rows to forget are not looked at."""
    loaded = load_model(ModelSpec(pretrained=str(tiny_llama(tmp_path / "llama")), device="cpu"))
    rows = [Example(id=str(k), subject=f"s{k}", context=f"number {k}?", answer=" the town.") for k in range(7)]
    settings = TrainSettings(lr=1e-3, epochs=2, batch_size=3)
    material = Material(forget=rows[:2], retain=rows[2:])
    sources = make_sources(loaded, material, method=build("dp2"), name="dp2", append_eos=False)
    assert sources.subjects == [row.subject for row in rows[2:]]
    assert list(sources.partners) == []
    assert sources.rows["retain"].is_epoch
    wanted = [encode(loaded, row.context, row.answer).ids for row in rows[2:]]
    assert [one.ids for one in sources.rows["retain"].encoded] == wanted
    report = unlearn(loaded, material, method=build("dp2"), settings=settings, folder=tmp_path / "out")
    assert report.num_steps == 2 * 2
    assert "starts from a base with differential privacy, and" in caplog.text, "the model is no such base"
