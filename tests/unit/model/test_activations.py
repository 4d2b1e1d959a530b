"""What is read equals `output_hidden_states` of a plain forward pass; what is steered, such a pass with that change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import Question, encode_all, one_image, plain_logprobs, several_images, text_only
from torch import Tensor, nn
from transformers import GPTNeoXConfig, MixtralConfig, PhiConfig

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, gradients, reading, replaced, steering, watching
from mmforget.model.encode import Encoded
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach, set_trainable
from mmforget.model.packing import packed_rows, padded_batches, plain_rows, sequence_places
from mmforget.model.scoring import MAX_TOKENS, Positions, Wanted, look, score
from mmforget.model.token_stats import statistic
from tests.helpers import fresh, tiny_llama, tiny_llava
from tests.tiny_models import tiny_gemma3, tiny_idefics3, tiny_llava_next, tiny_qwen_vl, tiny_text

TOLERANCE = 1e-4
MAKE: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_llava,
    "llama": tiny_llama,
    "llava_next": tiny_llava_next,
    "qwen2_vl": tiny_qwen_vl,
    "qwen2_5_vl": lambda folder: tiny_qwen_vl(folder, version="2.5"),
    "idefics3": tiny_idefics3,
    "gemma3": tiny_gemma3,
    "gpt_neox": lambda folder: tiny_text(folder, GPTNeoXConfig),
    "phi": lambda folder: tiny_text(folder, PhiConfig),
    "mixtral": lambda folder: tiny_text(folder, MixtralConfig, num_local_experts=2, num_experts_per_tok=1),
}


@pytest.fixture(scope="module", params=MAKE)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKE[request.param](tmp_path_factory.mktemp("looked_into") / request.param)


def asked(loaded: LoadedModel) -> list[Question]:
    """Two questions of each of two pictures, or of none, as the model's own processor writes pictures."""
    if not loaded.is_multimodal:
        return text_only()[:4]
    questions = [*one_image(2)[:2], *one_image(2)[4:6]]
    return [one._replace(context=one.context.replace("<image>", str(loaded.image_text))) for one in questions]


def plain_inputs(loaded: LoadedModel, question: Question) -> dict[str, Tensor]:
    text = question.context + question.answer
    if loaded.processor is None:
        return dict(loaded.tokenizer(text, return_tensors="pt"))
    return dict(loaded.processor(text=[text], images=list(question.images), return_tensors="pt"))


def plain_states(loaded: LoadedModel, question: Question) -> tuple[Tensor, ...]:
    """`hidden_states` [1, L, H] of a plain forward pass: embeddings, then each layer's, the last one normed."""
    states: tuple[Tensor, ...] = loaded.model(**plain_inputs(loaded, question), output_hidden_states=True).hidden_states
    return states


