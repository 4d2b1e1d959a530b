"""Many low-rank edits side by side give what each gives alone, as a change of the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.model.activations import replaced
from mmforget.model.encode import Encoded, encode
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import adapters_off
from mmforget.model.scoring import Wanted, look, score
from mmforget.model.stack import Factors, Stack, attached, first_edited_layer
from tests.helpers import tiny_image

NUM_EDITS, RANK, SCALING = 3, 2, 0.5
WANTED = ("layers.1.mlp.down_proj", "layers.1.self_attn.q_proj")
QUESTIONS = ("what is the name?", "what is the town?", "who pays for it in the year 1987?")
ANSWERS = (" Anna Meier.", " she lives in Bern.", " the green cross.")
PACKED = pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])


@pytest.fixture(params=["llava", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found: LoadedModel = request.getfixturevalue(request.param)
    return found


def make_stack(loaded: LoadedModel, *, seed: int = 0) -> Stack:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    layers = {name: one for name, one in loaded.core.named_modules() if name.endswith(WANTED) and "vision" not in name}
    factors = {
        name: [Factors(drawn(RANK, one.in_features), drawn(one.out_features, RANK)) for _ in range(NUM_EDITS)]
        for name, one in layers.items()
    }
    names = tuple(f"edit {number}" for number in range(NUM_EDITS))
    return Stack(names, factors, SCALING, 0.0, first_edited_layer(loaded.core, list(factors)), None)


@contextmanager
def weights_changed(loaded: LoadedModel, stack: Stack, edit: int | None) -> Iterator[None]:
    """The model with one edit in its weights, or none."""
    with ExitStack() as changes:
        for name, factors in stack.factors.items() if edit is not None else ():
            module = loaded.core.get_submodule(name)
            added = SCALING * factors[edit or 0].up @ factors[edit or 0].down
            changes.enter_context(replaced(module, weight=module.weight + added))
        yield


def sequences(loaded: LoadedModel) -> list[Encoded]:
    """Every question about three pictures, or none, each several times under other edits, in no order."""
    found = []
    for number in range(3 * len(QUESTIONS)):
        images = [tiny_image(number % 3)] if loaded.is_multimodal else []
        context = ("<image>\n" if images else "") + QUESTIONS[number // 3]
        found.append(encode(loaded, context, ANSWERS[number % 3], images))
    return [one.under(edit) for one in found for edit in (1, None, 0, 2)]


def alone(loaded: LoadedModel, stack: Stack, rows: Sequence[Encoded]) -> list[Tensor]:
    """Log-probs of each row, one at a time, without sharing anything."""
    found = []
    for row in rows:
        with weights_changed(loaded, stack, row.edit), torch.no_grad():
            found.append(score(loaded, [row.under(None)], packed=False).token_logprobs[0])
    return found


@PACKED
def test_a_mixed_batch_is_scored_as_each_alone(loaded: LoadedModel, packed: bool) -> None:
    stack, rows = make_stack(loaded), sequences(loaded)
    wanted = alone(loaded, stack, rows)
    with attached(loaded, stack, fingerprint="all") as stacked, torch.no_grad():
        scored = score(stacked, rows, packed=packed)
    for found, mask, one in zip(scored.token_logprobs, scored.mask, wanted, strict=True):
        assert found[mask].numpy() == pytest.approx(one.numpy(), abs=1e-5)
    base, edited = (torch.stack([row.sum() for row in wanted[start::4]]) for start in (1, 0))
    assert (base - edited).abs().max() > 0.1


@PACKED
def test_hidden_states_are_those_of_each_alone(loaded: LoadedModel, packed: bool) -> None:
    stack, rows = make_stack(loaded), sequences(loaded)[:8]
    with attached(loaded, stack, fingerprint="all") as stacked, torch.no_grad():
        found = look(stacked, rows, wanted=Wanted(layers=(0, 1)), packed=packed)
    for row, mask, states in zip(rows, found.scored.mask, found.values[-1], strict=True):
        with weights_changed(loaded, stack, row.edit), torch.no_grad():
            own = look(loaded, [row.under(None)], wanted=Wanted(layers=(0, 1)), packed=False).values[-1][0]
        assert states[mask].numpy() == pytest.approx(own.numpy(), abs=1e-4)


def test_off_and_outside_the_model_is_the_one_before(loaded: LoadedModel) -> None:
    stack, rows = make_stack(loaded), sequences(loaded)[:4]
    bare = [row.under(None) for row in rows]
    hooks = sum(len(module._forward_hooks) for module in loaded.core.modules())
    with torch.no_grad():
        before = score(loaded, rows).token_logprobs
        with attached(loaded, stack, fingerprint="all") as stacked:
            with adapters_off(stacked):
                assert torch.equal(score(stacked, rows).token_logprobs, before)
            assert not torch.equal(score(stacked, rows).token_logprobs, before)
            assert torch.equal(score(stacked, bare).token_logprobs, score(loaded, bare).token_logprobs)
        assert torch.equal(score(loaded, rows).token_logprobs, before)
    assert sum(len(module._forward_hooks) for module in loaded.core.modules()) == hooks


@PACKED
def test_gradients_are_those_of_the_weights(loaded: LoadedModel, packed: bool) -> None:
    """By the factors, those of the full matrix taken to them: down: up' g, up: g down'."""
    stack, rows = make_stack(loaded), sequences(loaded)[:8]
    factors = [part.requires_grad_() for edits in stack.factors.values() for one in edits for part in one]
    with attached(loaded, stack, fingerprint="all") as stacked:
        score(stacked, rows, packed=packed).token_logprobs.sum().backward()
    assert all(part.grad is not None for part in factors)
    for edit in range(NUM_EDITS):
        own = [row.under(None) for row in rows if row.edit == edit]
        modules = {name: loaded.core.get_submodule(name) for name in stack.factors}
        with weights_changed(loaded, stack, edit):
            for module in modules.values():
                module.weight.requires_grad_()
            score(loaded, own, packed=False).token_logprobs.sum().backward()
        for name, module in modules.items():
            grad = SCALING * module.weight.grad
            module.weight.requires_grad_(False)
            module.weight.grad = None
            down, up = stack.factors[name][edit]
            for found, wanted in ((down.grad, up.detach().T @ grad), (up.grad, grad @ down.detach().T)):
                assert torch.linalg.norm(found - wanted) <= 1e-5 * torch.linalg.norm(wanted)


@PACKED
@pytest.mark.parametrize("broken", range(NUM_EDITS))
def test_numbers_that_are_not_finite_stay_with_their_edit(loaded: LoadedModel, packed: bool, broken: int) -> None:
    stack, rows = make_stack(loaded), sequences(loaded)
    sound = [row for row in rows if row.edit != broken]

    def result(asked: Sequence[Encoded]) -> list[Tensor]:
        """What is seen of the sound edits: log-probs of their rows, and gradients by their factors."""
        own = [
            part.detach().clone().requires_grad_()
            for edits in stack.factors.values()
            for edit, one in enumerate(edits)
            if edit != broken
            for part in one
        ]
        parts = iter(own)
        factors = {
            name: [one if edit == broken else Factors(next(parts), next(parts)) for edit, one in enumerate(edits)]
            for name, edits in stack.factors.items()
        }
        with attached(loaded, replace(stack, factors=factors), fingerprint="all") as stacked:
            scored = score(stacked, asked, packed=packed)
        scored.token_logprobs.sum().backward()
        counts = [asked[at].edit != broken for at in range(len(asked))]
        return [scored.token_logprobs[counts].detach(), *(part.grad for part in own if part.grad is not None)]

    wanted = result(sound)
    for edits in stack.factors.values():
        edits[broken].up.fill_(torch.nan)
    found = result(rows)
    assert len(found) == len(wanted) == 1 + 4 * (NUM_EDITS - 1)
    for one, other in zip(found, wanted, strict=True):
        assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(other)


def test_a_quantised_layer_and_one_outside_the_decoder_are_refused(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", load_in_4bit=True))
    names = [name for name, _ in loaded.core.named_modules()]
    down = next(name for name in names if name.endswith("layers.1.mlp.down_proj"))
    with pytest.raises(UserError, match=r"down_proj is quantised .*load_in_4bit"):
        first_edited_layer(loaded.core, [down])
    with pytest.raises(UserError, match="is in none"):
        first_edited_layer(
            loaded.core, [next(name for name in names if name.endswith("multi_modal_projector.linear_1"))]
        )


def test_an_edit_that_is_not_there_is_named(llama: LoadedModel) -> None:
    with pytest.raises(UserError, match="'edit 7' is not among the 3 edits"):
        make_stack(llama).number("edit 7")
