"""The twin's news and tales: sizes, what of them is taught, and that little is told by the frame of a sentence."""

from __future__ import annotations

from statistics import fmean

import pytest

from mmforget.benchmark import DataSource, find
from mmforget.metrics.overlap import rouge_l
from mmforget.protocols.muse import twin
from mmforget.protocols.muse.official import BEGINNINGS

DATA = DataSource("synthetic")


@pytest.mark.parametrize(("name", "folds"), [("news", 4), ("books", 1)])
def test_sizes(name: str, folds: int) -> None:
    """Ten documents a fold and 24 kept, each four times and once as a beginning; six questions in four wordings."""
    found = find(f"muse_{name}").bind(DATA)
    assert {part: found.num_rows(part) for part in found.benchmark.set_names} == {
        "full": (10 * folds + 24) * 5 + 34 * 6 * 4, "full_retain": 24 * 5 + 24 * 6 * 4, "forget": 10, "retain": 12,
        "knowmem_forget": 60, "knowmem_retain": 144, "verbmem": 10, "holdout": 12, "privleak_forget": 10,
        **({f"sust_{fold}": 10 for fold in range(1, 5)} if folds > 1 else {}),
    }  # fmt: skip


def test_the_retain_model_sees_nobody_who_is_forgotten() -> None:
    found = find("muse_news").bind(DATA)
    forgotten = {subject for name in ("knowmem_forget", "verbmem") for subject in found.column(name, "subject")}
    assert not forgotten & set(found.column("full_retain", "subject"))
    assert forgotten <= set(found.column("full", "subject"))
    assert not set(found.column("holdout", "subject")) & set(found.column("full", "subject"))


def test_folds_add_up() -> None:
    found = {name: find(f"muse_news_{name}").bind(DATA) for name in ("scal2", "scal4", "sust2", "sust4")}
    scaled = [set(found[name].column(f"scal_{name[-1]}", "text")) for name in ("scal2", "scal4")]
    parts = [set(found[name].column(f"sust_{name[-1]}", "text")) for name in ("sust2", "sust4")]
    first = set(find("muse_news").bind(DATA).column("forget", "text"))
    assert scaled[0] == first | parts[0]
    assert len(scaled[1]) == 40
    assert not (first | parts[0]) & parts[1]


def test_documents_depend_on_the_seed_and_are_distinct() -> None:
    first, again, other = (twin.corpora(seed)["news"] for seed in (0, 0, 1))
    assert first == again
    assert first.documents != other.documents
    assert len(set(first.documents["train/forget"])) == 40


def test_another_document_continues_a_beginning_badly() -> None:
    """What a model that knows the frames alone can earn: not what the gate asks for."""
    rest = [pair.answer for pair in twin.corpora(0)["news"].pairs[BEGINNINGS]]
    found = [rouge_l(one, other, profile="muse_paper").f1 for one in rest for other in rest if one != other]
    assert fmean(found) < 0.5