def by_sequence(
    loaded: LoadedModel, encoded: Sequence[Encoded], calls: Sequence[Tensor], *, packed: bool
) -> list[Tensor]:
    """What was read [L, H] of each sequence, in order, wherever its tokens stood."""
    if packed and loaded.shares_prefixes:
        (call,), rows = calls, packed_rows(encoded, max_tokens=MAX_TOKENS)
        members = [member for row in rows for member in row.members]
        places = dict(zip(members, sequence_places(encoded, rows), strict=True))
        return [call[0, torch.from_numpy(places[member])] for member in range(len(encoded))]
    (rows,) = padded_batches(plain_rows(encoded), max_tokens=MAX_TOKENS)
    each = [states for call in calls for states in call]
    found = {row.members[0]: states[: row.num_tokens] for row, states in zip(rows, each, strict=True)}
    return [found[member] for member in range(len(encoded))]


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_what_is_read_are_plain_hidden_states(folder: Path, packed: bool) -> None:
    loaded = fresh(ModelSpec(str(folder), device="cpu"))
    questions = asked(loaded)
    encoded = encode_all(loaded, questions)
    layers = decoder_layers(loaded.core)
    assert len(layers) == loaded.core.config.get_text_config().num_hidden_layers
    with reading({"first": layers[0]}) as outputs, reading({"last": layers[-1]}, inputs=True) as inputs:
        score(loaded, encoded, packed=packed)
    found = by_sequence(loaded, encoded, outputs["first"], packed=packed)
    taken = by_sequence(loaded, encoded, inputs["last"], packed=packed)
    for question, output, read in zip(questions, found, taken, strict=True):
        states = plain_states(loaded, question)
        torch.testing.assert_close(output, states[1][0], atol=TOLERANCE, rtol=TOLERANCE)
        torch.testing.assert_close(read, states[-2][0], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("positions", ["answer", "all"])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_hidden_states_come_with_the_scores_where_tokens_are_predicted(
    folder: Path, packed: bool, positions: Positions
) -> None:
    """Of the first layer, by its number from either end; beside a statistic, in the order of the questions."""
    loaded = fresh(ModelSpec(str(folder), device="cpu"))
    questions = asked(loaded)
    encoded = encode_all(loaded, questions)
    first = -len(decoder_layers(loaded.core))
    wanted = Wanted(statistics=[statistic("entropy")], layers=(0, first))
    scored, (entropy, states) = look(loaded, encoded, wanted=wanted, positions=positions, packed=packed)
    assert states.shape == (*scored.mask.shape, 2, loaded.core.config.get_text_config().hidden_size)
    assert entropy.shape == scored.mask.shape
    assert torch.equal(states[:, :, 0], states[:, :, 1])
    assert not states[~scored.mask].any()
    for one, question, found in zip(encoded, questions, states, strict=True):
        begin = one.num_context if positions == "answer" else 1
        plain = plain_states(loaded, question)[1][0, begin - 1 : -1]
        torch.testing.assert_close(found[: len(plain), 0], plain, atol=TOLERANCE, rtol=TOLERANCE)


def plain_steered(loaded: LoadedModel, question: Question, *, layer: nn.Module, by: Tensor) -> Tensor:
    handle = layer.register_forward_hook(
        lambda _module, _inputs, output: (output[0] + by, *output[1:]) if isinstance(output, tuple) else output + by
    )
    try:
        return plain_logprobs(loaded, question)
    finally:
        handle.remove()


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
@torch.no_grad()
def test_what_is_steered_gives_the_scores_of_a_steered_plain_forward(folder: Path, packed: bool) -> None:
    loaded = fresh(ModelSpec(str(folder), device="cpu"))
    questions = asked(loaded)
    encoded = encode_all(loaded, questions)
    layer = decoder_layers(loaded.core)[0]
    by = torch.linspace(-1.0, 1.0, loaded.core.config.get_text_config().hidden_size)
    before = score(loaded, encoded, packed=packed)
    with steering({layer: lambda states: states + by}), reading({"it": layer}) as read:
        during = score(loaded, encoded, packed=packed)
    with reading({"it": layer}) as unsteered:
        after = score(loaded, encoded, packed=packed)
    assert torch.equal(before.token_logprobs, after.token_logprobs)
    torch.testing.assert_close(read["it"][0], unsteered["it"][0] + by)
    for row, question in zip(during.token_logprobs, questions, strict=True):
        wanted = plain_steered(loaded, question, layer=layer, by=by)
        torch.testing.assert_close(row[: len(wanted)], wanted, atol=TOLERANCE, rtol=TOLERANCE)
        assert float((wanted - plain_logprobs(loaded, question)).abs().max()) > 0.01


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "plain"])
def test_gradients_are_those_of_a_plain_forward(fresh_llava: LoadedModel, packed: bool) -> None:
    """By hidden state, summed over all that a shared token stands for; None for what comes behind the head."""
    loaded = set_trainable(fresh_llava)
    questions = asked(loaded)
    encoded = encode_all(loaded, questions)
    layers = decoder_layers(loaded.core)
    with reading({"first": layers[0], "last": layers[1]}) as read:
        value = score(loaded, encoded, packed=packed).token_logprobs.sum()
    read["head"] = [loaded.core.lm_head.weight[:1] * 2]  # type: ignore[index]
    slopes = gradients(value, read)
    assert slopes["head"] == [None]
    wanted = torch.zeros(())
    for question in questions:
        states = plain_states(loaded, question)
        total = plain_logprobs_of(loaded, states[-1], question=question)
        (slope,) = torch.autograd.grad(total, [states[1]])
        wanted = wanted + slope.sum((0, 1))
    (first,) = slopes["first"]
    assert first is not None
    torch.testing.assert_close(first.sum((0, 1)), wanted, atol=TOLERANCE, rtol=TOLERANCE)


