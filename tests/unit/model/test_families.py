"""Every supported architecture scores, packs, trains and generates as its plain forward does, tiny and random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import TOLERANCE, encode_all, largest_difference, one_image, plain_logprobs, text_only
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    OPTConfig,
    PhiConfig,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmforget.model.encode import encode_prompt
from mmforget.model.families import find_family, text
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from tests.helpers import tiny_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
PACKED = {
    "llama": (LlamaConfig, {}),
    "mistral": (MistralConfig, {"sliding_window": None}),
    "qwen2": (Qwen2Config, {}),
    "gpt_neox": (GPTNeoXConfig, {}),
    "phi": (PhiConfig, {}),
}
PLAIN = {
    "windowed mistral": (MistralConfig, {"sliding_window": 8}),
    "dynamic rope": (LlamaConfig, {"rope_parameters": DYNAMIC}),
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "opt": (OPTConfig, {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    # Caps its logits and windows every other layer.
    "gemma2": (Gemma2Config, {"head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 2.0}),
}


def build(folder: Path, kind: type, **settings: Any) -> ModelSpec:
    tokenizer = tiny_tokenizer()
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    config = kind(**({} if kind is GPT2Config else SIZES), vocab_size=len(tokenizer), **ids, **settings)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4) if weight.ndim > 1 else None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelSpec(str(folder))


@pytest.mark.parametrize("name", [*PACKED, *PLAIN])
def test_text_models(name: str, tmp_path: Path) -> None:
    kind, settings = (PACKED | PLAIN)[name]
    loaded = load_model(build(tmp_path, kind, **settings))
    assert loaded.family is text
    assert loaded.family.packs(loaded.core.config) == (name in PACKED)
    questions = text_only()
    wanted = [plain_logprobs(loaded, question).detach() for question in questions]
    encoded = encode_all(loaded, questions)
    for packed in (True, False):
        with torch.no_grad():
            scored = score(loaded, encoded, packed=packed, want_logits=True)
        assert largest_difference(scored.token_logprobs, wanted) < TOLERANCE
        assert scored.logits is not None
    prompts = [encode_prompt(loaded, question.context) for question in questions[::4]]
    texts = []
    for prompt in prompts:
        (ids,) = loaded.model.generate(torch.tensor([prompt.ids]), max_new_tokens=6, do_sample=False)
        texts.append(loaded.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True))
    assert generate(loaded, prompts, max_new_tokens=6) == texts
    adapted = attach(loaded, LoraSettings(r=2))
    score(adapted, encoded).token_logprobs.sum().backward()
    assert all(weight.grad is not None for weight in adapted.trainable().values())


TOWERS = {
    "clip": (CLIPVisionConfig, "default", 1, -2, 16),
    "clip full": (CLIPVisionConfig, "full", 1, -1, 17),
    "siglip": (SiglipVisionConfig, "full", 0, -1, 16),
    "two layers": (CLIPVisionConfig, "default", 1, [-2, -1], 16),
}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("language", ["qwen2", "mistral", "windowed mistral"])
def test_llava_with_other_parts(tower: str, language: str, tmp_path: Path) -> None:
    kind, strategy, extra, layer, num_tokens = TOWERS[tower]
    text_kind, settings = (PACKED | PLAIN)[language]
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    vision = kind(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=48, patch_size=12
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_kind(**SIZES, vocab_size=len(tokenizer), pad_token_id=0, **settings),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=layer,
        vision_feature_select_strategy=strategy,
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3) if weight.ndim > 1 else None
    model.save_pretrained(tmp_path)
    size = {"height": 48, "width": 48}
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=size),
        tokenizer=tokenizer,
        patch_size=12,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=extra,
    ).save_pretrained(tmp_path)
    loaded = load_model(ModelSpec(str(tmp_path)))
    assert find_family(loaded.core.config) is loaded.family
    assert loaded.family.packs(loaded.core.config) == (language in PACKED)
    questions = one_image(num_images=2)
    encoded = encode_all(loaded, questions)
    assert len(encoded[0].image_at) == num_tokens
    with torch.no_grad():
        wanted = [plain_logprobs(loaded, question) for question in questions]
        for packed in (True, False):
            assert largest_difference(score(loaded, encoded, packed=packed).token_logprobs, wanted) < TOLERANCE
