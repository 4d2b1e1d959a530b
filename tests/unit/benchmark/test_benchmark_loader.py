"""What loaders have in common: settings are checked, files are read once and again when they change, gaps are named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from mmforget.benchmark.files import read_records
from mmforget.benchmark.find import find
from mmforget.benchmark.loader import Loader, Origin, Request
from mmforget.benchmark.rows import EmptySet
from mmforget.benchmark.source import Asked, DataSource, LoadOptions
from mmforget.errors import BadData, UnknownName, UserError

Corpus = list[dict[str, str]]
TWIN = [{"who": "ann", "town": "Oslo"}, {"who": "bob", "town": "Rome"}]


def toy(counts: Counter[str] | None = None, **changes: Any) -> Loader[Corpus]:
    """A loader of towns, one record a line; `counts` counts how often it reads, invents and writes rows."""
    counted = Counter[str]() if counts is None else counts

    def official(origin: Origin) -> Corpus:
        counted[f"read {origin.setting}".strip()] += 1
        return read_records(Path(origin.data) / "towns.json")

    def twin(seed: int) -> Corpus:
        counted["twin"] += 1
        return [{**one, "town": f"{one['town']} {seed}"} for one in TWIN]

    def docs(request: Request, corpus: Corpus) -> Iterator[dict[str, Any]]:
        counted[request.set] += 1
        for one in corpus if request.set != "none" else ():
            yield {"id": one["who"], "subject": one["who"], "question": "Where?", "answer": one["town"]}

    known: dict[str, Any] = {
        "sets": ("forget", "keep", "none"), "settings": ("small", "large"), "default": "small", "official": official,
        "twin": twin, "docs": docs, "files": ("*.json",), "hub": "--data hub: there are no towns; give --data FOLDER",
    }  # fmt: skip
    return Loader("towns", **{**known, **changes})


def answers(loader: Loader[Corpus], name: str = "forget", **settings: Any) -> list[str]:
    return list(loader.load(unlearning={"set": name}, **{"data": "synthetic", **settings})["test"]["answer"])


def test_rows_of_the_twin_depend_on_the_seed() -> None:
    assert answers(toy()) == ["Oslo 0", "Rome 0"]
    assert answers(toy(), seed=3, pretrained="whatever lm_eval passes on") == ["Oslo 3", "Rome 3"]


def test_everything_is_read_once_and_each_set_made_once(tmp_path: Path) -> None:
    """Also for a copy, as lm_eval makes one of every task's configuration."""
    (tmp_path / "towns.json").write_text('[{"who": "ann", "town": "Bern"}]')
    counts: Counter[str] = Counter()
    loader = toy(counts)
    for number in range(3):
        loader = deepcopy(loader) if number else loader
        for name in ("forget", "keep"):
            assert answers(loader, name, data=str(tmp_path)) == ["Bern"]
            answers(loader, name)
    assert counts == {"read": 1, "twin": 1, "forget": 2, "keep": 2}


def test_changed_files_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "towns.json").write_text('[{"who": "ann", "town": "Bern"}]')
    counts: Counter[str] = Counter()
    loader = toy(counts)
    assert answers(loader, data=str(tmp_path)) == ["Bern"]
    (tmp_path / "towns.json").write_text('[{"who": "ann", "town": "Lima"}]')
    assert answers(loader, data=str(tmp_path)) == ["Lima"]
    assert counts == {"read": 2, "forget": 2}


@pytest.mark.parametrize(("by_setting", "wanted"), [(False, {"read": 1}), (True, {"read small": 1, "read large": 1})])
def test_files_are_read_by_setting_only_where_they_differ_by_it(
    by_setting: bool, wanted: dict[str, int], tmp_path: Path
) -> None:
    (tmp_path / "towns.json").write_text('[{"who": "ann", "town": "Bern"}]')
    counts: Counter[str] = Counter()
    loader = toy(counts, has_files_by_setting=by_setting)
    for setting in ("small", "large", "small"):
        answers(loader, data=str(tmp_path), setting=setting)
    assert {name: count for name, count in counts.items() if name.startswith("read")} == wanted


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"portraits": "procedural", "num_subjects": 2}, "--metadata num_subjects, portraits means nothing for towns"),
        ({"setting": "smal"}, "unknown towns setting 'smal'"),
        ({"data": "hub"}, "--data hub: there are no towns; give --data FOLDER"),
        ({"seed": 7, "setting": "large"}, "seven is not large"),
    ],
)
def test_what_it_cannot_have_is_refused(settings: dict[str, Any], said: str) -> None:
    def check(asked: Asked, options: LoadOptions) -> None:
        if (asked.setting, options.seed) == ("large", 7):
            raise UserError("seven is not large")

    with pytest.raises(UserError, match=said):
        answers(toy(unused=("num_subjects", "portraits"), check=check), **settings)


def test_a_set_that_is_not_there_and_one_that_is_empty() -> None:
    with pytest.raises(UnknownName, match="unknown towns set 'forgt'"):
        answers(toy(), "forgt")
    with pytest.raises(EmptySet, match="^towns set 'none' is empty with --data synthetic: its files hold nothing for"):
        answers(toy(), "none")
    with pytest.raises(EmptySet, match="^towns set 'none' is empty with --data synthetic: nobody is in none$"):
        answers(toy(why_empty=lambda request: f"nobody is in {request.set}"), "none")


def test_broken_rows_are_named_with_set_and_data(tmp_path: Path) -> None:
    (tmp_path / "towns.json").write_text('[{"who": "ann", "town": ""}, {"who": "bob", "town": " "}]')
    with pytest.raises(BadData) as caught:
        answers(toy(), data=str(tmp_path))
    assert caught.value.source == f"towns forget ({tmp_path})"
    assert caught.value.faults == ("row ann: answer is empty", "row bob: answer is empty")


def test_a_revision_is_fetched_where_there_is_a_way() -> None:
    def fetched(origin: Origin) -> Corpus:
        return [{"who": "cleo", "town": str(origin.revision)}]

    assert answers(toy(hub=fetched), data="hub", revision="abc") == ["abc"]


def test_what_is_told_is_told_of_the_same_data() -> None:
    counts: Counter[str] = Counter()
    loader = toy(counts)

    @loader.telling
    def notes(request: Request, corpus: Corpus) -> list[str]:
        """Who is there."""
        return [f"{request.setting}: {len(corpus)}"]

    answers(loader)
    assert notes(unlearning={"set": "keep"}, data="synthetic", setting="large") == ["large: 2"]
    assert (notes.__name__, notes.__doc__) == ("notes", "Who is there.")
    assert counts == {"twin": 1, "forget": 1}
    with pytest.raises(UnknownName, match="unknown towns set"):
        notes(unlearning={"set": "no"}, data="synthetic")


def test_a_set_may_be_looked_at_without_binding_first() -> None:
    benchmark, data = find("fiubench_forget1"), DataSource("synthetic", metadata={"num_subjects": 12})
    bound = benchmark.bind(data)
    assert benchmark.rows("forget", data=data).to_dict() == bound.rows("forget").to_dict()
    assert [one.id for one in benchmark.examples("forget", data=data)] == [one.id for one in bound.examples("forget")]
