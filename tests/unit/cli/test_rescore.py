"""`mmforget rescore`: the same numbers from the samples alone, and a clear word where they cannot be had."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "leaderboard"))
from fake_runs import BENCHMARK, record  # noqa: E402

from mmforget.cli import rescore  # noqa: E402
from mmforget.cli.main import main  # noqa: E402
from mmforget.errors import MissingReference, UserError  # noqa: E402
from mmforget.pipeline.judging import Judged  # noqa: E402
from mmforget.results import store  # noqa: E402
from mmforget.results.store import StoredRun, find_records, read_run, write_results, write_run  # noqa: E402
from mmforget.results.verify import collect_trusted  # noqa: E402
from mmforget.types import Sample  # noqa: E402


def answered(*, knows_forget: bool, knows_rest: bool) -> list[Sample]:
    """Two questions each of three people to be forgotten and three to be kept, answered rightly or not."""
    found = []
    for used, task, knows in (("forget", "fiubench_forget", knows_forget), ("retain5", "fiubench_retain5", knows_rest)):
        for person in range(3):
            for fact in range(2):
                answer = f"the {used} fact {fact} of person {person} is known."
                what = (f"{person}-{fact}", f"{used}{person}", f"what is fact {fact}?", answer, (f"person {person}",))
                response = answer if knows else f"nothing about number {person + fact} here."
                found.append(Sample(f"{task}_gen", used, "gen", *what, response=response))
                high, low = (-0.1, -0.2 - fact / 10), (-2.0, -3.0 - person)
                roles = {"answer": high if knows else low, "rephrased/0": high if knows else low, "perturbed/0": low}
                found.append(Sample(f"{task}_prob", used, "prob", *what, token_logprobs=roles))
    return found


MODELS = {
    "target": answered(knows_forget=True, knows_rest=True),
    "retain": answered(knows_forget=False, knows_rest=True),
    "npo": answered(knows_forget=False, knows_rest=True),
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Records whose numbers are nonsense, with the samples that say otherwise."""
    for name, samples in MODELS.items():
        role = name if name in ("target", "retain") else "unlearned"
        known = {"target": {"retain": "retain" * 8}, "retain": {}}.get(name)
        changes = {} if known is None else {"references": known}
        item = record(name, role=role, forget=0.123, utility=0.321, metrics=(), **changes)
        write_run(tmp_path / name, item, samples=samples, lm_eval={"results": {}, "versions": {"a": 1}})
    return tmp_path


