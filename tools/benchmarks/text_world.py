"""The text-only model and the tasks that are measured: real shapes, random weights, made-up words, all from a seed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import LlamaForCausalLM

from benchmarks.world import llama_config, make_words, randomise
from mmforget.benchmark.find import find_all
from mmforget.benchmark.source import DataSource
from mmforget.model.micro_tokenizer import train_tokenizer

FIVE_SHOT, PERTURBED = "bench_five_shot", "bench_perturbed"
TOFU = "tofu_forget10"
HEADER = "SYSTEM: Knowledge until December 2023. Today is 10 April 2025. You are a helpful assistant who knows a lot."
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    + HEADER
    + "\n{% for message in messages %}{{ message['role'].upper() + ': ' + message['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""About as long as Llama 3's with its dates and the usual system message, which stands before every question."""
COMMON = """
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {folder}/{name}.parquet, dev: {folder}/{name}_dev.parquet}}}}
test_split: test
output_type: multiple_choice
metric_list: [{{metric: acc}}]
"""
FIVE_SHOT_TASK = r"""
task: bench_five_shot
fewshot_split: dev
fewshot_config: {sampler: first_n}
num_fewshot: 5
description: "The following are multiple choice questions (with answers) about made-up things.\n\n"
doc_to_text: "{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\nD. {{choices[3]}}\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: gold
"""
PERTURBED_TASK = """
task: bench_perturbed
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: gold
"""


@dataclass(frozen=True)
class TextGeometry:
    """Sizes of a Llama. The tokenizer knows a few thousand of the vocabulary, as many rows of the head are computed."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    max_length: int = 2048


BASE = TextGeometry(256, 8, heads=4, feed_forward=688, vocabulary=32_000)
"""Llama 2's vocabulary on as many layers as two cores can run plainly, too."""
WIDE = TextGeometry(256, 8, heads=4, feed_forward=688, vocabulary=128_256)
"""The same with Llama 3's vocabulary."""
MINUTE = TextGeometry(64, 2, heads=4, feed_forward=128, vocabulary=6000)
"""Shows that everything runs, and nothing else."""


@dataclass(frozen=True)
class TextShape:
    """How many five-shot questions there are about one subject, how many with wrong answers, how many tokens of an
    answer are written in TOFU's tasks, and how many of their rows are asked; None for all.
    """

    questions: int
    perturbed: int
    new_tokens: int
    limit: int | None


WHOLE, QUICK = TextShape(100, 60, 40, None), TextShape(6, 4, 4, 2)


def build_llama(folder: Path, geometry: TextGeometry) -> Path:
    """Saves a random Llama in the ordinary Hugging Face layout, unless it is there. It never ends a text by itself."""
    if (folder / "tokenizer.json").is_file():
        return folder
    tokenizer = train_tokenizer([*make_words(), *_words(), *"ABCD", "Answer", "?", "."], max_length=geometry.max_length)
    tokenizer.chat_template = CHAT_TEMPLATE
    model = LlamaForCausalLM(llama_config(geometry, tokenizer=tokenizer, vocabulary=geometry.vocabulary))
    randomise(model, seed=0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _words() -> list[str]:
    """Those of TOFU's twin and of the chat template."""
    (benchmark,) = find_all(TOFU)
    rows = benchmark.bind(DataSource("synthetic")).rows("full")
    texts = [HEADER, *rows["question"], *rows["answer"]]
    return sorted({word for text in texts for word in text.split()})


def write_tasks(folder: Path, shape: TextShape) -> Path:
    """The made-up rows as Parquet files, and a plain lm_eval task over each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    _write(folder, FIVE_SHOT, FIVE_SHOT_TASK, [_four_options(rng) for _ in range(shape.questions + 5)])
    _write(folder, PERTURBED, PERTURBED_TASK, [_with_wrong_answers(rng) for _ in range(shape.perturbed + 5)])
    return folder


def _write(folder: Path, name: str, task: str, rows: Sequence[Mapping[str, Any]]) -> None:
    from datasets import Dataset

    for suffix, part in (("_dev", rows[:5]), ("", rows[5:])):
        Dataset.from_list([dict(row) for row in part]).to_parquet(str(folder / f"{name}{suffix}.parquet"))
    where = COMMON.format(folder=json.dumps(str(folder))[1:-1], name=name)
    (folder / f"{name}.yaml").write_text(task + where, encoding="utf-8")


def _four_options(rng: np.random.Generator) -> dict[str, Any]:
    """A question of about 55 tokens with options of about 10, a hundred in all, as those of MMLU mostly have."""
    options = [_text(rng, 3, 7) for _ in range(4)]
    return {"question": f"{_text(rng, 20, 32)}?", "choices": options, "gold": int(rng.integers(4))}


def _with_wrong_answers(rng: np.random.Generator) -> dict[str, Any]:
    """A question of about 16 tokens, an answer of about 36 and five wrong ones, which begin as it does for 10 or so:
    the lengths of TOFU's perturbed rows.
    """
    right = _text(rng, 14, 20).split()
    wrong = []
    for _ in range(5):
        shared = int(rng.integers(0, 2 * len(right) // 3))
        wrong.append([*right[:shared], *_text(rng, len(right) - shared, len(right) - shared).split()])
    answers = [" ".join(words) + "." for words in (right, *wrong)]
    return {"question": f"{_text(rng, 6, 8)}?", "choices": answers, "gold": 0}


def _text(rng: np.random.Generator, low: int, high: int) -> str:
    return " ".join(rng.choice(make_words(), size=int(rng.integers(low, high + 1))))
