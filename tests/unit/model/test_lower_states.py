"""What lies below the edits is computed once for equal prompts, and what is computed above it does not change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmforget.asking import Ask
from mmforget.lm.engine import ModelEngine
from mmforget.model.activations import decoder_layers, reading
from mmforget.model.choosing import Sampling
from mmforget.model.encode import BLOCK_TOKENS, Encoded, encode, encode_prompt
from mmforget.model.feature_cache import FeatureCache
from mmforget.model.generation import generate
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import adapters_off
from mmforget.model.lower_states import LowerStates
from mmforget.model.scoring import Wanted, look, score
from mmforget.model.spec import ModelSpec
from mmforget.model.stack import Factors, Stack, attached
from tests.helpers import tiny_image, tiny_llama, tiny_llava
from tests.unit.model.test_stack import QUESTIONS, alone, make_stack, sequences


@pytest.fixture(params=["llava", "llama"])
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    found: LoadedModel = request.getfixturevalue(request.param)
    return found


def scores(loaded: LoadedModel, rows: Sequence[Encoded], lower: LowerStates | None, **settings: object) -> Tensor:
    with attached(loaded, replace(make_stack(loaded), lower=lower), fingerprint="all") as stacked, torch.no_grad():
        return score(stacked, rows, **settings).token_logprobs  # type: ignore[arg-type]


def distinct(rows: Sequence[Encoded]) -> int:
    """Tokens that sequences about one picture do not share with another, edits left out."""
    prefixes = {(one.image_keys, one.ids[: at + 1]) for one in rows for at in range(len(one))}
    return len(prefixes)


def test_scores_are_those_without_and_equal_prompts_are_computed_once(loaded: LoadedModel) -> None:
    rows, lower = sequences(loaded), LowerStates()
    wanted = scores(loaded, rows, None)
    for _ in range(3):
        assert (scores(loaded, rows, lower) - wanted).abs().max() <= 1e-5
        assert lower.num_computed == distinct(rows)
    assert lower.num_found >= 2 * distinct(rows)
    (other,) = [encode(loaded, "who else?", " nobody.")]
    scores(loaded, [*rows, other.under(2)], lower)
    assert lower.num_computed == distinct(rows) + len(other)


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_what_does_not_fit_is_computed_again(loaded: LoadedModel, share: float) -> None:
    rows, whole = sequences(loaded), LowerStates()
    wanted = scores(loaded, rows, whole)
    lower = LowerStates(int(share * whole.size_bytes))
    for _ in range(2):
        assert (scores(loaded, rows, lower) - wanted).abs().max() <= 1e-5
        assert lower.size_bytes <= lower.budget_bytes
    assert lower.num_computed > distinct(rows)


def test_gradients_are_those_without(loaded: LoadedModel) -> None:
    rows, found = sequences(loaded), []
    for lower in (None, LowerStates()):
        stack = replace(make_stack(loaded), lower=lower)
        factors = [part.requires_grad_() for edits in stack.factors.values() for one in edits for part in one]
        with attached(loaded, stack, fingerprint="all") as stacked:
            score(stacked, rows).token_logprobs.sum().backward()
        found.append([part.grad for part in factors])
    for one, other in zip(*found, strict=True):
        assert one is not None
        assert other is not None
        assert torch.linalg.norm(one - other) <= 1e-5 * torch.linalg.norm(one)


def test_hidden_states_statistics_and_the_model_before_are_those_without(loaded: LoadedModel) -> None:
    rows, found = sequences(loaded)[:8], []
    for lower in (None, LowerStates()):
        with attached(loaded, replace(make_stack(loaded), lower=lower), fingerprint="all") as stacked, torch.no_grad():
            for layers in ((1,), (0, -1)):
                wanted = Wanted(lambda stacked=stacked: adapters_off(stacked), layers=layers)
                looked = look(stacked, rows, wanted=wanted)
                found.append((looked.scored.token_logprobs, *looked.values))
    for one, other in ((found[0], found[2]), (found[1], found[3])):
        for part, same in zip(one, other, strict=True):
            assert (part - same).abs().max() <= 1e-5


@pytest.mark.parametrize("sampling", [None, Sampling()])
def test_texts_are_those_without(loaded: LoadedModel, sampling: Sampling | None) -> None:
    """Prompts that were scored before, then continued, then continued again."""
    images = [tiny_image(1)] if loaded.is_multimodal else []
    asked = [encode_prompt(loaded, ("<image>\n" if images else "") + text, images) for text in QUESTIONS]
    prompts = [one.under(edit) for one in asked for edit in (1, None, 0, 2)] * 2
    with attached(loaded, make_stack(loaded), fingerprint="all") as stacked:
        wanted = generate(stacked, prompts, max_new_tokens=5, sampling=sampling, seeds=range(len(prompts)))
    lower = LowerStates()
    scores(loaded, sequences(loaded), lower)
    with attached(loaded, replace(make_stack(loaded), lower=lower), fingerprint="all") as stacked:
        for _ in range(2):
            found = generate(stacked, prompts, max_new_tokens=5, sampling=sampling, seeds=range(len(prompts)))
            assert found == wanted
    assert lower.num_computed == distinct(sequences(loaded)) + distinct(asked)


def test_long_texts_share_the_blocks_that_they_begin_with(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_llama(tmp_path))))
    text = "who pays for the insurance? the green cross pays 120 dollars a month. " * 12
    rows = [encode(loaded, text, answer) for answer in (" yes.", " no, nobody at all.")]
    assert len(rows[0]) > 2 * BLOCK_TOKENS
    lower = LowerStates()
    wanted = scores(loaded, [row.under(1) for row in rows], None)
    assert (scores(loaded, [row.under(1) for row in rows], lower) - wanted).abs().max() <= 1e-5
    blocks = {key for row in rows for key in row.prefixes}
    assert len(blocks) < sum(len(row.prefixes) for row in rows)
    size = sum(min(len(row) - at * BLOCK_TOKENS, BLOCK_TOKENS) for row in rows[:1] for at in range(len(row.prefixes)))
    assert lower.size_bytes < 4 * 64 * (size + 2 * BLOCK_TOKENS)


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("make", [tiny_llava, tiny_llama])
def test_the_layer_of_an_edited_down_projection_runs_once_for_equal_prompts(
    make: Callable[..., Path], layer: int, tmp_path: Path
) -> None:
    """Scores, gradients and texts are those without, and so with edits that go on training inside others."""
    loaded = load_model(ModelSpec(str(make(tmp_path, num_layers=3))))
    rows, stack, lower, found = sequences(loaded), down_projections(loaded, layer=layer), LowerStates(), []
    images = [tiny_image(1)] if loaded.is_multimodal else []
    prompts = [encode_prompt(loaded, ("<image>\n" if images else "") + text, images) for text in QUESTIONS]
    asked = [one.under(edit) for one in prompts for edit in (1, None, 0)]
    factors = [part.requires_grad_() for edits in stack.factors.values() for one in edits for part in one]
    for kept in (None, lower, lower):
        inner = replace(stack, lower=kept)
        with attached(loaded, stack, fingerprint="outer"), attached(loaded, inner, fingerprint="all") as stacked:
            scored = score(stacked, rows).token_logprobs
            slopes = torch.autograd.grad(scored.sum(), factors)
            found.append((scored.detach(), slopes, generate(stacked, asked, max_new_tokens=4)))
    assert lower.num_computed == distinct(rows) + distinct(asked)
    (wanted, slopes, texts), *others = found
    for one, other_slopes, other_texts in others:
        assert (one - wanted).abs().max() <= 1e-5
        assert other_texts == texts
        for slope, other in zip(slopes, other_slopes, strict=True):
            assert torch.linalg.norm(slope - other) <= 1e-5 * torch.linalg.norm(slope)


def down_projections(loaded: LoadedModel, *, layer: int) -> Stack:
    """Three edits of one layer's down projection."""
    stack, generator = make_stack(loaded), torch.Generator().manual_seed(1)
    names = (name for name, _ in loaded.core.named_modules() if "vision" not in name)
    (wanted,) = (name for name in names if name.endswith(f"layers.{layer}.mlp.down_proj"))
    one = loaded.core.get_submodule(wanted)
    shapes = ((2, one.in_features), (one.out_features, 2))
    drawn = [Factors(*(0.2 * torch.randn(shape, generator=generator) for shape in shapes)) for _ in stack.names]
    return replace(stack, factors={wanted: drawn}, first_layer=layer)


