"""Rows that a method writes itself: what their divergence covers, against plain Hugging Face forwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from mmforget.errors import PluginError, UserError
from mmforget.methods.base import Divergence, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean
from mmforget.methods.material import Material, concept_from
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.training import draws
from mmforget.training.batches import Batch, Batches, Drawn, Fixed
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import make_sources
from mmforget.training.written import Written, num_text_tokens, vocabulary_without
from mmforget.types import Example

ROWS = Batch(rows=(0, 1))
DRIFT = Divergence("written")


@dataclass(frozen=True)
class Writer:
    """Trains on the first rows as they are, with what they hold of `number` left out of the divergence."""

    alignment: Literal["answer", "released"] = "answer"

    @property
    def requests(self) -> tuple[Request, ...]:
        return (Scores("written"), DRIFT)

    @property
    def sources(self) -> tuple[Source, ...]:
        words = {"rows": self.build, "silent_words": lambda material: ["town"]}
        return (Source(name="written", draw="epoch", alignment=self.alignment, **words),)

    def build(self, material: Material) -> list[Example]:
        return [replace(row, extra={"unkept": "number"}) for row in material.forget[:2]]

    def loss(self, step: Step) -> dict[str, Tensor]:
        return {"kl": token_mean(step[DRIFT].token_kl, step[DRIFT].mask)}


def objective(loaded: LoadedModel, examples: Sequence[Example], method: Writer) -> Unlearn:
    sources = make_sources(loaded, Material(forget=examples), method=method, name="writer", append_eos=True)
    made = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=2)
    return made


def written(made: Unlearn) -> Written:
    found = made.rows["written"].written
    assert found is not None
    return found


def distributions(loaded: LoadedModel, item: Encoded) -> Tensor:
    """Log-softmax of the model's own forward at every position: float32 [length, V]."""
    ids = torch.tensor([item.ids])
    pixels = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values
    logits = loaded.core(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
    found: Tensor = logits.float().log_softmax(-1)
    return found


def divergences(loaded: LoadedModel, item: Encoded, vocabulary: Tensor) -> Tensor:
    """KL(adapters off || on) at every position, summed over some of the vocabulary: float32 [length]."""
    with torch.no_grad():
        now = distributions(loaded, item)
        with loaded.model.disable_adapter():
            before = distributions(loaded, item)
    return (before.exp() * (before - now) * vocabulary).sum(-1)


def test_the_words_left_out_are_their_tokens_with_and_without_a_blank(llava: LoadedModel) -> None:
    kept = vocabulary_without(llava, words=["town"])
    silent = {*llava.token_ids("town"), *llava.token_ids(" town")}
    assert set((~kept).nonzero().flatten().tolist()) == silent
    assert vocabulary_without(llava, words=[]).all()


def test_paper_alignment_covers_the_answer_but_for_the_text_left_out(
    adapted: LoadedModel, examples: list[Example]
) -> None:
    """The answer's own positions, each the distribution that predicts it, without the tokens of "number"."""
    made = objective(adapted, examples, Writer())
    expected, left_out = [], 0
    for item, row in zip(written(made).encoded, examples, strict=False):
        kl = divergences(adapted, item, written(made).vocabulary)
        texts = [adapted.tokenizer.decode(token) for token in item.ids]
        start = next(at for at in range(len(item)) if "".join(texts[item.num_context : at + 1]).endswith("number"))
        at = start
        while "number" not in "".join(texts[at : start + 1]):
            at -= 1
        unkept = set(range(at, start + 1))
        left_out += len(unkept)
        assert "number" in row.answer
        expected += [kl[at - 1] for at in range(item.num_context, len(item)) if at not in unkept]
    step = made.step(ROWS)
    assert int(step[Scores("written")].mask.sum()) - int(step[DRIFT].mask.sum()) == left_out
    assert made.loss(ROWS).total.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-3, abs=1e-7)


def test_released_alignment_covers_the_start_of_the_sequence(adapted: LoadedModel, examples: list[Example]) -> None:
    """As many logits from the start as the text has tokens, an image counting one: few or none are of the answer."""
    made = objective(adapted, examples, Writer("released"))
    step = made.step(ROWS)
    expected = []
    for place, item in enumerate(written(made).encoded):
        num_text = len(item) - sum(item.image_sizes) + len(item.images)
        assert num_text_tokens(item) == num_text
        kl = divergences(adapted, item, written(made).vocabulary)
        columns = step[DRIFT].mask[place].nonzero().flatten().tolist()
        assert max(columns) < num_text < len(item)
        expected += [kl[column] for column in columns]
        assert int(step[Scores("written")].mask[place].sum()) == item.num_answer
    assert made.loss(ROWS).total.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-3, abs=1e-7)


def test_a_text_that_the_answer_does_not_hold_is_a_fault_of_the_method(
    llava: LoadedModel, examples: list[Example]
) -> None:
    class Wrong(Writer):
        def build(self, material: Material) -> list[Example]:
            return [replace(material.forget[0], extra={"unkept": "elsewhere"})]

    with pytest.raises(PluginError, match="does not hold the text 'elsewhere'"):
        objective(llava, examples, Wrong())


def test_a_divergence_needs_adapters(llava: LoadedModel, examples: list[Example]) -> None:
    material = Material(forget=examples)
    sources = make_sources(llava, material, method=Writer(), name="writer", append_eos=False)
    with pytest.raises(UserError, match="train with LoRA"):
        Unlearn(Scoring(llava), Writer(), sources.rows, has_adapters=False).prepare(batch_size=2)


def test_benign_partners_are_paired_or_drawn_anew() -> None:
    """Paired: row k goes with partner 2 - k, in whatever order rows come. Random: in range, others every epoch."""
    settings = TrainSettings(batch_size=3, order="rows", seed=3)
    paired = Batches(["a", "b", "c"], settings=settings, partners={"benign": Fixed((2, 1, 0))})
    assert [2 - row for row in paired[0].rows] == list(paired[0].partners["benign"])
    several = {"benign": Drawn(5, (draws.BENIGN,)), "own": Drawn(5, draws.own_stream("own"))}
    rows = [str(row) for row in range(30)]
    drawn = Batches(rows, settings=replace(settings, batch_size=30), partners=several)
    first = drawn[0].partners
    drawn.epoch = 1
    second = drawn[0].partners
    assert {row for found in (first, second) for name in several for row in found[name]} == set(range(5))
    assert len({first["benign"], second["benign"], first["own"], second["own"]}) == 4


def test_a_concept_is_read_from_a_mapping() -> None:
    """A fact in one text answers "Tell me about NAME."."""
    found = concept_from({"name": "Bimbo", "facts": ["Bimbo is a cat.", ("Where?", "Rome.")]}, source="here")
    assert found.facts == (("Tell me about Bimbo.", "Bimbo is a cat."), ("Where?", "Rome."))
    with pytest.raises(PluginError, match="here: a concept is a mapping with `name`"):
        concept_from({"title": "x"}, source="here")
    with pytest.raises(PluginError, match="neither a text nor a question"):
        concept_from({"name": "x", "neighbours": [("one",)]}, source="here")
