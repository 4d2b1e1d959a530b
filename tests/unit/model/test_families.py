"""Text-only models, known and unknown, and LLaVA with other parts score, pack and train as their plain forward does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import TOLERANCE, encode_all, largest_difference, one_image, plain_logprobs, text_only
from transformers import (
    BloomConfig,
    CLIPVisionConfig,
    CohereConfig,
    FalconConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    Olmo2Config,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmforget.errors import UserError
from mmforget.model.encode import encode_prompt
from mmforget.model.families import find_family, language, other_text, text
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from tests.helpers import tiny_tokenizer
from tests.tiny_models import LANGUAGE, tiny_text

DYNAMIC = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
KNOWN: dict[str, tuple[type, dict[str, Any]]] = {
    "llama": (LlamaConfig, {}),
    "mistral": (MistralConfig, {"sliding_window": None}),
    "mistral whose window is longer than any text": (MistralConfig, {"sliding_window": 512}),
    "qwen2": (Qwen2Config, {}),
    "qwen3": (Qwen3Config, {"head_dim": 8}),
    "gpt_neox": (GPTNeoXConfig, {}),
    "gpt_neox one after the other": (GPTNeoXConfig, {"use_parallel_residual": False}),
    "phi": (PhiConfig, {}),
    "phi3": (Phi3Config, {}),
}
KNOWN_ALONE: dict[str, tuple[type, dict[str, Any]]] = {
    "windowed mistral": (MistralConfig, {"sliding_window": 8}),
    "windowed qwen2": (Qwen2Config, {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
    "dynamic rope": (LlamaConfig, {"rope_parameters": DYNAMIC}),
}
PASSES: dict[str, tuple[type, dict[str, Any]]] = {
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
    "opt": (OPTConfig, {"ffn_dim": 64, "word_embed_proj_dim": 16}),
    "gemma": (GemmaConfig, {"head_dim": 8}),
    "olmo2": (Olmo2Config, {}),
    "cohere, which scales its logits": (CohereConfig, {"logit_scale": 0.5}),
}
FAILS: dict[str, tuple[type, dict[str, Any]]] = {
    # Windows every other layer and caps its logits.
    "gemma2": (Gemma2Config, {"head_dim": 8, "sliding_window": 8, "final_logit_softcapping": 2.0}),
    # Attention of their own.
    "falcon": (FalconConfig, {"alibi": False}),
    "bloom": (BloomConfig, {"n_layer": 2, "n_head": 4}),
}


@pytest.mark.parametrize("name", [*KNOWN, *KNOWN_ALONE, *PASSES, *FAILS])
def test_text_models(name: str, tmp_path: Path) -> None:
    kind, settings = (KNOWN | KNOWN_ALONE | PASSES | FAILS)[name]
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path, kind, **settings))))
    assert loaded.shares_prefixes == (name in KNOWN | PASSES)
    scales_logits = name in FAILS or kind is CohereConfig
    assert loaded.family is (other_text if scales_logits else text)
    questions = text_only()
    wanted = [plain_logprobs(loaded, question).detach() for question in questions]
    encoded = encode_all(loaded, questions)
    for packed in (True, False):
        with torch.no_grad():
            scored = score(loaded, encoded, packed=packed)
        assert largest_difference(scored.token_logprobs, wanted) < TOLERANCE
    prompts = [encode_prompt(loaded, question.context) for question in questions[::4]]
    texts = []
    for prompt in prompts:
        (ids,) = loaded.model.generate(torch.tensor([prompt.ids]), max_new_tokens=6, do_sample=False)
        texts.append(loaded.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True))
    assert generate(loaded, prompts, max_new_tokens=6) == texts
    check_training(loaded, tmp_path)


def check_training(loaded: LoadedModel, folder: Path) -> None:
    """Packed and plain rows give one gradient, which reaches every linear layer but the head."""
    found = []
    for packed in (True, False):
        adapted = attach(load_model(ModelSpec(str(folder))), LoraSettings(r=2))
        for name, weight in adapted.trainable().items():
            torch.nn.init.normal_(weight, std=0.05, generator=torch.Generator().manual_seed(len(name)))
        score(adapted, encode_all(adapted, text_only()), packed=packed).token_logprobs.sum().backward()
        found.append({name: weight.grad for name, weight in adapted.trainable().items()})
    assert all(gradient is not None and gradient.any() for gradient in found[0].values())
    norm = max(float(gradient.norm()) for gradient in found[1].values())
    for name, gradient in found[0].items():
        assert float((gradient - found[1][name]).norm()) < 1e-5 * norm
    layers = {name.split(".lora_")[0].split("base_model.model.")[1] for name in found[0]}
    head = loaded.core.get_output_embeddings()
    linear = {
        name
        for name, module in loaded.core.named_modules()
        if (isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D") and module is not head
    }
    assert layers == linear


def test_every_known_type_is_tested() -> None:
    kinds = {kind.model_type for kind, _ in KNOWN.values()} | {"qwen2_vl_text", "qwen2_5_vl_text"}
    assert kinds == language.KNOWN


def test_a_known_name_says_nothing_about_custom_code() -> None:
    config = LlamaConfig(auto_map={"AutoModelForCausalLM": "modeling.Own"})
    assert find_family(config) is text
    assert find_family(config, custom_code=True) is other_text


def test_other_attention_is_left_alone(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path, LlamaConfig)), attn_implementation="eager"))
    assert not loaded.shares_prefixes
    assert loaded.core.config._attn_implementation == "eager"


TOWERS = {
    "clip": (CLIPVisionConfig, "default", 1, -2, 16),
    "clip full": (CLIPVisionConfig, "full", 1, -1, 17),
    "siglip": (SiglipVisionConfig, "full", 0, -1, 16),
    "two layers": (CLIPVisionConfig, "default", 1, [-2, -1], 16),
}
BEHIND = {
    "qwen2": (Qwen2Config, {}),
    "windowed mistral": (MistralConfig, {"sliding_window": 8}),
    "gemma, which has to pass the check": (GemmaConfig, {"head_dim": 8}),
}


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("behind", BEHIND)
def test_llava_with_other_parts(tower: str, behind: str, tmp_path: Path) -> None:
    kind, strategy, extra, layer, num_tokens = TOWERS[tower]
    text_kind, settings = BEHIND[behind]
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    vision = kind(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=48, patch_size=12
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_kind(**LANGUAGE, vocab_size=len(tokenizer), **settings),
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
    assert loaded.shares_prefixes == (behind != "windowed mistral")
    questions = one_image(num_images=2)
    encoded = encode_all(loaded, questions)
    assert len(encoded[0].image_at) == num_tokens
    with torch.no_grad():
        wanted = [plain_logprobs(loaded, question) for question in questions]
        for packed in (True, False):
            assert largest_difference(score(loaded, encoded, packed=packed).token_logprobs, wanted) < TOLERANCE


def test_a_type_that_is_no_language_model() -> None:
    with pytest.raises(UserError, match="'clip_vision_model' is neither a causal language model nor"):
        find_family(CLIPVisionConfig())