def test_who_watches_a_lower_layer_sees_it_computed(loaded: LoadedModel) -> None:
    rows, lower = sequences(loaded)[:4], LowerStates()
    scores(loaded, rows, lower)
    stack = replace(make_stack(loaded), lower=lower)
    layer = {"0": decoder_layers(loaded.core)[0]}
    with reading(layer) as wanted, torch.no_grad():
        score(loaded, [row.under(None) for row in rows[:1]])
    with attached(loaded, stack, fingerprint="all") as stacked, reading(layer) as read, torch.no_grad():
        score(stacked, rows[:1])
    assert read["0"][0].numpy() == pytest.approx(wanted["0"][0].numpy(), abs=1e-5)


def test_an_engine_counts_each_token_once(loaded: LoadedModel) -> None:
    images = (tiny_image(1),) if loaded.is_multimodal else ()
    context = ("<image>\n" if images else "") + "who pays?"
    ask = Ask("score", "toy", context, " nobody.", (), (), row={"subject": "edit 1"}).showing(images)
    with attached(loaded, replace(make_stack(loaded), lower=LowerStates()), fingerprint="all") as stacked:
        features = FeatureCache()
        engine = ModelEngine(stacked, batch_size=2, features=features)
        first, again = engine.score([ask]), engine.score([ask])
        length = len(engine.encode(ask))
    assert first == again
    assert engine.num_tokens == 2 * length
    assert engine.num_images_encoded == len(images)


