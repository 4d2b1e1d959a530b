"""Records on disk: written whole or not at all, found again, and honest about damage."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from test_record_schema import full_record

from mmforget.errors import BadData, UserError
from mmforget.results import files, store
from mmforget.results.fingerprint import hash_file
from mmforget.results.samples import TOKENS_FILE, read_samples, write_samples
from mmforget.results.schema import SCHEMA_VERSION
from mmforget.types import Sample

SAMPLES = [
    Sample("t_gen", "forget", "gen", "a/0", "a", "Who?\u2028", "ann.", ("ann",), ("h", "p"), response="ann \ud83d\n"),
    Sample("t_gen", "forget", "gen", "a/0", "a", "Who?", "ann.", response="", attack="blank_image", attempt=0),
    Sample("t_gen", "forget", "gen", "a/1", "a", "?", "!", response="x", extra={"pair": 3}, labels={"harm": "safe"}),
    Sample(
        "t_prob",
        "forget",
        "prob",
        "a/0",
        "a",
        "Who?",
        "ann.",
        token_logprobs={"perturbed/0": (-0.1, -1e-300), "answer": (0.1 + 0.2, -math.inf), "rephrased/0": ()},
    ),
]


def test_samples_come_back_exactly(tmp_path: Path) -> None:
    """A line separator, half a surrogate pair, minus infinity, an empty role and the order of roles all survive."""
    written = write_samples(tmp_path, SAMPLES, model="npo")
    assert set(written) == {"samples_t_gen.jsonl", "samples_t_prob.jsonl", TOKENS_FILE}
    again = read_samples(tmp_path, files=written)
    assert again == SAMPLES
    assert list(again[3].token_logprobs) == ["perturbed/0", "answer", "rephrased/0"]


def test_labels_given_after_the_answers_are_stored(tmp_path: Path) -> None:
    judged = [replace(SAMPLES[0], labels={"harm": "unsafe", "refusal": "answer"})]
    (again,) = read_samples(tmp_path, files=write_samples(tmp_path, judged, model="m"))
    assert again.labels == {"harm": "unsafe", "refusal": "answer"}


def test_ranks_are_stored_and_lines_without_them_are_read(tmp_path: Path) -> None:
    ranked = replace(SAMPLES[0], attack="lens", attempt=0, response=None, ranks=(3, 0, 31999))
    written = write_samples(tmp_path, [ranked], model="m")
    assert read_samples(tmp_path, files=written) == [ranked]
    path = tmp_path / "samples_t_gen.jsonl"
    line = json.loads(path.read_text())
    assert line.pop("ranks") == [3, 0, 31999]
    path.write_text(json.dumps(line) + "\n")
    assert read_samples(tmp_path, files={path.name: hash_file(path)}) == [replace(ranked, ranks=())]


def test_lines_without_extra_and_labels_are_read(tmp_path: Path) -> None:
    """Those of the first schema: both are empty."""
    written = write_samples(tmp_path, [SAMPLES[2]], model="m")
    path = tmp_path / "samples_t_gen.jsonl"
    line = json.loads(path.read_text())
    del line["extra"], line["labels"]
    path.write_text(json.dumps(line) + "\n")
    assert set(written) == {path.name}
    (again,) = read_samples(tmp_path, files={path.name: hash_file(path)})
    assert again == replace(SAMPLES[2], extra={}, labels={})


def test_nan_logprobs_survive(tmp_path: Path) -> None:
    sample = Sample("t", "forget", "prob", "a", "a", "?", "!", token_logprobs={"answer": (math.nan, -1.0)})
    (again,) = read_samples(tmp_path, files=write_samples(tmp_path, [sample], model="m"))
    assert math.isnan(again.token_logprobs["answer"][0])
    assert again.token_logprobs["answer"][1] == -1.0


def test_the_parquet_file_has_one_line_a_token(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_samples(tmp_path, SAMPLES, model="npo")
    rows = parquet.read_table(tmp_path / TOKENS_FILE).to_pylist()
    assert len(rows) == 4
    assert rows[3] == {
        "model": "npo",
        "task": "t_prob",
        "set": "forget",
        "id": "a/0",
        "subject": "a",
        "attack": None,
        "attempt": None,
        "role": "answer",
        "position": 1,
        "logprob": -math.inf,
    }


def test_several_attempts_at_a_row_are_kept_apart(tmp_path: Path) -> None:
    row = Sample("t_prob", "forget", "prob", "a/0", "a", "Who?", "ann.", attack="twice")
    tried = [replace(row, attempt=n, token_logprobs={"answer": (-1.0 - n,)}) for n in range(3)]
    written = write_samples(tmp_path, tried, model="m")
    assert read_samples(tmp_path, files=written) == tried
    with pytest.raises(ValueError, match=r"share the id a/0 \(attack twice\)"):
        write_samples(tmp_path, [tried[1], tried[1]], model="m")


def test_files_from_before_there_were_attacks_are_read(tmp_path: Path) -> None:
    """They have `control` in place of `attack` and `attempt`."""
    from pyarrow import parquet

    samples = [
        Sample("t_prob", "forget", "prob", "a/0", "a", "Who?", "ann.", token_logprobs={"answer": (-1.0, -2.0)}),
        Sample(
            "t_prob", "forget", "prob", "a/0", "a", "Who?", "ann.", token_logprobs={"answer": (-3.0,)},
            attack="blank_image", attempt=0,
        ),
    ]  # fmt: skip
    write_samples(tmp_path, samples, model="m")
    path = tmp_path / "samples_t_prob.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["attack"] for line in lines] == [None, "blank_image"]
    old = [{("control" if key == "attack" else key): line[key] for key in line if key != "attempt"} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in old))
    tokens = tmp_path / TOKENS_FILE
    then = parquet.read_table(tokens).drop_columns(["attempt"]).rename_columns({"attack": "control"})
    parquet.write_table(then, tokens)
    assert read_samples(tmp_path, files={one.name: hash_file(one) for one in (path, tokens)}) == samples


def test_two_samples_with_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share the id a/0"):
        write_samples(tmp_path, [SAMPLES[0], SAMPLES[0]], model="m")


def test_task_names_with_odd_characters_stay_inside_the_folder(tmp_path: Path) -> None:
    odd = [
        Sample("../x:1", "s", "gen", "1", "a", "?", "!", response=""),
        Sample("../x/1", "s", "gen", "1", "a", "?", "!", response="b"),
    ]
    written = write_samples(tmp_path, odd, model="m")
    assert [path.parent for path in tmp_path.iterdir()] == [tmp_path]
    assert read_samples(tmp_path, files=written) == odd


def test_changed_missing_and_foreign_sample_files_are_noticed(tmp_path: Path) -> None:
    written = write_samples(tmp_path, SAMPLES, model="m")
    with pytest.raises(UserError, match="outside its folder"):
        read_samples(tmp_path, files={"../other.jsonl": "00"})
    (tmp_path / "samples_t_gen.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="sha256 differs"):
        read_samples(tmp_path, files=written)
    (tmp_path / "samples_t_gen.jsonl").unlink()
    with pytest.raises(UserError, match="missing"):
        read_samples(tmp_path, files=written)


def test_a_run_is_stored_and_found(tmp_path: Path) -> None:
    path = store.write_run(
        tmp_path / "npo",
        full_record(files={}),
        samples=SAMPLES,
        lm_eval={"results": {"t_gen": {"rouge_l,none": math.nan, "alias": "t"}}, "versions": {"t_gen": 1.0}},
        config={"tasks": ("fiubench",), "output_path": tmp_path},
    )
    document = json.loads(path.read_text())
    assert list(document) == ["results", "versions", "unlearning"]
    assert document["results"]["t_gen"] == {"rouge_l,none": None, "alias": "t"}
    run = store.read_run(tmp_path / "npo")
    assert run.record == full_record(files=run.record.files)
    assert run.samples() == SAMPLES
    assert run.lm_eval["versions"] == {"t_gen": 1.0}
    assert (tmp_path / "npo" / "run.yaml").read_text() == f"tasks:\n- fiubench\noutput_path: {tmp_path}\n"
    assert store.read_run(path).record == run.record


def test_a_killed_run_never_puts_its_name_on_an_older_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever resumes reads run.yaml to know which run a record is of: it must not be ahead of the record."""
    store.write_run(tmp_path, full_record(files={}), samples=SAMPLES, config={"key": "old"})
    for step in ("write_samples", "write_results"):
        with monkeypatch.context() as patch:
            patch.setattr(store, step, _killed)
            with pytest.raises(KeyboardInterrupt):
                store.write_run(tmp_path, full_record(files={}), samples=SAMPLES, config={"key": "new"})
        assert (tmp_path / "run.yaml").read_text() == "key: old\n"


