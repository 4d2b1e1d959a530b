"""`mmforget leaderboard`: what is printed, what is written, and what is refused."""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "leaderboard"))
from fake_runs import family, store  # noqa: E402

from mmforget.cli import leaderboard  # noqa: E402
from mmforget.errors import BadData, UserError  # noqa: E402
from mmforget.results.rules import ONE_TRAINING

pytestmark = pytest.mark.slow


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    leaderboard.add_arguments(parser)
    return leaderboard.execute(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    store(tmp_path / "runs", family())
    return tmp_path / "runs"


def test_it_prints_a_table_and_writes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(runs.rglob("*"))
    assert run(runs) == 0
    assert "COLLAPSED" in capsys.readouterr().out
    assert sorted(runs.rglob("*")) == before


def test_it_writes_every_form(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runs, "--output_path", tmp_path / "board") == 0
    names = sorted(path.name for path in (tmp_path / "board").iterdir())
    assert names == ["forget_vs_utility.png", "index.html", "leaderboard.json", "leaderboard.md"]
    assert "index.html" in capsys.readouterr().err


def test_json_is_one_document_on_stdout(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(runs / "npo", runs / "ga", "--json", "--output_path", tmp_path / "board") == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in document["rows"]] == ["npo", "ga"]


def test_a_second_time_over_its_own_output_gives_the_same_rows(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The board may be written into the run folder itself; its files are no records."""
    run(runs, "--json", "--output_path", runs)
    first = json.loads(capsys.readouterr().out)["rows"]
    run(runs, "--json", "--output_path", runs)
    assert json.loads(capsys.readouterr().out)["rows"] == first


def test_results_of_other_programs_are_named_and_passed_over(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "lm_eval" / "results_2026-01-01T00-00-00.json"
    for place in (other, runs / "npo" / "results_zzz.json"):
        place.parent.mkdir(exist_ok=True)
        place.write_text('{"results": {"arc": {"acc,none": NaN}}}')
    assert run(runs, other.parent, "--json") == 0
    said = capsys.readouterr()
    assert "npo" in {row["name"] for row in json.loads(said.out)["rows"]}
    assert f"passed over: {other}: of another program" in said.err
    assert "results_zzz.json: of another program" in said.err
    with pytest.raises(UserError, match="of another program, not a record of mmforget"):
        run(other.parent)


def test_a_damaged_record_is_named_and_the_others_are_ranked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = list((runs / "npo").rglob("results_*.json"))
    for broken in damaged:
        broken.write_text("{")
    assert run(runs, "--json") == 2
    shown = capsys.readouterr()
    assert all(f"passed over: {broken}: not valid JSON" in shown.err for broken in damaged)
    names = [row["name"] for row in json.loads(shown.out)["rows"]]
    assert "npo" not in names
    assert {"target", "retain", "grad_diff", "ga"} <= set(names)


def test_nothing_but_damaged_records_is_an_error(runs: Path) -> None:
    for path in runs.rglob("results_*.json"):
        path.write_text("{")
    with pytest.raises(BadData, match="20 faults"):
        run(runs)


def test_edited_numbers_are_no_rank(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (runs / "kl").rglob("results_*.json"):
        document = json.loads(path.read_text())
        document["unlearning"]["headline"]["overall"].update(value=7.0, low=None, high=None, range=[0.0, 10.0])
        path.write_text(json.dumps(document))
    assert run(runs, "--json") == 2
    assert "kl" not in [row["name"] for row in json.loads(capsys.readouterr().out)["rows"]]


def test_a_record_without_its_samples_is_marked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "npo" / "seed_1" / "samples_fiubench_forget_gen.jsonl").unlink()
    assert run(runs, "--json") == 0
    notes = {row["name"]: row["notes"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert "unverified: of npo, samples_fiubench_forget_gen.jsonl is missing" in notes["npo"]
    assert not any(note.startswith("unverified") for note in notes["kl"])


def test_rows_whose_retain_model_nobody_has_are_not_ranked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(runs / "retain")
    assert run(runs, "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["npo"]["rank"] is None
    assert "there is no record of the retain model it was judged against (retainretain)" in rows["npo"]["reasons"]


def test_seeds_of_one_method_are_one_row_wherever_they_lie(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The seeds of npo in three folders of three people, kl with one of its seeds alone."""
    for seed in (1, 2):
        (runs / "npo" / f"seed_{seed}").rename(runs.parent / f"npo_{seed}")
        shutil.rmtree(runs / "kl" / f"seed_{seed}")
    assert run(runs, runs.parent / "npo_1", runs.parent / "npo_2", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert [one["seed"] for one in rows["npo"]["seeds"]] == [0, 1, 2]
    assert rows["npo"]["rank"] is not None
    assert (rows["kl"]["seeds"], rows["kl"]["rank"], rows["kl"]["eligible"]) == ([], None, False)
    assert rows["kl"]["reasons"] == [ONE_TRAINING]


def test_patterns_and_a_list_on_stdin_name_records(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(f"{runs}/[nk]*", "--json") == 0
    names = {row["name"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert names == {"npo", "npo_quick", "kl"}
    files = [str(path) for path in runs.glob("npo/*/results_*.json")]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join([*files, "", f"{runs}/kl"]) + "\n"))
    assert run("-", "--json") == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"npo", "kl"}
    with pytest.raises(UserError, match="nothing fits this pattern"):
        run(f"{runs}/nobody*")
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(UserError, match="no run folder named"):
        run("-")


def test_exports_are_merged_and_only_then(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, methods in {"a": ["npo"], "b": ["kl", "po"]}.items():
        run(*(runs / one for one in ("target", "retain", *methods)), "--json")
        (tmp_path / name).mkdir()
        (tmp_path / name / "leaderboard.json").write_text(capsys.readouterr().out)
    shutil.rmtree(runs)
    exports = [tmp_path / name / "leaderboard.json" for name in "ab"]
    with pytest.raises(UserError, match="is a leaderboard.json, no run record; --merge takes its rows"):
        run(*exports)
    assert run("--merge", *exports, "--json") == 0
    shown = capsys.readouterr()
    rows = {row["name"]: row for row in json.loads(shown.out)["rows"]}
    assert {name: row["rank"] for name, row in rows.items()} == {
        "target": None, "retain": None, "npo": 1, "po": 2, "kl": 3,
    }  # fmt: skip
    assert "counts once" in shown.err
    assert run("--merge", *exports) == 0
    assert "unverified" in capsys.readouterr().out


def test_formats_need_a_folder_and_say_what_they_leave_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="add --output_path DIR"):
        run(runs, "--formats", "csv")
    with pytest.raises(UserError, match="unknown format 'tsv'"):
        run(runs, "--formats", "tsv", "--output_path", tmp_path / "board")
    assert run(runs, "--formats", "all", "--output_path", tmp_path / "board") == 0
    shown = capsys.readouterr().err
    assert "eval_results: 5 rows left out: not on data of the Hub" in shown
    made = {path.relative_to(tmp_path / "board").parts[0] for path in (tmp_path / "board").rglob("*")}
    assert made >= {"leaderboard.csv", "leaderboard.tex", "hub", "every_eval_ever", "lm_eval", "inspect"}
    capsys.readouterr()
    assert run(tmp_path, "--json") == 0, "what was written is nobody's record"
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 8


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--schema") == 0
    assert json.loads(capsys.readouterr().out)["$id"] == "urn:mmforget:leaderboard:2"


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: does not exist"):
        run(tmp_path / "nowhere")


def test_an_output_path_that_is_a_file_is_named(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken"):
        run(runs, "--output_path", tmp_path / "taken")
