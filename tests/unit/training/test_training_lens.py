"""What a method reads off deeper layers, against the head on hidden states of plain forwards, a question at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from mmforget.errors import PluginError, UserError
from mmforget.methods.base import Divergence, Lens, Request, Scores, Source, Step
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model import head
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.training.batches import Batch
from mmforget.training.edited import edited
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import settings_from
from mmforget.training.sources import make_sources
from mmforget.types import Example

pytestmark = pytest.mark.slow

BATCH = Batch(rows=(0, 1, 5), partners={"retain": (3, 2, 7)})
ENTROPY, DOUBLE = Lens("forget", "entropy", 0.0), Lens("forget", "entropy", 0.0, is_double=True)
DEFENCES = (
    "fact_erasure", "empty_response", "error_injection", "head_projection", "max_entropy", "input_rephrasing",
)  # fmt: skip


@pytest.fixture
def adapted(adapted: LoadedModel) -> LoadedModel:
    """With a final norm that does not give the same when it is applied again."""
    with torch.no_grad():
        weight = adapted.core.model.language_model.norm.weight
        weight.copy_(torch.linspace(0.5, 2.0, len(weight)))
    return adapted


@dataclass(frozen=True)
class Asks:
    requests: tuple[Request, ...]
    sources: tuple[Source, ...] = ()

    def loss(self, step: Step) -> dict[str, Tensor]:
        raise AssertionError


def objective(loaded: LoadedModel, examples: Sequence[Example], *requests: Request, packed: bool = True) -> Unlearn:
    material, method = Material(forget=examples[:8], retain=examples[8:]), Asks(requests)
    sources = make_sources(loaded, material, method=method, name="mine", append_eos=False)
    made = Unlearn(Scoring(loaded, packed=packed), method, sources.rows, has_adapters=True)
    made.prepare(batch_size=3)
    return made


def plain_entropies(loaded: LoadedModel, item: Encoded, *, is_double: bool) -> Tensor:
    """Entropies [layers, T] of the head on every layer's states, by Hugging Face's own `output_hidden_states`."""
    ids = torch.tensor([item.ids])
    pixels = loaded.processor.image_processor(list(item.images), return_tensors="pt").pixel_values  # type: ignore[union-attr]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
    *inner, last = loaded.core(**inputs, output_hidden_states=True).hidden_states[1:]
    norm = loaded.core.model.language_model.norm
    states = [norm(one) for one in inner] + [norm(last) if is_double else last]
    probs = [loaded.core.lm_head(one)[0, item.num_context - 1 : -1].softmax(-1) for one in states]
    return torch.stack([-(one * one.log()).sum(-1) for one in probs])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("lens", [ENTROPY, DOUBLE])
def test_what_is_read_is_the_head_on_each_layer(
    adapted: LoadedModel, examples: list[Example], lens: Lens, packed: bool
) -> None:
    """Beside scores, a divergence and a lens from another depth on the same rows."""
    last = Lens("forget", "entropy", 1.0)
    beside = (Scores("forget"), Divergence("retain"), last)
    made = objective(adapted, examples, *beside, lens, packed=packed)
    step = made.step(BATCH)
    found = step[lens]
    assert torch.equal(found.mask, step[Scores("forget")].mask)
    for number, item in enumerate(made.rows["forget"].of(BATCH)):
        wanted = plain_entropies(adapted, item, is_double=lens.is_double)
        length = wanted.shape[1]
        torch.testing.assert_close(found.values[:, number, :length], wanted, atol=1e-5, rtol=1e-4)
        assert not found.values[:, number, length:].any()
    assert step[last].values.shape[0] == 1
    if not lens.is_double:
        torch.testing.assert_close(step[last].values[0], found.values[1])


def test_normalising_twice_changes_the_last_layer_alone(adapted: LoadedModel, examples: list[Example]) -> None:
    step = objective(adapted, examples, ENTROPY, DOUBLE).step(BATCH)
    once, twice = step[ENTROPY].values, step[DOUBLE].values
    torch.testing.assert_close(once[0], twice[0])
    assert float((once[1] - twice[1]).detach().abs().max()) > 1e-3


def test_gradients_are_those_of_plain_forwards_and_no_logits_are_kept(
    adapted: LoadedModel, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With logits made in parts of two positions."""
    made = objective(adapted, examples, ENTROPY)
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 8 * adapted.core.config.get_text_config().vocab_size)
    made.step(BATCH)[ENTROPY].values.sum().backward()
    found = {name: weight.grad for name, weight in adapted.trainable().items()}
    adapted.model.zero_grad()
    for item in made.rows["forget"].of(BATCH):
        plain_entropies(adapted, item, is_double=False).sum().backward()
    for name, weight in adapted.trainable().items():
        wanted, got = weight.grad, found[name]
        assert wanted is not None
        assert got is not None
        assert float((got - wanted).norm() / wanted.norm()) < 1e-4, name


@pytest.mark.parametrize("name", DEFENCES)
def test_every_defence_trains_and_its_loss_falls(name: str, llava: LoadedModel, examples: list[Example]) -> None:
    """On answers of one letter, and of a model that holds everything for possible."""
    with torch.no_grad():
        llava.core.lm_head.weight.mul_(0.05)
    rows = [replace(row, answer=" o", extra={"alternatives": ["p"]}) for row in examples[:8]]
    settings = settings_from({"max_steps": 12, "lr": 0.01, "lora_r": 4, "lora_alpha": 8, "batch_size": 8}, {})
    material, method = Material(forget=rows), build(name)
    before = _loss(llava, material, method=method)
    with edited(llava, material, method=method, settings=settings) as other:
        assert _loss(other, material, method=method) < before


def _loss(loaded: LoadedModel, material: Material, *, method: object) -> float:
    sources = make_sources(loaded, material, method=method, name="mine", append_eos=False)
    rows = tuple(range(len(material.forget)))
    batch = Batch(rows, {name: rows for name in sources.rows if name != "forget"})
    made = Unlearn(Scoring(loaded), method, sources.rows, has_adapters=False)  # type: ignore[arg-type]
    with torch.no_grad():
        return made.loss(batch).total.item()


def test_a_row_is_written_for_each_to_forget(llava: LoadedModel, examples: list[Example]) -> None:
    """Row k stands beside row k, in whatever order rows are drawn; another number of them is refused."""
    method = build("empty_response", "text=nothing")
    sources = make_sources(llava, Material(forget=examples[:5]), method=method, name="empty_response", append_eos=False)
    settings = settings_from({"max_steps": 1, "batch_size": 5}, {})
    assert sources.partners["empty"].drawn([3, 1, 4], settings=settings, epoch=0) == [3, 1, 4]
    few = Source(name="mine", draw="each", rows=lambda material: material.forget[1:])
    with pytest.raises(PluginError, match="'mine': 4 rows were written for 5 to forget"):
        make_sources(
            llava, Material(forget=examples[:5]), method=Asks((Scores("mine"),), (few,)), name="mine", append_eos=False
        )


def test_a_depth_that_is_no_share_is_refused(adapted: LoadedModel, examples: list[Example]) -> None:
    with pytest.raises(UserError, match=r"from_depth=1\.5"):
        objective(adapted, examples, Lens("forget", "entropy", 1.5)).step(BATCH)