def _killed(*args: object, **kwargs: object) -> None:
    raise KeyboardInterrupt


def test_the_newest_record_of_a_folder_counts(tmp_path: Path) -> None:
    store.write_results(tmp_path, full_record(name="old"))
    store.write_results(tmp_path, full_record(name="new"))
    assert store.read_run(tmp_path).record.name == "new"
    assert [run.record.name for run in store.find_records([tmp_path])] == ["new"]


def test_records_are_collected_and_foreign_files_ignored(tmp_path: Path) -> None:
    store.write_results(tmp_path / "b" / "deep", full_record(name="b"))
    store.write_results(tmp_path / "a", full_record(name="a"))
    (tmp_path / "a" / "results_9999.json").write_text('{"results": {}, "lm_eval_version": "0.4.13"}')
    (tmp_path / "notes.json").write_text("not json")
    found = store.find_records([tmp_path, tmp_path / "a"])
    assert [run.record.name for run in found] == ["a", "b"]


def test_every_damaged_record_is_named(tmp_path: Path) -> None:
    store.write_results(tmp_path / "good", full_record())
    cut = store.write_results(tmp_path / "cut", full_record())
    cut.write_text(cut.read_text()[:-200])
    old = store.write_results(tmp_path / "old", full_record())
    old.write_text(old.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 0'))
    with pytest.raises(BadData) as caught:
        store.find_records([tmp_path])
    assert len(caught.value.faults) == 2
    assert str(cut) in str(caught.value)
    assert str(old) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_records_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=name):
        store.find_records([tmp_path / name])


