"""SIU on a real model: which tokens and words its divergence leaves out, and how small the released one is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmforget.methods.base import Divergence, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.losses import token_mean, token_mean_nll
from mmforget.methods.material import Concept, Material
from mmforget.model.encode import Encoded
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.sources import make_sources
from mmforget.training.written import Written
from mmforget.types import Example
from tests.helpers import tiny_image, tiny_llava
from tests.toy_steps import loss

CONCEPT = Concept(
    name="Anna Meier",
    facts=(("where does she live?", "she lives in the town of Bern."),),
    neighbours=(("who pays?", "the green cross pays."),),
    unseen="John Green",
    look="a small house",
)
SHOWN = Example("anna/0", "Anna Meier", "<image>\nwho is it?", " this is Anna Meier.", (tiny_image(1),))
NAME, LOOK, FACT, OTHER = range(4)
ROWS = Batch(rows=(NAME, LOOK, FACT, OTHER))
SCORES, DRIFT = Scores("written"), Divergence("written")


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model that has moved a little from where it was, by an adapter."""
    folder = tiny_llava(tmp_path_factory.mktemp("llava"))
    loaded = attach(load_model(ModelSpec.parse(f"pretrained={folder}")), LoraSettings(r=4, alpha=8))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in loaded.trainable().values():
            weight += 0.05 * torch.randn_like(weight)
    return loaded


def objective(llava: LoadedModel, args: str) -> Unlearn:
    """One row of each kind."""
    method = build("siu", f"names=1,looks=1,facts=1,others=1,{args}")
    material = Material(forget=[SHOWN], concepts=[CONCEPT])
    sources = make_sources(llava, material, method=method, name="siu", append_eos=True)
    made = Unlearn(Scoring(llava), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=4)
    return made


def written(made: Unlearn) -> Written:
    found = made.rows["written"].written
    assert found is not None
    return found


def divergence(llava: LoadedModel, item: Encoded, *, vocabulary: Tensor) -> Tensor:
    """sum over kept v of p_before log(p_before / p_now) at every position, by plain forwards: float32 [length]."""

    def distribution() -> Tensor:
        ids = torch.tensor([item.ids])
        shown = list(item.images)
        pixels = llava.processor.image_processor(shown, return_tensors="pt") if shown else {}
        logits: Tensor = llava.core(input_ids=ids, attention_mask=torch.ones_like(ids), **pixels).logits[0]
        return logits.float().log_softmax(-1)

    with torch.no_grad():
        now = distribution()
        with llava.model.disable_adapter():
            before = distribution()
    return ((before.exp() * (before - now))[:, vocabulary]).sum(-1)


def left_out(llava: LoadedModel, made: Unlearn, step: Step, row: int) -> str:
    """The text of the answer's tokens that get no divergence."""
    item, keep, mask = written(made).encoded[row], step[DRIFT].mask[row], step[SCORES].mask[row]
    tokens = [item.ids[item.num_context + at] for at in range(item.num_answer) if mask[at] and not keep[at]]
    return str(llava.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def test_what_contradicts_gets_no_divergence_and_the_rest_the_full_one(llava: LoadedModel) -> None:
    """The invented name; the whole denial; nothing of a fact about the concept or about others."""
    made = objective(llava, "variant=paper")
    step = made.step(ROWS)
    assert left_out(llava, made, step, NAME) == "John Green"
    assert left_out(llava, made, step, LOOK) == "No, this is a small house."
    assert left_out(llava, made, step, FACT) == left_out(llava, made, step, OTHER) == ""
    for row, item in enumerate(written(made).encoded):
        expected = divergence(llava, item, vocabulary=written(made).vocabulary)
        # The position before a token is the one that predicts it.
        wanted = expected[item.num_context - 1 : len(item) - 1]
        assert torch.allclose(step[DRIFT].token_kl[row, : item.num_answer], wanted, rtol=1e-3, atol=1e-6)


def test_the_names_leave_the_vocabulary(llava: LoadedModel) -> None:
    made = objective(llava, "variant=paper")
    silent = {int(token) for token in (~written(made).vocabulary).nonzero()}
    for text in ("Anna Meier", "Anna", " Meier"):
        assert set(llava.token_ids(text)) - {llava.tokenizer.bos_token_id} <= silent
    assert not set(llava.token_ids(" river")) & silent
    assert made.step(ROWS)[DRIFT].num_vocabulary == len(written(made).vocabulary) - len(silent)


def test_paper_is_weighed_and_averaged_over_kept_answer_tokens(llava: LoadedModel) -> None:
    made = objective(llava, "variant=paper")
    step = made.step(ROWS)
    nll = token_mean_nll(step[SCORES]).item()
    kl = step[DRIFT].token_kl[step[DRIFT].mask].mean().item()
    assert made.loss(ROWS).total.item() == pytest.approx(0.9 * nll + 0.75 * kl, rel=1e-5)


def test_released_is_a_divergence_a_token_divided_by_the_vocabulary(llava: LoadedModel) -> None:
    """The sum over entries over (positions x vocabulary); per token it is num_vocabulary times as much."""
    made = objective(llava, "variant=released")
    step = made.step(ROWS)
    total, parts = loss(made.method, step)
    entries, num_positions = 0.0, 0
    for row, item in enumerate(written(made).encoded):
        columns = step[DRIFT].mask[row].nonzero().flatten().tolist()
        # From the first position on, unshifted, prompt and picture included.
        assert columns[0] == 0
        assert max(columns) < len(item) - sum(item.image_sizes) + len(item.images)
        entries += divergence(llava, item, vocabulary=written(made).vocabulary)[columns].sum().item()
        num_positions += len(columns)
    num_vocabulary = int(written(made).vocabulary.sum())
    assert parts["kl"] == pytest.approx(entries / (num_positions * num_vocabulary), rel=1e-3)
    per_token = token_mean(step[DRIFT].token_kl, step[DRIFT].mask).item()
    assert per_token / parts["kl"] == pytest.approx(num_vocabulary, rel=1e-5)
    assert parts["nll"] == pytest.approx(token_mean_nll(step[SCORES]).item())
    assert total.item() == pytest.approx(parts["nll"] + parts["kl"])


def test_the_divergence_has_a_gradient_and_the_reference_none(llava: LoadedModel) -> None:
    made = objective(llava, "alpha=0")
    made.loss(ROWS).total.backward()
    gradients = [weight.grad for weight in llava.trainable().values() if weight.grad is not None]
    assert any(bool(gradient.abs().sum() > 0) for gradient in gradients)
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_the_same_rows_whatever_the_process(llava: LoadedModel, tmp_path: Path) -> None:
    """A resumed training finds its rows again: nothing in them depends on a hash seed."""
    first, second = (objective(llava, "variant=paper") for _ in range(2))
    assert [one.ids for one in written(first).encoded] == [one.ids for one in written(second).encoded]