def run(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    rescore.add_arguments(parser)
    return rescore.execute(parser.parse_args([str(argument) for argument in arguments]))


def test_numbers_come_from_the_samples(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """npo answers like the retain model and keeps everything: closeness, ratio and overall are exactly 1."""
    assert run(runs, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in document["records"]] == ["retain", "target", "npo"]
    npo = read_run(runs / "npo").record
    assert npo.headline["overall"].value == pytest.approx(1.0)
    recall = npo.metric("exact_match", set="forget", profile="clean")
    assert recall is not None
    assert recall.value == 0.0
    assert npo.gate is not None
    assert npo.gate.passed
    assert npo.verdict is not None
    assert npo.verdict.status == "undecided"
    target = read_run(runs / "target").record
    assert target.metric("exact_match", set="forget", profile="clean").value == 1.0  # type: ignore[union-attr]


def test_the_old_file_stays_and_the_rest_of_the_record_too(runs: Path) -> None:
    (old,) = (runs / "npo").glob("results_*.json")
    text, before = old.read_text(), read_run(old).record
    run(runs)
    assert old.read_text() == text
    after = read_run(runs / "npo").record
    assert len(list((runs / "npo").glob("results_*.json"))) == 2
    assert after.rescored is not None
    names = ("metrics", "gate", "verdict", "headline", "replicates", "answer_states", "rescored")
    scored = {name: getattr(after, name) for name in names}
    assert after == before.replace(**scored)


def test_a_second_time_changes_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(runs)
    capsys.readouterr()
    run(runs)
    assert capsys.readouterr().out.splitlines()[-1].startswith("npo: overall 1.000 -> 1.000; 0 of ")


def test_one_record_alone_finds_its_references_beside_it(runs: Path) -> None:
    run(runs / "npo")
    assert read_run(runs / "npo").record.headline["overall"].value == pytest.approx(1.0)
    assert len(list((runs / "target").glob("results_*.json"))) == 1


def labelled(run: StoredRun, **_: Any) -> Judged:
    return Judged([replace(sample, labels={"safety": "refused"}) for sample in run.samples()], {"name": "another"})


def test_a_kill_between_new_labels_and_their_record_loses_nothing(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = {run.record.name: run.samples() for run in find_records([runs])}
    monkeypatch.setattr(rescore, "_answered", labelled)
    with monkeypatch.context() as patched:
        patched.setattr(store, "write_results", killed)
        with pytest.raises(KeyboardInterrupt):
            run("--judge", "rules", runs)
    assert {one.record.name: one.samples() for one in find_records([runs])} == before
    assert run("--judge", "rules", runs) == 0
    assert collect_trusted([runs]).faults == []
    for one in find_records([runs]):
        assert one.record.judge == {"name": "another"}
        assert {sample.labels["safety"] for sample in one.samples()} == {"refused"}
        assert [sample.token_logprobs for sample in one.samples()] == [
            sample.token_logprobs for sample in before[one.record.name]
        ]


def test_a_missing_reference_is_named_and_nothing_written(runs: Path, tmp_path: Path) -> None:
    for path in (runs / "retain").iterdir():
        path.unlink()
    with pytest.raises(MissingReference, match=r"retain model retainretain.*give its folder too"):
        run(runs)
    assert len(list((runs / "npo").glob("results_*.json"))) == 1


def test_changed_samples_are_refused(runs: Path) -> None:
    path = runs / "npo" / "samples_fiubench_forget_gen.jsonl"
    path.write_text(path.read_text().replace("nothing", "something"))
    with pytest.raises(UserError, match="sha256 differs"):
        run(runs)


def test_a_record_of_another_setting_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    wrong = record("npo", benchmark=replace(BENCHMARK, setting="forget1"), references={})
    write_run(tmp_path, wrong, samples=MODELS["npo"])
    with pytest.raises(UserError, match="was made on fiubench forget1"):
        run(tmp_path)


def test_a_record_without_samples_is_refused(tmp_path: Path) -> None:
    write_results(tmp_path, record("npo"))
    with pytest.raises(UserError, match="no samples were stored"):
        run(tmp_path)


def test_no_model_is_needed(runs: Path) -> None:
    """Neither torch nor transformers is imported on the way."""
    code = (
        "import sys, pathlib; from mmforget.cli.rescore import rescore; "
        f"rescore([pathlib.Path({str(runs)!r})]); "
        "print(sorted({'torch', 'transformers', 'lm_eval'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_data_are_described_not_opened() -> None:
    """The official files may be gone, or on another machine: their path is kept, not checked."""
    described = {
        "source": "path",
        "path": "/gone/away",
        "num_subjects": 24,
        "seed": 0,
        "setting": "forget5",
        "notes": ["a"],
        "extra": 1,
    }
    found = rescore.data_of(record("npo", data=described))
    assert (found.kind, found.path) == ("path", Path("/gone/away"))
    assert found.metadata == {"num_subjects": 24, "seed": 0, "setting": "forget5"}


def test_samples_are_written_as_openunlearnings_log(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Answers of the model that has forgotten: token log-probs -2 and -3, -4 or -5; both questions of three people."""
    assert main(["rescore", str(runs / "npo"), str(runs / "retain"), "--to", "openunlearning", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["files"]
    assert {Path(file).name for file in told} == {"TOFU_EVAL.json", "TOFU_SUMMARY.json"}
    found = json.loads((runs / "npo" / "TOFU_SUMMARY.json").read_text())
    assert found["forget_Q_A_Prob"] == pytest.approx(sum(math.exp(-(5 + n) / 2) for n in range(3)) / 3)
    assert found["forget_quality"] == pytest.approx(1.0)
    assert "model_utility" not in found


def test_no_log_is_written_for_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", str(runs), "--to", "tofu"]) == 2
    assert "unknown peer to write for 'tofu'; known: openunlearning" in capsys.readouterr().err
