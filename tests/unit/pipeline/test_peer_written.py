"""What is written for OpenUnlearning gives the same numbers when read back, as numpy and scikit-learn do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import hmean, ks_2samp
from sklearn.metrics import roc_auc_score

from mmforget.errors import UserError
from mmforget.pipeline.peer_written import openunlearning_log, summary
from mmforget.pipeline.peers import score_log
from mmforget.results.peers.formats import read_log
from mmforget.types import Sample
from tests.peer_files import written

SETS = {
    "forget": "forget",
    "utility": "kept",
    "real_authors": "real_authors",
    "world_facts": "world_facts",
    "holdout": "holdout",
}


def answered(set_name: str, *, num: int, num_wrong: int, seed: int) -> list[Sample]:
    """Scored and generated answers to `num` questions of a set, at random."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(num):
        answer = f"it is {number} or so"
        one = Sample("t", set_name, "gen", str(number), f"{set_name}{number}", f"what is {number}?", answer)
        found.append(replace(one, task=f"{set_name}_gen", response=f"it is {number % 3}"))
        roles = {"answer": draw(generator), "rephrased/0": draw(generator)}
        if set_name in ("real_authors", "world_facts"):
            roles["rephrased/0"] = roles["answer"]
        roles |= {f"perturbed/{k}": draw(generator) for k in range(num_wrong)}
        best = tuple(map(float, generator.integers(0, 2, len(roles["answer"]))))
        values = {"is_best": {"answer": best}}
        found.append(replace(one, task=f"{set_name}_prob", kind="prob", token_logprobs=roles, token_values=values))
    return found


def draw(generator: np.random.Generator) -> tuple[float, ...]:
    return tuple((-generator.gamma(1.0, 1.0, generator.integers(3, 9))).tolist())


def model(seed: int) -> list[Sample]:
    sizes = {"forget": (12, 5), "kept": (9, 5), "real_authors": (7, 3), "world_facts": (8, 3), "holdout": (10, 5)}
    return [
        sample
        for place, (name, (num, wrong)) in enumerate(sizes.items())
        for sample in answered(name, num=num, num_wrong=wrong, seed=seed + place)
    ]


@pytest.fixture(scope="module")
def log() -> dict[str, Any]:
    return openunlearning_log(model(1), sets=SETS, retain=model(100))


def test_the_keys_are_openunlearnings(log: dict[str, Any]) -> None:
    by_set = ("Q_A_Prob", "Q_A_PERT_Prob", "Q_A_ROUGE")
    keys = {f"{prefix}_{name}" for prefix in ("forget", "retain", "ra", "wf") for name in by_set}
    keys |= {"forget_Q_A_PARA_Prob", "retain_Q_A_PARA_Prob", "ra_Q_A_Prob_normalised", "wf_Q_A_Prob_normalised"}
    keys |= {"forget_truth_ratio", "retain_Truth_Ratio", "ra_Truth_Ratio", "wf_Truth_Ratio"}
    keys |= {"model_utility", "forget_quality", "privleak", "mia_loss", "mia_zlib", "mia_min_k"}
    assert set(log) == keys | {"exact_memorization", "extraction_strength"}
    assert set(summary(log)) == set(log)
    assert all(isinstance(value, float) for value in summary(log).values())


def test_read_back_the_rows_give_what_is_stated(log: dict[str, Any], tmp_path: Path) -> None:
    found = score_log(read_log(written(tmp_path / "TOFU_EVAL.json", log), peer="openunlearning"))
    assert not any(total.differs for total in found.totals.values())
    assert sum(total.found is not None for total in found.totals.values()) == 18
    assert all(not check.different for check in found.checks.values())


def test_numbers_are_those_of_numpy_scipy_and_scikit_learn(log: dict[str, Any]) -> None:
    def mean_losses(seed: int, name: str, role: str) -> np.ndarray:
        rows = [one for one in model(seed) if one.set == name and one.kind == "prob"]
        return np.array([[-np.mean(tokens) for tokens in one.with_role(role)] for one in rows])

    answers = np.exp(-mean_losses(1, "forget", "answer")[:, 0])
    assert log["forget_Q_A_Prob"]["agg_value"] == pytest.approx(answers.mean())
    wrong = np.exp(-mean_losses(1, "forget", "perturbed"))
    assert log["forget_Q_A_PERT_Prob"]["agg_value"] == pytest.approx(wrong.mean(1).mean())
    ratios = [
        np.exp(-mean_losses(seed, "forget", "perturbed").mean(1))
        / (np.exp(-mean_losses(seed, "forget", "rephrased")[:, 0]) + 1e-10)
        for seed in (1, 100)
    ]
    kept = [row["score"] for row in log["forget_truth_ratio"]["value_by_index"].values()]
    assert kept == pytest.approx(ratios[0].tolist())
    assert log["forget_quality"]["agg_value"] == pytest.approx(ks_2samp(*ratios).pvalue)
    scores = [*mean_losses(1, "forget", "answer")[:, 0], *mean_losses(1, "holdout", "answer")[:, 0]]
    assert log["mia_loss"]["auc"] == pytest.approx(roc_auc_score([0] * 12 + [1] * 10, scores))
    names = [
        f"{prefix}_{name}" for prefix in ("ra", "wf") for name in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")
    ]
    names += ["retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio"]
    assert log["model_utility"]["agg_value"] == pytest.approx(hmean([log[name]["agg_value"] for name in names]))


def test_what_is_lacking_has_no_key() -> None:
    forget = [sample for sample in model(1) if sample.set == "forget"]
    found = openunlearning_log(forget, sets=SETS)
    assert not {"model_utility", "forget_quality", "privleak", "mia_loss", "ra_Q_A_Prob"} & set(found)
    assert "forget_Q_A_Prob" in found
    with pytest.raises(UserError, match="no answers of a forget set were scored"):
        openunlearning_log([sample for sample in forget if sample.kind == "gen"], sets=SETS)


def test_what_cannot_be_scored_is_null_and_in_no_mean() -> None:
    samples = model(1)
    place = next(i for i, one in enumerate(samples) if (one.set, one.kind) == ("forget", "prob"))
    roles = {**samples[place].token_logprobs, "answer": (float("nan"),)}
    broken = [*samples[:place], replace(samples[place], token_logprobs=roles), *samples[place + 1 :]]
    rows = openunlearning_log(broken, sets=SETS)["forget_Q_A_Prob"]
    assert rows["value_by_index"]["0"] == {"prob": None, "avg_loss": None}
    known = [row["prob"] for row in rows["value_by_index"].values() if row["prob"] is not None]
    assert rows["agg_value"] == pytest.approx(np.mean(known))
