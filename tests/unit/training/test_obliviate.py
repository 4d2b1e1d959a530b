"""OBLIVIATE: its three terms by hand and against plain forwards, and where its words and rows come from."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.base import Comparison, LogitStats, Request, Scores, Step, WordStats
from mmforget.methods.build import build
from mmforget.methods.material import Concept, Material
from mmforget.methods.obliviate import is_silent, most_likely_before, not_silent, squared, zeroed
from mmforget.model import head
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.training.batches import Batch
from mmforget.training.many import obstacle
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.toy_steps import loss, scored
from tests.unit.training.test_training_preferences import assert_same, gradients, plain_logits

BATCH = Batch(rows=(0, 1), partners={"retain": (3, 2), "facts": (1, 0), "generic": (0, 0)})
SILENT = torch.tensor([False, True, True])
LOGITS = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]).log()


def test_the_mask_by_hand() -> None:
    """All but the second and third word have 1/2 and 1/5."""
    found = not_silent(LOGITS, torch.tensor([0, 1]), SILENT)
    assert found.tolist() == pytest.approx([math.log(2), math.log(5)])
    assert is_silent(LOGITS, torch.tensor([0, 1]), SILENT).tolist() == [0.0, 1.0]


def test_the_mask_is_the_divergence_from_what_is_left() -> None:
    """In value and gradient KL(q || p), q the own distribution without silent words, constant."""
    logits = torch.randn((4, 9), generator=torch.Generator().manual_seed(0)).requires_grad_()
    silent = torch.arange(9) % 4 == 1
    left = logits.detach().masked_fill(silent, -torch.inf).softmax(-1)
    wanted = functional.kl_div(logits.log_softmax(-1), left, reduction="none").sum(-1)
    found = not_silent(logits, torch.zeros(4, dtype=torch.long), silent)
    torch.testing.assert_close(found, wanted)
    ours, theirs = (torch.autograd.grad(one.sum(), logits, retain_graph=True)[0] for one in (found, wanted))
    torch.testing.assert_close(ours, theirs)


def test_the_released_mask_sets_logits_to_0() -> None:
    """Logits 0 and log 1/4 of which the second counts as 0: 1/2 each against 4/5 and 1/5."""
    logits = torch.tensor([[0.0, math.log(0.25)]])
    found = zeroed(logits, torch.tensor([0]), torch.tensor([False, True]))
    assert found.item() == pytest.approx(0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2))


def test_the_terms_by_hand() -> None:
    """Of the mask the mean of 1 and 3, whose tokens are silent; 0.2 times the mean of 2 and 4, 0.7 times that of 1."""
    found: dict[Request, object] = {
        WordStats("forget", not_silent): torch.tensor([[1.0, 9.0, 3.0]]),
        WordStats("forget", is_silent): torch.tensor([[1.0, 0.0, 1.0]]),
        Scores("retain", "all"): scored([-1.0, -1.0]),
        LogitStats("retain", squared, compared=True, positions="all"): torch.tensor([[2.0, 4.0]]),
        Scores("facts"): scored([-1.0]),
        Comparison("facts", most_likely_before): torch.tensor([[1.0]]),
    }
    assert loss(build("obliviate"), Step(found)).terms == pytest.approx({"mask": 2.0, "distill": 0.6, "facts": 0.7})


def made(loaded: LoadedModel, examples: list[Example], args: str = "") -> Unlearn:
    method = build("obliviate", args)
    material = Material(forget=examples[:4], retain=examples[8:12])
    sources = make_sources(loaded, material, method=method, name="obliviate", append_eos=False)
    return Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)


@pytest.mark.parametrize("variant", ["clean", "released"])
def test_the_loss_is_that_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = made(adapted, examples, f"names=name;town,variant={variant}")
    objective.prepare(batch_size=2)
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    silent = torch.zeros(adapted.core.config.get_text_config().vocab_size, dtype=torch.bool)
    for word in ("name", " name", "town", " town"):
        silent[adapted.tokenizer.encode(word, add_special_tokens=False)] = True
    masks: list[Tensor] = []
    for item in objective.rows["forget"].of(BATCH):
        logits, ids = plain_logits(adapted, item), torch.tensor(item.ids[1:])
        if variant == "clean":
            logits, ids = logits[item.num_context - 1 :], ids[item.num_context - 1 :]
            masks.append(-logits.softmax(-1)[:, ~silent].sum(-1).log()[silent[ids]])
        else:
            wanted = torch.where(silent, torch.zeros(()), logits).softmax(-1)
            masks.append((wanted * (wanted.log() - logits.log_softmax(-1))).sum(-1))
    apart: list[Tensor] = []
    for item in objective.rows["retain"].of(BATCH):
        with torch.no_grad(), adapted.model.disable_adapter():
            before = plain_logits(adapted, item)
        apart.append((plain_logits(adapted, item) - before).square().mean(-1))
    facts: list[Tensor] = []
    for item in objective.rows["facts"].of(BATCH):
        with torch.no_grad(), adapted.model.disable_adapter():
            before = plain_logits(adapted, item)[item.num_context - 1 :].argmax(-1)
        now = plain_logits(adapted, item)[item.num_context - 1 :]
        facts.append(functional.cross_entropy(now, before, reduction="none"))
    expected = torch.cat(masks).mean() + 0.2 * torch.cat(apart).mean() + 0.7 * torch.cat(facts).mean()
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 12 * len(silent))
    found = objective.loss(BATCH).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert_same(gradients(adapted, found), gradients(adapted, expected))


def test_words_are_names_of_subjects_and_their_synonyms(examples: list[Example], tmp_path: Path) -> None:
    rows = [replace(row, subject="Ann Lee") for row in examples[:2]]
    concept = Concept(name="Ann Lee", synonyms=("Annie",))
    words = build("obliviate").words(Material(forget=rows, concepts=[concept]))
    assert words == ["Ann Lee", "Ann", "Lee", "Annie"]
    (tmp_path / "words.txt").write_text("Bern\n\nold town\n")
    found = build("obliviate", {"targets": str(tmp_path / "words.txt")}).words(Material(forget=rows))
    assert found == ["Bern", "old town", "old", "town"]


def test_rows_of_files(adapted: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([["what is it?", "number 1."], ["and that?", "2."]]))
    objective = made(adapted, examples, f"names=name,generic={tmp_path / 'rows.json'},facts={tmp_path / 'rows.json'}")
    assert set(objective.rows) == {"forget", "retain", "generic", "facts"}
    objective.prepare(batch_size=2)
    assert objective.loss(BATCH).parts["distill"] > 0


def test_a_file_of_rows_that_count_for_nothing_is_not_read() -> None:
    method = build("obliviate", "names=name,generic=/nowhere/rows.json,distill_weight=0,fact_weight=0")
    assert [source.name for source in method.sources] == ["forget"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("names=name;town,targets=words.txt", "both say what to hold down"),
        ("names=name;;town", "an empty name"),
        ("names=\u039e\u03a8", r"none of the words to silence \(1: \u039e\u03a8\) stands in an answer to forget"),
        ("targets=/nowhere/words.txt", "targets=/nowhere/words.txt: cannot be read"),
        ("names=name,facts=/nowhere/facts.json", "facts=/nowhere/facts.json: cannot be read"),
    ],
)
def test_what_is_missing_is_said(adapted: LoadedModel, examples: list[Example], args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        made(adapted, examples, args)


@pytest.mark.parametrize("text", ["[]", "[1]", '[["only one"]]', "{", '{"a": "b"}'])
def test_a_file_without_pairs_is_refused(
    adapted: LoadedModel, examples: list[Example], text: str, tmp_path: Path
) -> None:
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(UserError, match=r"facts=.*\[question, answer\]"):
        made(adapted, examples, f"names=name,facts={tmp_path / 'facts.json'}")


@pytest.mark.parametrize("kind", ["image", "text", "4bit"])
def test_target_words_become_less_likely(
    kind: str, llava_folder: Path, llama_folder: Path, examples: list[Example], tmp_path: Path
) -> None:
    rows = [replace(row, context=row.context.removeprefix("<image>\n"), images=()) for row in examples]
    folder = llama_folder if kind == "text" else llava_folder
    loaded = load_model(ModelSpec(pretrained=str(folder), device="cpu", load_in_4bit=kind == "4bit"))
    rows = rows if kind == "text" else examples
    method, lora = build("obliviate", "names=name;town,fact_weight=0,distill_weight=0.01"), LoraSettings(r=2, alpha=4)
    settings = TrainSettings(lr=1e-2, max_steps=4, batch_size=4, lora=lora, schedule="constant")
    together = obstacle(loaded, method=method, settings=replace(settings, train_projector=False))
    assert (together is None) == (kind != "4bit")
    report = unlearn(
        loaded, Material(forget=rows[:4], retain=rows[8:12]), method=method, settings=settings, folder=tmp_path
    )
    lines = [json.loads(line) for line in (tmp_path / "train_log.jsonl").read_text().splitlines()]
    assert report.num_steps == 4
    assert lines[-1]["parts"]["mask"] < lines[0]["parts"]["mask"]
    assert lines[0]["parts"]["distill"] == pytest.approx(0.0, abs=1e-6)
