"""Folders of stock transformers run all four text benchmarks, and stock lm_eval answers and scores as we do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.benchmark import DataSource, find
from mmforget.results.store import read_run
from mmforget.types import Sample
from tests.commands import command
from tests.stock_models import GPT_NEOX, LLAMA, LLAMA_CHAT, QWEN2_CHAT, Shape, stock_folder

ROOT = Path(__file__).resolve().parents[2]
GROUPS = ("tofu_forget10", "muse_news", "wmdp_forget_bio_cyber", "rwku")
SHAPES = {"llama": LLAMA, "llama_chat": LLAMA_CHAT, "qwen2_chat": QWEN2_CHAT, "gpt_neox": GPT_NEOX}
NUM_DOCS, NUM_TOKENS, TOLERANCE, RELATIVE = 3, 8, 1e-4, 2e-6
pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Asked:
    """A folder that was asked by both.

    Attributes:
        results: our numbers by task, `samples` what rests on our answers by task and row.
        stock: what stock lm_eval returns.
    """

    folder: Path
    shape: Shape
    results: Mapping[str, Mapping[str, Any]]
    samples: Mapping[tuple[str, str], Sample]
    stock: Mapping[str, Any]

    def tasks(self, kind: str) -> list[str]:
        return sorted({task for (task, _), sample in self.samples.items() if sample.kind == kind})

    def pairs(self, kind: str) -> Iterator[tuple[Sample, Mapping[str, Any]]]:
        """Each of our samples of a kind with what stock lm_eval logged of the same document."""
        for task in self.tasks(kind):
            for logged in self.stock["samples"][task]:
                yield self.samples[task, logged["doc"]["id"]], logged


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """What the tokenizers learn from: questions, answers and documents of the twins."""
    found: list[str] = []
    for group, name in (("tofu", "forget"), ("wmdp", "forget"), ("rwku", "forget_level1"), ("muse_news", "verbmem")):
        rows = find(group).bind(DataSource("synthetic")).rows(name)
        found += [*rows["question"][:60], *rows["answer"][:60]]
    return found


@pytest.fixture(scope="module", params=SHAPES)
def asked(request: pytest.FixtureRequest, texts: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Asked:
    shape, place = SHAPES[request.param], tmp_path_factory.mktemp(request.param)
    folder = stock_folder(place / "model", shape, texts=texts)
    chat = ("--apply_chat_template",) if shape.template else ()
    said = command(
        "eval", "--model", "hf", "--model_args", f"pretrained={folder}", "--tasks", ",".join(GROUPS),
        "--data", "synthetic", "--limit", str(NUM_DOCS), "--gen_kwargs", f"max_gen_toks={NUM_TOKENS}",
        "--device", "cpu", "--output_path", place / "out", "--quiet", "--json", *chat,
    )  # fmt: skip
    assert said.status == 0, said.err
    results = json.loads(said.out)["results"]
    samples = {(one.task, one.id): one for group in GROUPS for one in read_run(place / "out" / group).samples()}
    tasks = sorted({task for task, _ in samples if not task.endswith("_prob")})
    return Asked(folder, shape, results, samples, run_stock(folder, tasks, chat=bool(chat)))


def run_stock(folder: Path, tasks: Sequence[str], *, chat: bool) -> Mapping[str, Any]:
    manager = TaskManager(include_path=str(ROOT / "tasks"), include_defaults=False, metadata={"data": "synthetic"})
    found: Mapping[str, Any] = simple_evaluate(
        "hf", {"pretrained": str(folder)}, list(tasks), batch_size=4, device="cpu", limit=NUM_DOCS, bootstrap_iters=0,
        gen_kwargs={"max_gen_toks": NUM_TOKENS}, apply_chat_template=chat, task_manager=manager,
    )  # fmt: skip
    return found


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in results.items() if name.endswith(",none") and "stderr" not in name}


def test_all_four_benchmarks_run(asked: Asked) -> None:
    """A record each, with something said to every question of every task."""
    for group in GROUPS:
        run = read_run(asked.folder.parent / "out" / group)
        assert run.record.benchmark.group == group
        named = {spec.name for spec in find(group).tasks}
        assert {sample.task for sample in run.samples()} == named
    assert not [sample for sample in asked.samples.values() if sample.unanswered]
    assert {sample.kind for sample in asked.samples.values()} == {"gen", "mc", "prob", "roll"}


def test_texts_and_their_scores_are_those_of_stock_lm_eval(asked: Asked) -> None:
    found = [(sample.response, logged["resps"][0][0]) for sample, logged in asked.pairs("gen")]
    assert len(found) > 40
    assert [ours for ours, _ in found] == [stock for _, stock in found]
    assert len({ours for ours, _ in found}) > len(found) / 2
    for task in asked.tasks("gen"):
        assert numbers(asked.results[task]) == pytest.approx(numbers(asked.stock["results"][task]), nan_ok=True)


def test_choices_and_accuracies_are_those_of_stock_lm_eval(asked: Asked) -> None:
    """ChatML's opening of a reply ends in a line break, which stock lm_eval scores as the choice's beginning."""
    model, tokenizer = plain(asked.folder)
    chosen = []
    for sample, logged in asked.pairs("mc"):
        ours = [sum(values) for values in sample.token_logprobs.values()]
        stock = [answer[0] for answer in logged["filtered_resps"]]
        context = logged["arguments"][0][0]
        moved = log_prob(model, tokenizer, context.rstrip(), "\n") if context.endswith("assistant\n") else 0.0
        assert [value + moved for value in ours] == pytest.approx(stock, abs=TOLERANCE)
        chosen.append(ours.index(max(ours)))
    assert len(set(chosen)) > 1
    for task in asked.tasks("mc"):
        assert numbers(asked.results[task]) == numbers(asked.stock["results"][task])


def test_documents_are_those_of_stock_lm_eval_but_for_a_bos(asked: Asked) -> None:
    """Where the tokenizer writes one, stock lm_eval scores it as the document's first token: tasks/README.md."""
    model, tokenizer = plain(asked.folder)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    writes_bos = tokenizer.encode("a")[0] == start
    assert writes_bos == asked.shape.writes_bos
    for sample, logged in asked.pairs("roll"):
        (ours,) = [sum(values) for values in sample.token_logprobs.values()]
        (stock,) = logged["filtered_resps"]
        ids = tokenizer.encode(logged["target"], add_special_tokens=False)
        expected = [summed(model, [*[start] * num, *ids], num_context=1) for num in (1, 2 if writes_bos else 1)]
        assert [ours, stock] == pytest.approx(expected, rel=RELATIVE)


def plain(folder: Path) -> tuple[Any, Any]:
    """The folder as plain transformers loads it."""
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def log_prob(model: Any, tokenizer: Any, context: str, answer: str) -> float:
    """The log-probability of a text behind another, whose special tokens are written already."""
    front, behind = (tokenizer.encode(text, add_special_tokens=False) for text in (context, answer))
    return summed(model, [*front, *behind], num_context=len(front))


def summed(model: Any, ids: Sequence[int], *, num_context: int) -> float:
    with torch.no_grad():
        values = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    places = range(num_context, len(ids))
    return float(sum(values[place - 1, ids[place]] for place in places))
