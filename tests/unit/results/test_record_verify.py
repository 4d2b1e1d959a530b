"""Records of strangers: believed where their samples speak for them, marked or refused where they do not."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_record_consistency import sound

from mmforget import reading
from mmforget.errors import UserError
from mmforget.reading import MAX_DEPTH, read_text
from mmforget.results import store
from mmforget.results.files import parse_json, read_json, read_yaml
from mmforget.results.schema import MetricResult, RunRecord, Verdict
from mmforget.results.store import KEY
from mmforget.results.verify import collect_trusted
from mmforget.types import Estimate, Sample

SAMPLES = [Sample("t_gen", "forget", "gen", f"a/{i}", "a", "Who?", "ann.", response="bob") for i in range(3)]
METRIC = MetricResult("rouge_l", "forget", "paper", Estimate(0.5, 0.4, 0.6, 2, 1), task="t_gen", kind="gen")


def written(folder: Path, **changes: Any) -> Path:
    known = {"files": {}, "references": {}, "metrics": (METRIC,), **changes}
    return store.write_run(folder, sound(**known), samples=SAMPLES)


def reference(role: str) -> RunRecord:
    verdict = Verdict("reference", False, True)
    info = {"fingerprint": role * 4}
    return sound(role=role, name=role, method=None, verdict=verdict, model_info=info, files={}, references={})


def edit(path: Path, change: Any) -> None:
    document = json.loads(path.read_text())
    change(document[KEY])
    path.write_text(json.dumps(document))


def test_a_sound_record_is_believed(tmp_path: Path) -> None:
    written(tmp_path / "npo")
    (run,) = collect_trusted([tmp_path]).runs
    assert (run.unverified, run.absent) == ("", ())


def test_a_record_that_contradicts_itself_is_named_and_the_others_stay(tmp_path: Path) -> None:
    written(tmp_path / "a")
    liar = written(tmp_path / "b", name="b")
    edit(liar, lambda record: record["headline"]["overall"].update(value=7.0, low=None, high=None))
    found = collect_trusted([tmp_path])
    assert [run.folder.name for run in found.runs] == ["a"]
    (fault,) = found.faults
    assert fault.startswith(f"{liar}: the record contradicts itself: overall: value 7 lies outside [0, 1];")
    assert "\n" not in fault


def test_edited_samples_are_a_fault(tmp_path: Path) -> None:
    folder = written(tmp_path / "npo").parent
    path = folder / "samples_t_gen.jsonl"
    path.write_text(path.read_text().replace("bob", "ann"))
    found = collect_trusted([tmp_path])
    assert found.runs == []
    assert "sha256 differs" in found.faults[0]


def test_absent_and_linked_samples_leave_a_record_unverified(tmp_path: Path) -> None:
    gone, linked, never = (written(tmp_path / name, name=name).parent for name in ("gone", "linked", "never"))
    (gone / "samples_t_gen.jsonl").unlink()
    shutil.move(linked / "samples_t_gen.jsonl", tmp_path / "elsewhere.jsonl")
    (linked / "samples_t_gen.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    edit(next(never.glob("results_*.json")), lambda record: record.update(files={}))
    found = {run.record.name: run.unverified for run in collect_trusted([tmp_path]).runs}
    assert found == {
        "gone": "samples_t_gen.jsonl is missing",
        "linked": "samples_t_gen.jsonl is a link",
        "never": "no samples are stored with it",
    }


def test_counts_that_the_samples_deny_are_a_fault(tmp_path: Path) -> None:
    written(tmp_path, metrics=(replace(METRIC, estimate=Estimate(0.5, num_scored=4)),))
    found = collect_trusted([tmp_path])
    assert found.runs == []
    assert "rouge_l on the forget set counts 4 answers, the samples hold 3" in found.faults[0]


def test_equal_copies_count_once(tmp_path: Path) -> None:
    """Also where a copy says that it took longer: the same numbers of the same model are the same measurement."""
    first = written(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    edit(next((tmp_path / "b").glob("results_*.json")), lambda record: record["cost"].update(wall_s=99.0))
    found = collect_trusted([tmp_path])
    assert [run.path for run in found.runs] == [first]
    assert found.faults == []
    assert len(found.notes) == 1
    assert "counts once" in found.notes[0]


def test_references_that_nobody_has_are_named(tmp_path: Path) -> None:
    """They are looked for among what was given and in the folders beside it."""
    wanted = {"target": "target" * 4, "retain": "retain" * 4}
    written(tmp_path / "npo", references=wanted)
    store.write_run(tmp_path / "target", reference("target"), samples=SAMPLES)
    (run,) = collect_trusted([tmp_path / "npo"]).runs
    assert run.absent == ("retain",)
    store.write_run(tmp_path / "retain", reference("retain"), samples=SAMPLES)
    assert [run.absent for run in collect_trusted([tmp_path]).runs] == [(), (), ()]


def test_an_older_record_does_not_stand_in_for_a_damaged_one(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "results_9999.json").write_text('{"unlearning": ')
    found = collect_trusted([tmp_path])
    assert found.runs == []
    assert "results_9999.json: not valid JSON" in found.faults[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": NaN}', "NaN is no number in JSON"),
        ('{"a": [-Infinity]}', "-Infinity is no number in JSON"),
        ('{"a": ' + "9" * 5000 + "}", "holds a number that cannot be"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper than 64 levels"),
        ('{"a": 1', "not valid JSON at line 1"),
    ],
)
def test_json_that_would_end_in_a_traceback_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_json(tmp_path / "x.json")


def test_the_deepest_nesting_that_is_allowed_is_read() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, place="x")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("num_nonfinite", 10**400, "expected a number up to"),
        ("headline", {"overall": 3}, "'headline.overall' is 3, expected an object"),
        ("name", "x" * 5_000_000, "expected a text of at most 4,000,000 characters"),
    ],
)
def test_values_beyond_all_bounds_are_named(tmp_path: Path, place: str, value: Any, words: str) -> None:
    path = written(tmp_path)
    edit(path, lambda record: record.update({place: value}))
    with pytest.raises(UserError, match="results_") as caught:
        store.read_run(path)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_pipe_in_place_of_a_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results_1.json")
    found = collect_trusted([tmp_path])
    assert found.faults == [f"{tmp_path / 'results_1.json'}: not a regular file; give the file itself"]
    folder = written(tmp_path / "npo").parent
    (folder / "samples_t_gen.jsonl").unlink()
    os.mkfifo(folder / "samples_t_gen.jsonl")
    assert "not a regular file" in collect_trusted([folder]).faults[0]


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 11)
    assert read_text(tmp_path / "big", max_bytes=11) == "x" * 11
    with pytest.raises(UserError, match="11 bytes, at most 10 are read"):
        read_text(tmp_path / "big", max_bytes=10)


@pytest.mark.parametrize("text", ["key: [", "key: \x00", "a: &a [*b]", "? [" * 3])
def test_yaml_that_does_not_parse_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UserError, match=r"run\.yaml: not valid YAML"):
        read_yaml(tmp_path / "run.yaml")


def test_a_search_of_a_whole_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "a/c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.yaml").write_text("")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    found = [path.relative_to(tmp_path).as_posix() for path in reading.files_below(tmp_path, "*.yaml")]
    assert found == ["a/c/x.yaml", "a/x.yaml", "b/x.yaml"]
    monkeypatch.setattr(reading, "MAX_FOLDERS", 3)
    with pytest.raises(UserError, match="holds more than 3 folders"):
        reading.files_below(tmp_path, "*.yaml")
