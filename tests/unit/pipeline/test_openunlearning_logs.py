"""Logs of OpenUnlearning: rows give what the file states, retain logs are references, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from mmforget.cli.main import main
from mmforget.pipeline.peers import score_log
from mmforget.results.peers.formats import read_log
from tests.peer_files import attack, by_index, openunlearning_log, tofu_log, written


def test_rows_give_what_the_file_states(tmp_path: Path) -> None:
    """Every value of the file was computed by numpy, scipy or scikit-learn as OpenUnlearning's code does."""
    log = openunlearning_log(seed=3)
    found = score_log(read_log(written(tmp_path / "TOFU_EVAL.json", log), peer="openunlearning"))
    checked = {name: total for name, total in found.totals.items() if total.found is not None}
    assert len(checked) == 15
    for name, total in checked.items():
        assert total.found == pytest.approx(log[name]["agg_value"], rel=1e-9), name
    assert not any(total.differs for total in found.totals.values())
    assert {name: check.num_compared for name, check in found.checks.items()} == {
        "rouge1_recall": 72,
        "rougeL_recall": 72,
    }


def test_a_retain_log_gives_forget_quality_and_privleak(tmp_path: Path) -> None:
    """KS of the truth ratios as the file keeps them; PrivLeak of both AUCs by hand."""
    logs = [openunlearning_log(seed=3), openunlearning_log(seed=30, shift=0.4)]
    one, other = (read_log(written(tmp_path / str(i), log), peer="openunlearning") for i, log in enumerate(logs))
    found = score_log(one, reference=other)
    kept = [[row["score"] for row in log["forget_truth_ratio"]["value_by_index"].values()] for log in logs]
    assert found.quality is not None
    assert found.quality.p == pytest.approx(ks_2samp(*kept).pvalue, rel=1e-9)
    assert found.totals["forget_quality"] == (None, found.quality.p)
    own, retain = (log["mia_min_k"]["auc"] for log in logs)
    assert found.totals["privleak"].found == pytest.approx(((1 - own) - (1 - retain)) / (1 - retain + 1e-10) * 100)


def test_ratios_that_are_kept_alone_are_compared_as_they_are(tmp_path: Path) -> None:
    logs = [openunlearning_log(seed=3), openunlearning_log(seed=30)]
    bare = {"forget_Truth_Ratio": logs[1]["forget_truth_ratio"]}
    one = read_log(written(tmp_path / "a", logs[0]), peer="openunlearning")
    other = read_log(written(tmp_path / "b", bare), peer="openunlearning")
    kept = [[row["score"] for row in log["forget_truth_ratio"]["value_by_index"].values()] for log in logs]
    found = score_log(one, reference=other)
    assert found.quality is not None
    assert found.quality.p == pytest.approx(ks_2samp(*kept).pvalue, rel=1e-9)
    clean = score_log(one, reference=other, profile="clean")
    assert clean.quality is None
    assert any("keeps no truth ratios" in finding for finding in clean.findings)


def test_what_the_file_states_and_its_rows_deny_is_told(tmp_path: Path) -> None:
    log = openunlearning_log()
    log["model_utility"]["agg_value"] = 0.9
    found = score_log(read_log(written(tmp_path / "log", log), peer="openunlearning"))
    assert any(finding.startswith("model_utility: the file says 0.9, its rows give 0.") for finding in found.findings)


def test_muse_is_scored_by_both_profiles(tmp_path: Path) -> None:
    """`runs` and `running` share a stem: ROUGE-L F1 is 1 with stems, 2/3 without (two of three words, both ways)."""
    row = {"input": "what?", "ground_truth": "he runs far", "generation": "he running far", "rougeL_f1": 1.0}
    log = {f"{name}_ROUGE": {**by_index([row]), "agg_value": 1.0} for name in ("forget_knowmem", "forget_verbmem")}
    log["mia_min_k"] = attack(np.array([0.0, 1.0]), np.array([2.0, 0.5]))
    read = read_log(written(tmp_path / "MUSE_EVAL.json", log), peer="openunlearning")
    found = score_log(read)
    assert found.cells["forget_verbmem"]["rouge_l(part=f1)"].value == pytest.approx(1.0)
    assert found.totals["mia_min_k"] == (0.75, 0.75)
    assert found.checks["rougeL_f1"].different == ()
    unstemmed = score_log(read, profile="muse_paper")
    assert unstemmed.cells["forget_knowmem"]["rouge_l(part=f1)"].value == pytest.approx(2 / 3)
    assert unstemmed.totals == {}


def one_row_less(log: dict[str, Any]) -> None:
    del log["forget_Q_A_PARA_Prob"]["value_by_index"]["11"]


def a_row_that_is_none(log: dict[str, Any]) -> None:
    log["forget_Q_A_Prob"]["value_by_index"]["11"] = 0.5


def a_loss_that_is_none(log: dict[str, Any]) -> None:
    log["forget_Q_A_Prob"]["value_by_index"]["11"]["avg_loss"] = "low"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (one_row_less, "'forget_Q_A_PARA_Prob': 1 of 40 items are missing, such as '11'"),
        (a_row_that_is_none, "'forget_Q_A_Prob', item '11' is 0.5; the log is damaged"),
        (a_loss_that_is_none, "forget, item '11', answer: 'low' is no loss"),
        (lambda log: log.update(openunlearning_log(num_forget=20)), "its forget set has 20 rows and that of"),
        (lambda log: [log.pop(name) for name in list(log) if name != "model_utility"], "has no forget set to compare"),
        (lambda log: log.clear(), "is no TOFU_EVAL.json or MUSE_EVAL.json of OpenUnlearning (it holds nothing)"),
    ],
)
def test_a_reference_that_is_none_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    log, other = openunlearning_log(), openunlearning_log(seed=5)
    change(other)
    paths = [written(tmp_path / "log.json", log), written(tmp_path / "other.json", other)]
    words = ["rescore", "--from", "openunlearning", "--log", str(paths[0]), "--reference", str(paths[1])]
    assert main(words) == 2
    told = capsys.readouterr().err.strip()
    assert said.replace("(it holds nothing)", "(it holds") in told
    assert "\n" not in told


def test_a_log_of_another_program_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "log.json", tofu_log())
    assert main(["rescore", "--from", "openunlearning", "--log", str(path)]) == 2
    told = capsys.readouterr().err
    assert (
        "is no TOFU_EVAL.json or MUSE_EVAL.json of OpenUnlearning (it holds 'eval_log_forget.json, eval_log.json"
        in told
    )


def test_the_verb_prints_totals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "TOFU_EVAL.json", openunlearning_log())
    assert main(["rescore", "--from", "openunlearning", "--log", str(path)]) == 0
    assert "model_utility: the file says" in capsys.readouterr().out
    assert main(["rescore", "--from", "openunlearning", "--log", str(path), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["totals"]["model_utility"]) == {"stated", "found"}
