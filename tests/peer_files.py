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
    path.write_text(json.dumps(document))
    return path
