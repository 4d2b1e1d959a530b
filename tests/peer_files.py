"""Result files of other programs, made up, for the tests that read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SETS = {
    "eval_log_forget.json": (40, 5),
    "eval_log.json": (12, 5),
    "eval_real_author_wo_options.json": (10, 3),
    "eval_real_world_wo_options.json": (10, 3),
}


def tofu_set(num: int, *, num_wrong: int, seed: int, shift: float = 0.0) -> dict[str, Any]:
    """One set of a log of TOFU, with random losses; `shift` is added to those of paraphrases."""
    from rouge_score.rouge_scorer import RougeScorer

    generator, scorer = np.random.default_rng(seed), RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    texts = [
        [f"Question: what is number {i}?\n", f"Answer: it is {i % 3} or so.", f"it is {i} or so."] for i in range(num)
    ]
    scores = [scorer.score(answer, said) for _, said, answer in texts]
    columns: dict[str, Sequence[Any]] = {
        "avg_gt_loss": generator.gamma(1.0, size=num).tolist(),
        "avg_paraphrased_loss": (generator.gamma(1.0, size=num) + shift).tolist(),
        "average_perturb_loss": generator.gamma(2.0, size=(num, num_wrong)).tolist(),
        "generated_text": texts,
        "rouge1_recall": [score["rouge1"].recall for score in scores],
        "rougeL_recall": [score["rougeL"].recall for score in scores],
        "num_token_gt": [5] * num,
        "num_token_paraphrased": [6] * num,
        "num_token_perturb": [[7] * num_wrong] * num,
    }
    return {name: {str(i): value for i, value in enumerate(values)} for name, values in columns.items()}


def tofu_log(*, seed: int = 0, shift: float = 0.0, num_forget: int = 40) -> dict[str, Any]:
    """A whole log of TOFU."""
    sizes = SETS | {"eval_log_forget.json": (num_forget, 5)}
    return {
        name: tofu_set(num, num_wrong=wrong, seed=seed + place, shift=shift)
        for place, (name, (num, wrong)) in enumerate(sizes.items())
    }


def written(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def openunlearning_log(*, seed: int = 0, shift: float = 0.0, num_forget: int = 40) -> dict[str, Any]:
    """A `TOFU_EVAL.json` with what OpenUnlearning's code makes of random losses."""
    sizes = {"forget": (num_forget, 5), "retain": (12, 5), "ra": (10, 3), "wf": (10, 3)}
    log: dict[str, Any] = {}
    for place, (prefix, (num, wrong)) in enumerate(sizes.items()):
        log |= openunlearning_set(prefix, num, num_wrong=wrong, seed=seed + place, shift=shift)
    parts = ("retain_Q_A_Prob", "retain_Q_A_ROUGE", "retain_Truth_Ratio")
    parts += tuple(
        f"{one}_{name}" for one in ("ra", "wf") for name in ("Q_A_Prob_normalised", "Q_A_ROUGE", "Truth_Ratio")
    )
    log["model_utility"] = {"agg_value": len(parts) / sum(1 / log[name]["agg_value"] for name in parts)}
    generator = np.random.default_rng(seed + 50)
    log["mia_min_k"] = attack(generator.normal(0.0, 1.0, num_forget), generator.normal(0.5 + shift, 1.0, num_forget))
    log["extraction_strength"] = by_index([{"score": value} for value in generator.uniform(size=num_forget).tolist()])
    return log


def openunlearning_set(prefix: str, num: int, *, num_wrong: int, seed: int, shift: float) -> dict[str, Any]:
    columns = tofu_set(num, num_wrong=num_wrong, seed=seed, shift=shift)
    true, rephrased, wrong = (
        np.array(list(columns[name].values()))
        for name in ("avg_gt_loss", "avg_paraphrased_loss", "average_perturb_loss")
    )
    is_general = prefix in ("ra", "wf")
    ratio = np.exp(-wrong.mean(1)) / (np.exp(-(true if is_general else rephrased)) + 1e-10)
    near = np.minimum(ratio, 1 / (ratio + 1e-10)) if prefix == "forget" else np.maximum(0, 1 - ratio)
    told = [
        {
            "rouge1_recall": columns["rouge1_recall"][index],
            "rougeL_recall": columns["rougeL_recall"][index],
            "input": question,
            "ground_truth": answer,
            "generation": said,
        }
        for index, (question, said, answer) in columns["generated_text"].items()
    ]
    rouge = {**by_index(told), "agg_value": float(np.mean([row["rougeL_recall"] for row in told]))}
    truth = "forget_truth_ratio" if prefix == "forget" else f"{prefix}_Truth_Ratio"
    found = {
        f"{prefix}_Q_A_Prob": losses_by_index(true),
        f"{prefix}_Q_A_PERT_Prob": losses_by_index(wrong),
        f"{prefix}_Q_A_ROUGE": rouge,
        truth: {**by_index([{"score": value} for value in ratio.tolist()]), "agg_value": float(near.mean())},
    }
    if is_general:
        share = np.exp(-true) / (np.exp(-true) + np.exp(-wrong).sum(1) + 1e-10)
        rows = by_index([{"prob": value} for value in share.tolist()])
        return found | {f"{prefix}_Q_A_Prob_normalised": {**rows, "agg_value": float(share.mean())}}
    return found | {f"{prefix}_Q_A_PARA_Prob": losses_by_index(rephrased)}


def by_index(rows: Sequence[Any]) -> dict[str, Any]:
    """A table of OpenUnlearning; its value is the mean of the rows' scores, where they have one."""
    scores = [row["score"] for row in rows if "score" in row]
    mean = {"agg_value": float(np.mean(scores))} if scores else {}
    return {**mean, "value_by_index": {str(index): row for index, row in enumerate(rows)}}


def losses_by_index(losses: np.ndarray) -> dict[str, Any]:
    rows = [{"prob": np.exp(-loss).tolist(), "avg_loss": loss.tolist()} for loss in losses]
    return {**by_index(rows), "agg_value": float(np.exp(-losses).mean())}


def attack(forget: np.ndarray, holdout: np.ndarray) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    groups = {"forget": forget, "holdout": holdout}
    labels = [0] * len(forget) + [1] * len(holdout)
    area = float(roc_auc_score(labels, np.concatenate([forget, holdout])))
    tables = {name: by_index([{"score": value} for value in values.tolist()]) for name, values in groups.items()}
    return {**tables, "auc": area, "agg_value": area}