def test_a_record_without_samples_says_so(tmp_path: Path) -> None:
    store.write_results(tmp_path, full_record(files={}))
    with pytest.raises(UserError, match="no samples were stored"):
        store.read_run(tmp_path).samples()


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "not writable"), (errno.EACCES, "not writable")]
)
def test_a_failed_write_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = files.write_text(tmp_path / "x.json", "old")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(UserError, match=words):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        files.prepare_folder(tmp_path / "taken")
    with pytest.raises(UserError, match="a file stands where a folder is needed"):
        files.write_text(tmp_path / "taken" / "x.json", "")


def test_a_killed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files.write_text(tmp_path / "x.json", "old")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_safe_names() -> None:
    assert store.safe_name("a/b c:d") == "a-b-c-d"
    assert store.safe_name("../") == "run"


def test_numbers_that_are_none_end_nothing(tmp_path: Path) -> None:
    """A NaN in a stranger's row is null; a null log-prob, which others make of a NaN, is NaN again."""
    sample = Sample(
        "t_prob", "forget", "prob", "a/9", "a", "Who?", "ann.", extra={"dose": math.nan, "deep": [math.inf]}
    )
    sample = replace(sample, token_logprobs={"answer": (-1.0, math.nan)})
    files = write_samples(tmp_path, [sample], model="m")
    (found,) = read_samples(tmp_path, files=files)
    assert found.extra == {"dose": None, "deep": [None]}
    assert math.isnan(found.token_logprobs["answer"][1])
    table = pyarrow.parquet.read_table(tmp_path / TOKENS_FILE)
    values = [value if value == value else None for value in table.column("logprob").to_pylist()]
    table = table.set_column(
        table.schema.get_field_index("logprob"), "logprob", pyarrow.array(values, pyarrow.float64())
    )
    pyarrow.parquet.write_table(table, tmp_path / TOKENS_FILE)
    (again,) = read_samples(tmp_path, files={**files, TOKENS_FILE: hash_file(tmp_path / TOKENS_FILE)})
    assert math.isnan(again.token_logprobs["answer"][1])


def test_two_runs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    """The lock goes with whoever holds it, and leaves no file."""
    with files.alone_in(tmp_path):
        with pytest.raises(UserError, match="another run works in this folder"):
            files.alone_in(tmp_path).__enter__()
        assert list(tmp_path.iterdir()) == []
    with files.alone_in(tmp_path):
        pass
