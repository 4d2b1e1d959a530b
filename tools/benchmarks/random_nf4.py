"""A LLaVA of any size with random weights, made on the device itself: language model in NF4, the rest in bfloat16."""

from __future__ import annotations

import re
from typing import Any

import torch
from accelerate import init_empty_weights
from bitsandbytes.nn import Linear4bit, Params4bit
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from benchmarks.world import OPENINGS, make_words, weight_scale
from mmforget.model.families import find_family, llava
from mmforget.model.loaded import LoadedModel
from mmforget.model.micro_tokenizer import IMAGE, train_tokenizer
from mmforget.model.quantize import prepare_quantised
from mmforget.model.selfcheck import settle
from mmforget.model.spec import ModelSpec

DTYPE = torch.bfloat16


def llava_7b(tokenizer: Any) -> LlavaConfig:
    """LLaVA-1.5-7B: CLIP ViT-L/14 at 336 px, Llama-2-7B, vocabulary of 32,064."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=32064,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        **_ids(tokenizer),
    )
    return _together(vision, text, tokenizer)


def llava_tiny(tokenizer: Any) -> LlavaConfig:
    """16 image tokens, two layers: shows that everything runs, and nothing else."""
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=48,
        patch_size=12,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        **_ids(tokenizer),
    )
    return _together(vision, text, tokenizer)


def build(size: str, *, device: torch.device, seed: int = 0) -> LoadedModel:
    """The model of `size`, `7b` or `tiny`, as mmforget would have loaded it with `load_in_4bit=True`.

    Nothing larger than one matrix is ever on the device in bfloat16, and nothing goes through a disk.
    """
    tokenizer = train_tokenizer([*make_words(), *OPENINGS, "?", "."], max_length=4096)
    config = {"7b": llava_7b, "tiny": llava_tiny}[size](tokenizer)
    with init_empty_weights(include_buffers=False):
        model = LlavaForConditionalGeneration(config)
    _fill(model, device=device, generator=torch.Generator(device).manual_seed(seed))
    model.config.dtype = DTYPE
    model.is_loaded_in_4bit = model.is_quantized = True
    prepare_quantised(model)
    model.requires_grad_(False).eval()
    side, patch = config.vision_config.image_size, config.vision_config.patch_size
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    spec = ModelSpec(f"random-llava-{size}", dtype="bfloat16", load_in_4bit=True, device=str(device))
    name = f"random-llava-{size}-{seed}"
    loaded = LoadedModel(model, tokenizer, processor, find_family(config), spec, name, base_fingerprint=name)
    return settle(loaded)


@torch.no_grad()
def _fill(model: nn.Module, *, device: torch.device, generator: torch.Generator) -> None:
    """Random matrices that keep the size of what goes through them, those of the decoder layers in NF4; else ones."""
    for name, module in list(model.named_modules()):
        if re.fullmatch(llava.LANGUAGE_TARGETS, name):
            model.set_submodule(name, _quantised(name, module, device=device, generator=generator))
            continue
        for key, buffer in module._buffers.items():
            module._buffers[key] = None if buffer is None else buffer.to(device)
        for key, weight in module._parameters.items():
            if weight is not None:
                filled = _values(f"{name}.{key}", weight, device=device, generator=generator)
                module._parameters[key] = nn.Parameter(filled, requires_grad=False)
    # The logits of the first ids, <pad>, <s>, </s> and <image>, are 0: no text ends by itself.
    model.get_submodule("lm_head").weight[:4] = 0.0


def _values(name: str, weight: torch.Tensor, *, device: torch.device, generator: torch.Generator) -> torch.Tensor:
    """A random matrix of a parameter's shape, or ones for a vector: norms and, for simplicity, biases."""
    if weight.ndim < 2:
        return torch.ones(weight.shape, dtype=DTYPE, device=device)
    values = torch.randn(weight.shape, dtype=DTYPE, device=device, generator=generator)
    return values.mul_(weight_scale(name, weight))


def _quantised(name: str, module: Any, *, device: torch.device, generator: torch.Generator) -> Linear4bit:
    sizes = module.in_features, module.out_features
    linear = Linear4bit(*sizes, bias=False, compute_dtype=DTYPE, quant_type="nf4", device="meta")
    values = _values(f"{name}.weight", module.weight, device=device, generator=generator)
    linear.weight = Params4bit(values, requires_grad=False, quant_type="nf4", compress_statistics=True)
    return linear.to(device)


def _ids(tokenizer: Any) -> dict[str, int]:
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def _together(vision: CLIPVisionConfig, text: LlamaConfig, tokenizer: Any) -> LlavaConfig:
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