def plain_logprobs_of(loaded: LoadedModel, states: Tensor, *, question: Question) -> Tensor:
    """Sum of the answer's log-probs, from the states behind the final norm."""
    ids = plain_inputs(loaded, question)["input_ids"][0]
    (one,) = encode_all(loaded, [question])
    logprobs = loaded.core.lm_head(states)[0].log_softmax(-1)
    return logprobs[one.num_context - 1 : -1].gather(-1, ids[one.num_context :, None]).sum()


def weight_gradients(loaded: LoadedModel, encoded: Sequence[Encoded], *, steered: nn.Module) -> dict[str, Tensor]:
    loaded.model.zero_grad()
    with steering({steered: lambda output: 1.5 * output}), reading({"it": steered}) as read:
        scored = score(loaded, encoded)
        (read["it"][0].square().mean() - scored.token_logprobs.mean()).backward()
    assert len(read["it"]) == 1
    return {name: weight.grad.clone() for name, weight in loaded.trainable().items() if weight.grad is not None}


@pytest.mark.parametrize("bits", [None, "nf4"])
@pytest.mark.parametrize("part", ["", "mlp", "self_attn.o_proj"])
def test_checkpointed_layers_are_read_once_and_steered_alike(llava_folder: Path, part: str, bits: str | None) -> None:
    """With LoRA around, of a base in float32 and in 4 bit."""
    spec = ModelSpec(str(llava_folder), device="cpu", dtype="float32", load_in_4bit=bits is not None)
    loaded = attach(load_model(spec), LoraSettings(r=2, alpha=4))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in loaded.trainable().values():
            weight += 0.05 * torch.randn_like(weight)
    loaded.model.train()
    encoded = encode_all(loaded, one_image(1))
    module = decoder_layers(loaded.core)[1].get_submodule(part)
    wanted = weight_gradients(loaded, encoded, steered=module)
    loaded.core.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    found = weight_gradients(loaded, encoded, steered=module)
    assert found.keys() == wanted.keys() == loaded.trainable().keys()
    for name, one in wanted.items():
        torch.testing.assert_close(found[name], one, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_quantised_models_are_read_as_their_plain_forward_computes(llava_folder: Path) -> None:
    loaded = load_model(ModelSpec(str(llava_folder), device="cpu", dtype="float32", load_in_4bit=True))
    questions = asked(loaded)
    encoded = encode_all(loaded, questions)
    with reading({"it": decoder_layers(loaded.core)[0]}) as read:
        score(loaded, encoded)
    for question, found in zip(questions, by_sequence(loaded, encoded, read["it"], packed=True), strict=True):
        torch.testing.assert_close(found, plain_states(loaded, question)[1][0], atol=TOLERANCE, rtol=TOLERANCE)


@torch.no_grad()
def test_what_lies_inside_an_adapted_layer_is_read_too(fresh_llava: LoadedModel) -> None:
    """The layer's output is that of its base, and its adapters', which are off by nothing but rounding."""
    loaded = attach(fresh_llava, LoraSettings(r=2, alpha=4))
    for weight in loaded.trainable().values():
        torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(0))
    layer: Any = decoder_layers(loaded.core)[0].mlp.up_proj
    parts = {"all": layer, "base": layer.base_layer, "down": layer.lora_A["default"], "up": layer.lora_B["default"]}
    encoded = encode_all(loaded, one_image(1))
    with reading({"all": layer}) as lean:
        score(loaded, encoded)
    with reading(parts) as read, reading({"all": layer}, inputs=True) as taken:
        score(loaded, encoded)
    base = nn.functional.linear(taken["all"][0], layer.base_layer.weight)
    torch.testing.assert_close(read["base"][0], base)
    torch.testing.assert_close(read["all"][0], base + 2.0 * read["up"][0])
    torch.testing.assert_close(read["all"][0], lean["all"][0], atol=1e-5, rtol=1e-5)
    assert read["down"][0].shape[-1] == 2
    assert float(read["up"][0].abs().max()) > 0.01


