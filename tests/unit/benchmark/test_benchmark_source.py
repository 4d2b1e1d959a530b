"""Where data come from: --data and --metadata, and every value that cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark.source import DataSource, LoadOptions, options_from
from mmforget.errors import UnknownName, UserError


def test_defaults_by_model() -> None:
    assert DataSource.parse(None, "micro").kind == "synthetic"
    assert DataSource.parse(None, "hf").kind == "hub"
    assert DataSource.parse(None, "hf", metadata={"data": "synthetic"}) == DataSource("synthetic")


def test_a_record_holds_no_more_of_a_path_than_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    assert DataSource.parse("files").describe()["path"] == "files"


def test_a_path_and_what_lm_eval_gets(tmp_path: Path) -> None:
    source = DataSource.parse(str(tmp_path), metadata={"profile": "released", "num_subjects": 5})
    assert (source.kind, source.path, source.profile) == ("path", tmp_path, "released")
    assert source.as_metadata() == {"data": str(tmp_path), "profile": "released", "num_subjects": 5}
    assert DataSource.parse("synthetic").as_metadata() == {"data": "synthetic"}
    assert DataSource.parse("hub").profile == "clean"


def test_what_cannot_be() -> None:
    with pytest.raises(UserError, match="--data absent: no such file or folder; give 'hub', 'synthetic' or a folder"):
        DataSource.parse("absent")
    with pytest.raises(UserError, match="--data hub and --metadata data='synthetic' differ"):
        DataSource.parse("hub", metadata={"data": "synthetic"})
    with pytest.raises(UnknownName, match="unknown data source 'hubb'; did you mean 'hub'"):
        DataSource("hubb")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a path goes with the kind 'path' only"):
        DataSource("hub", path=Path("x"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"profile": "papier"}, "unknown value of --metadata profile 'papier'"),
        ({"perturbed": True}, "unknown value of --metadata perturbed 'True'; known: borrowed"),
        ({"num_subjects": 0}, "num_subjects is 0; give a whole number of at least 1"),
        ({"num_subjects": True}, "num_subjects is True; give a whole number"),
        ({"seed": -1}, "seed is -1; give a whole number of at least 0"),
        ({"revision": 7}, "revision is 7; give a text"),
    ],
)
def test_values_that_cannot_be(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DataSource("synthetic", metadata=metadata)
    with pytest.raises(UserError, match=message):
        options_from({"data": "synthetic", **metadata})


def test_options_out_of_all_that_lm_eval_passes() -> None:
    keywords = {"pretrained": "x", "dtype": "float32", "version": 1.0, "config_source": "a.yaml", "device": None}
    options = options_from({**keywords, "data": "synthetic", "num_subjects": 3, "seed": 2, "setting": "forget1"})
    wanted = {"num_subjects": 3, "seed": 2, "setting": "forget1"}
    assert options == LoadOptions(source=DataSource("synthetic", metadata=wanted), **wanted)
    assert options_from({}).source.kind == "hub"


@pytest.mark.parametrize("name", ["num_subject", "portrait", "profiles", "pertubed", "settings"])
def test_a_key_that_is_nearly_ours(name: str) -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        options_from({"data": "synthetic", name: "x"})


def test_stand_ins_are_named_in_the_record() -> None:
    settings = {"portraits": "procedural", "perturbed": "borrowed", "num_subjects": 24}
    facts = DataSource("hub", metadata=settings).describe()
    assert {key: facts[key] for key in settings} == settings
    assert len(facts["notes"]) == 3
    assert "reconstruction" in facts["notes"][1]
