"""Logs of TOFU: the published cells of the real ones to six digits, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hmean, ks_2samp

from mmforget.cli.main import main
from mmforget.pipeline.peers import PeerScores, score_log
from mmforget.results.peers.formats import read_log
from tests.peer_files import tofu_log, written

pytestmark = pytest.mark.slow

CELLS = {
    "phi_full": {
        "retain": (0.926088, 0.929253, 0.482683),
        "real_authors": (0.377360, 0.415667, 0.456009),
        "world_facts": (0.408998, 0.777350, 0.492337),
        "forget": (0.928239, 0.924861, 0.483356),
    },
    "phi_retain90": {
        "retain": (0.923114, 0.920043, 0.484739),
        "real_authors": (0.384187, 0.475333, 0.463836),
        "world_facts": (0.408088, 0.755698, 0.488263),
        "forget": (0.134907, 0.427867, 0.628842),
    },
}
"""Probability, ROUGE-L recall and truth ratio of the two logs that TOFU's repository has, computed elsewhere."""
UTILITY = {"phi_full": (0.522074, 0.503353), "phi_retain90": (0.531991, 0.513001)}


@pytest.fixture(scope="module")
def scored(real: Path) -> dict[str, PeerScores]:
    folder = real / "tofu"
    logs = {name: read_log(folder / f"{name}.json", peer="tofu") for name in CELLS}
    reference = logs["phi_retain90"]
    return {name: score_log(log, reference=reference, profile="tofu_paper") for name, log in logs.items()}


@pytest.mark.parametrize("name", CELLS)
def test_every_cell_of_the_real_logs_is_the_published_one(scored: dict[str, PeerScores], name: str) -> None:
    found = scored[name].as_dict()
    for set_name, cells in CELLS[name].items():
        assert tuple(round(value, 6) for value in found["sets"][set_name].values()) == cells
    assert (round(found["model_utility"], 6), round(found["model_utility_arithmetic"], 6)) == UTILITY[name]


def test_forget_quality_of_the_real_logs(scored: dict[str, PeerScores]) -> None:
    quality = scored["phi_full"].quality
    assert quality is not None
    assert round(quality.ks_statistic or 0.0, 6) == 0.346667
    assert quality.p == pytest.approx(2.194274e-16, rel=5e-7)
    assert (quality.num, quality.num_reference, quality.is_floor) == (300, 300, False)
    itself = scored["phi_retain90"].quality
    assert itself is not None
    assert (itself.p, itself.ks_statistic) == (1.0, 0.0)


def test_rouge_of_the_kept_texts_is_the_kept_rouge_for_all_rows(scored: dict[str, PeerScores]) -> None:
    for one in scored.values():
        assert {name: (check.num_compared, check.different) for name, check in one.checks.items()} == {
            "rouge1_recall": (817, ()),
            "rougeL_recall": (817, ()),
        }