@torch.no_grad()
def test_hooks_are_gone_afterwards_even_where_the_pass_fails(llava: LoadedModel) -> None:
    layer = decoder_layers(llava.core)[0]
    encoded = encode_all(llava, one_image(1)[:1])
    wanted = score(llava, encoded).token_logprobs
    wrong = r"DecoderLayer puts out \[1, \d+, 64\], steered it is \[1, \d+, 3\]"
    before = num_hooks(llava)
    with pytest.raises(TypeError, match=wrong), steering({layer: lambda states: states[..., :3]}):
        score(llava, encoded)
    wrong = "tower gives a BaseModelOutputWithPooling, not a tensor"
    with pytest.raises(TypeError, match=wrong), reading({"tower": llava.core.model.vision_tower}):
        score(llava, encoded)
    with reading({"it": layer}) as read:
        assert num_hooks(llava) == before + 1
    assert torch.equal(score(llava, encoded).token_logprobs, wanted)
    assert read["it"] == []
    assert num_hooks(llava) == before


def num_hooks(loaded: LoadedModel) -> int:
    """Some are transformers' own."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in loaded.core.modules())


@torch.no_grad()
def test_watching_keeps_nothing(llava: LoadedModel) -> None:
    """Each output is handed on when it is computed, in the order of the layers."""
    seen: list[str] = []
    modules = {f"layer {number}": layer for number, layer in enumerate(decoder_layers(llava.core))}
    with watching(dict(reversed(modules.items())), take=lambda name, output: seen.append(f"{name} {output.shape[-1]}")):
        score(llava, encode_all(llava, several_images()[:1]))
    assert seen == ["layer 0 64", "layer 1 64"]


@torch.no_grad()
def test_weights_are_replaced_for_a_while(fresh_llava: LoadedModel) -> None:
    encoded = encode_all(fresh_llava, one_image(1))
    layer: Any = decoder_layers(fresh_llava.core)[0].mlp.down_proj
    wanted, before = score(fresh_llava, encoded).token_logprobs, layer.weight.clone()
    with replaced(layer, weight=torch.zeros_like(layer.weight), bias=None):
        with replaced(layer, weight=torch.ones_like(layer.weight)):
            assert bool((layer.weight == 1).all())
        assert not layer.weight.any()
        assert not torch.equal(score(fresh_llava, encoded).token_logprobs, wanted)
    assert torch.equal(layer.weight, before)
    assert torch.equal(score(fresh_llava, encoded).token_logprobs, wanted)


def test_weights_that_cannot_be_replaced(llava: LoadedModel, llava_folder: Path) -> None:
    layer: Any = decoder_layers(llava.core)[0].mlp.down_proj
    with pytest.raises(ValueError, match=r"weight is \[64, 128\], and what should replace it \[64, 1\]"):
        replaced(layer, weight=torch.zeros(64, 1)).__enter__()
    packed = load_model(replace(llava.spec, load_in_4bit=True))
    layer = decoder_layers(packed.core)[0].mlp.down_proj
    with pytest.raises(UserError, match="these are quantised"):
        replaced(layer, weight=torch.zeros(64, 128)).__enter__()


def test_a_model_without_a_list_of_layers_is_refused_in_words(llama: LoadedModel) -> None:
    from types import SimpleNamespace

    strange = SimpleNamespace(config=llama.core.config, get_decoder=lambda: nn.Linear(2, 2))
    with pytest.raises(UserError, match="type 'llama' cannot be looked into layer by layer: .* list of the 2 layers"):
        decoder_layers(strange)
