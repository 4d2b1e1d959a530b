"""What lm_eval itself writes, read back: every option's log-likelihood, the texts, and the numbers it states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mmforget.cli.main import main
from mmforget.pipeline.peers import score_log
from mmforget.results.peers.formats import read_log

CHOICE = """
task: toy_choice
dataset_path: json
dataset_kwargs: {data_files: ROWS}
test_split: train
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""
TEXT = """
task: toy_text
dataset_path: json
dataset_kwargs: {data_files: ROWS}
test_split: train
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["."]}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
NUM = 9


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results file of stock lm_eval's model that answers by chance."""
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("lm_eval")
    rows = [{"question": f"Which? {i}", "choices": ["red", "green", "light blue"], "answer": i % 3} for i in range(NUM)]
    (folder / "rows.json").write_text("\n".join(map(json.dumps, rows)))
    for name, text in (("choice", CHOICE), ("text", TEXT)):
        (folder / f"{name}.yaml").write_text(text.replace("ROWS", str(folder / "rows.json")))
    tracker = EvaluationTracker(output_path=str(folder / "out"))
    found = lm_eval.simple_evaluate(
        model="dummy", tasks=[str(folder / "choice.yaml"), str(folder / "text.yaml")], log_samples=True,
        evaluation_tracker=tracker, bootstrap_iters=0, task_manager=TaskManager(include_defaults=False),
    )  # fmt: skip
    samples = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=samples)
    for name in found["configs"]:
        tracker.save_results_samples(task_name=name, samples=samples[name])
    (path,) = (folder / "out").rglob("results_*.json")
    return path


def test_options_are_read_with_their_likelihoods(results: Path) -> None:
    log = read_log(results.parent, peer="lm_eval")
    samples = log.of_set("toy_choice", "mc")
    assert len(samples) == NUM
    assert samples[1].choices == ("red", "green", "light blue")
    assert [sample.gold for sample in samples[:4]] == [0, 1, 2, 0]
    assert samples[1].question == "Which? 1"
    assert all(values[0] < 0 for values in samples[0].token_logprobs.values())
    assert [sample.response for sample in log.of_set("toy_text", "gen")] == ["lol"] * NUM


def test_accuracy_is_the_one_that_lm_eval_states(results: Path) -> None:
    stated = json.loads(results.read_text())["results"]["toy_choice"]["acc,none"]
    found = score_log(read_log(results, peer="lm_eval"))
    assert found.cells["toy_choice"]["choice_accuracy"].value == pytest.approx(stated)
    assert found.totals["toy_choice/acc"] == (stated, pytest.approx(stated))
    assert found.checks["acc"].num_compared == NUM
    assert found.checks["acc"].different == ()
    assert "toy_text/exact_match" in found.totals


def first_line_twice(text: str) -> str:
    """As many lines as before, and one document less."""
    first, _, *rest = text.split("\n")
    return "\n".join([first, first, *rest])


def broken(results: Path, folder: Path, *, change: Any) -> Path:
    """The same files with the choices' samples changed."""
    for file in results.parent.iterdir():
        text = file.read_text()
        (folder / file.name).write_text(change(text) if file.name.startswith("samples_toy_choice") else text)
    return folder / results.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.split("\n", 1)[1], "'toy_choice': 1 of 9 items are missing"),
        (first_line_twice, "'toy_choice': 1 of 9 items are missing"),
        (lambda text: "", "is empty; the log is not whole"),
        (lambda text: text.replace('"resps"', '"answers"', 1), "line 1 is no sample of lm_eval"),
        (lambda text: text.replace('[["-', '[["minus ', 1), "is no log-likelihood"),
        (lambda text: text[:-20], "not valid JSON"),
    ],
)
def test_samples_that_are_not_whole_are_one_line_and_status_2(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    path = broken(results, tmp_path, change=change)
    assert main(["rescore", "--from", "lm_eval", "--log", str(path)]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told


def test_a_folder_without_results_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rescore", "--from", "lm_eval", "--log", str(tmp_path)]) == 2
    assert "holds no results_<time>.json of lm_eval" in capsys.readouterr().err