def test_the_verb_prints_the_numbers(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = real / "tofu"
    words = ["rescore", "--from", "tofu", "--log", str(folder / "phi_full.json"), "--profile", "tofu_paper"]
    assert main([*words, "--reference", str(folder / "phi_retain90.json"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert round(found["model_utility"], 6) == 0.522074
    assert found["forget_quality"]["p"] == pytest.approx(2.194274e-16, rel=5e-7)
    assert (
        len({(kept, name) for kept in ("retain", "real_authors", "world_facts") for name in found["sets"][kept]}) == 9
    )


def by_hand(log: dict[str, Any], *, epsilon: float, arithmetic: bool) -> tuple[float, np.ndarray]:
    """Model utility and the forget set's truth ratios as the two programs compute them, with numpy and scipy."""
    parts: list[float] = []
    ratios = np.zeros(0)
    for name, columns in log.items():
        true, rephrased, wrong = (
            np.array(list(columns[key].values()))
            for key in ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss")
        )
        false = np.exp(-wrong).mean(1) if arithmetic else np.exp(-wrong.mean(1))
        ratio = false / (np.exp(-rephrased) + epsilon)
        if name == "eval_log_forget.json":
            ratios = ratio
            continue
        p = np.exp(-true)
        share = p / (p + np.exp(-wrong).sum(1) + epsilon) if "wo_options" in name else p
        rouge = np.mean(list(columns["rougeL_recall"].values()))
        parts += [float(share.mean()), float(rouge), float(np.maximum(0, 1 - ratio).mean())]
    return float(hmean(parts)), ratios


@pytest.mark.parametrize(("profile", "epsilon"), [("tofu_paper", 0.0), ("openunlearning", 1e-10)])
@pytest.mark.parametrize("shift", [0.0, 25.0])
def test_random_logs_give_what_numpy_and_scipy_give(tmp_path: Path, profile: str, epsilon: float, shift: float) -> None:
    """A shift of 25 nats makes OpenUnlearning's epsilon the larger part of the denominator."""
    log, retain = tofu_log(seed=1, shift=shift), tofu_log(seed=9, shift=shift)
    read = [read_log(written(tmp_path / name, one), peer="tofu") for name, one in (("a", log), ("b", retain))]
    found = score_log(read[0], reference=read[1], profile=profile)
    for mean in ("geometric", "arithmetic"):
        expected, _ = by_hand(log, epsilon=epsilon, arithmetic=mean == "arithmetic")
        assert found.utility[mean].value == pytest.approx(expected, rel=1e-12, abs=1e-300)
    ratios = [by_hand(one, epsilon=epsilon, arithmetic=False)[1] for one in (log, retain)]
    expected_test = ks_2samp(*ratios)
    assert found.quality is not None
    assert found.quality.p == pytest.approx(expected_test.pvalue, rel=1e-9)
    assert found.quality.ks_statistic == pytest.approx(expected_test.statistic)
    near = np.minimum(ratios[0], 1 / (ratios[0] + epsilon)).mean()
    assert found.cells["forget"]["truth_ratio"].value == pytest.approx(near, rel=1e-12)


def test_logs_that_are_wholly_apart_are_told_to_be_at_the_floor(tmp_path: Path) -> None:
    logs = {"a": tofu_log(shift=60.0), "b": tofu_log(shift=-60.0)}
    one, other = (read_log(written(tmp_path / name, log), peer="tofu") for name, log in logs.items())
    found = score_log(one, reference=other)
    assert found.quality is not None
    assert found.quality.is_floor
    assert found.quality.p == pytest.approx(1.860e-23, rel=1e-3)
    assert any("floor of 40 rows" in finding for finding in found.findings)


def test_a_file_that_keeps_a_wrong_rouge_is_told(tmp_path: Path) -> None:
    log = tofu_log()
    log["eval_log.json"]["rougeL_recall"]["3"] += 0.1
    found = score_log(read_log(written(tmp_path / "log", log), peer="tofu"))
    assert found.checks["rougeL_recall"].different == ("retain/3",)
    assert any("retain/3" in finding for finding in found.findings)


def test_losses_that_are_no_numbers_are_unscored_and_counted(tmp_path: Path) -> None:
    log = tofu_log()
    log["eval_log_forget.json"]["avg_gt_loss"]["0"] = float("nan")
    found = score_log(read_log(written(tmp_path / "log", log), peer="tofu")).as_dict()
    assert found["unscored"] == {"probability on forget": 1}


def test_tofu_takes_the_first_300_rows_of_a_longer_set(tmp_path: Path) -> None:
    log = read_log(written(tmp_path / "log", tofu_log(num_forget=320)), peer="tofu")
    assert score_log(log).as_dict()["rows"]["forget"] == 300
    assert score_log(log, profile="openunlearning").as_dict()["rows"]["forget"] == 320


def dropped(log: dict[str, Any]) -> None:
    del log["eval_log.json"]["avg_gt_loss"]["4"]


def cut(log: dict[str, Any]) -> None:
    for column in log["eval_log_forget.json"].values():
        del column["39"]


def asked_otherwise(log: dict[str, Any]) -> None:
    log["eval_log_forget.json"]["generated_text"]["7"][0] = "Question: who?\n"


def tokenised_otherwise(log: dict[str, Any]) -> None:
    log["eval_log_forget.json"]["num_token_gt"]["7"] = 9


def without_forget(log: dict[str, Any]) -> None:
    del log["eval_log_forget.json"]


def without_a_column(log: dict[str, Any]) -> None:
    del log["eval_log_forget.json"]["average_perturb_loss"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (dropped, "'eval_log.json.avg_gt_loss': 1 of 12 items are missing, such as '4'"),
        (cut, "its forget set has 39 rows and that of"),
        (asked_otherwise, "item '7' has another question ('Question: who?'), so it is of another split"),
        (tokenised_otherwise, "other numbers of tokens, so it is of another tokenizer"),
        (without_forget, "has no forget set to compare with"),
        (without_a_column, "'eval_log_forget.json' has no average_perturb_loss"),
        (lambda log: log.clear(), "is no eval_log_aggregated.json of TOFU (it holds"),
    ],
)
def test_a_reference_that_is_none_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None], said: str
) -> None:
    log, other = tofu_log(), tofu_log(seed=5)
    change(other)
    paths = [written(tmp_path / "log.json", log), written(tmp_path / "other.json", other)]
    assert main(["rescore", "--from", "tofu", "--log", str(paths[0]), "--reference", str(paths[1])]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "tofo", "--log", "LOG"], "unknown peer 'tofo'; did you mean 'tofu'?"),
        (["--from", "tofu"], "--from tofu needs the log itself; give it with --log"),
        (["--log", "LOG"], "--log goes with a peer's log; say whose it is with --from"),
        (
            ["--from", "tofu", "--log", "LOG", "--profile", "tofu"],
            "unknown profile 'tofu'; known: clean, muse_paper, openunlearning, rwku_paper, tofu_paper, wmdp_lmeval",
        ),
        (["--from", "tofu", "--log", "nowhere.json"], "nowhere.json: cannot be read (No such file or directory)"),
        (["--from", "tofu", "--log", "LOG", "runs"], "reads --log, and a run folder is named too (runs)"),
        ([], "no folder named; give one that 'mmforget run' or 'mmforget eval' wrote, or a log with --from"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    path = written(tmp_path / "log.json", tofu_log())
    assert main(["rescore", *(str(path) if word == "LOG" else word for word in words)]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