def test_of_the_last_layer_only_what_is_read_is_computed(tmp_path: Path) -> None:
    """Of three layers the middle one is edited; what the last one's feed-forward part takes in is counted."""
    loaded = load_model(ModelSpec(str(tiny_llava(tmp_path, num_layers=3))))
    rows, sizes, stack = sequences(loaded)[:8], list[int](), make_stack(loaded)
    wanted, part = alone(loaded, stack, rows), decoder_layers(loaded.core)[-1].mlp
    inner = part.forward
    part.forward = lambda x: (sizes.append(x.shape[:-1].numel()), inner(x))[1]
    read_places = {(one.edit, one.image_keys, one.ids[:at]) for one in rows for at in places(one)}
    for lower in (LowerStates(), None):
        with attached(loaded, replace(stack, lower=lower), fingerprint="all") as stacked, torch.no_grad():
            scored = score(stacked, rows)
            assert sizes[-1] == len(read_places)
            with reading({"last": decoder_layers(loaded.core)[-1]}) as read:
                score(stacked, rows)
            assert sizes[-1] == read["last"][0].shape[1] > len(read_places)
        for found, mask, one in zip(scored.token_logprobs, scored.mask, wanted, strict=True):
            assert found[mask].numpy() == pytest.approx(one.numpy(), abs=1e-5)
    with attached(loaded, stack, fingerprint="all") as stacked, torch.no_grad():
        generate(stacked, [encode_prompt(loaded, "who pays?").under(1)] * 2, max_new_tokens=2)
    assert sizes[-2:] == [1, 2]


def places(one: Encoded) -> range:
    """Lengths of what an answer's tokens are predicted from."""
    return range(one.num_context, len(one))
