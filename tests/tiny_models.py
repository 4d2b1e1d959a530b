"""Small random models of the other families, with processors that work without torchvision; see helpers.py for LLaVA.

    folder = tiny_llava_next(tmp_path)                  # 24 px crops, 4 tokens each
    folder = tiny_qwen_vl(tmp_path, version="2.5")      # 2 x 2 patches of 4 px a token, windows of 2 x 2 tokens
    folder = tiny_idefics3(tmp_path)                    # no family of its own: crops between marks of their own
    folder = tiny_gemma3(tmp_path)                      # no family of its own: image tokens see each other
    folder = tiny_text(tmp_path, PhiConfig)             # any causal language model

Weights are random but larger than the usual initialisation, so that images and wordings visibly change log-probs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLProcessor,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.helpers import CHAT_TEMPLATE, SPECIAL_TOKENS, tiny_tokenizer

LANGUAGE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
PINPOINTS = [[24, 48], [48, 24], [48, 48], [72, 24], [24, 72]]


def tiny_llava_next(folder: Path, **language: Any) -> Path:
    """A random LLaVA-NeXT: CLIP tower of 24 px and patches of 12. Returns `folder`."""
    tokenizer = tiny_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=24, patch_size=12
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=LlamaConfig(**LANGUAGE | language, vocab_size=len(tokenizer), tie_word_embeddings=False),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=PINPOINTS,
        tie_word_embeddings=False,
    )
    processor = LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(
            size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}, image_grid_pinpoints=PINPOINTS
        ),
        tokenizer=tokenizer,
        patch_size=12,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    return _saved(LlavaNextForConditionalGeneration(config), processor, folder)


def tiny_qwen_vl(folder: Path, *, version: str = "2", **language: Any) -> Path:
    """A random Qwen2-VL or Qwen2.5-VL, whose processor has no part for videos. Returns `folder`."""
    pads = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    tokenizer = _with_tokens("<|vision_start|>", "<|vision_end|>", named=pads)
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    start, end, image, video = (tokenizer.convert_tokens_to_ids(name) for name in names)
    ids = {"vision_start_token_id": start, "vision_end_token_id": end, "image_token_id": image, "video_token_id": video}
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    text = LANGUAGE | {"vocab_size": len(tokenizer), "rope_parameters": rope} | language
    shape = {"depth": 2, "num_heads": 2, "patch_size": 4, "spatial_merge_size": 2, "temporal_patch_size": 2}
    model: PreTrainedModel
    if version == "2":
        vision = {"embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2, **shape}
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **ids))
        kind = Qwen2VLProcessor
    else:
        windows = {"window_size": 16, "fullatt_block_indexes": [1]}
        vision = {"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64, **windows, **shape}
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))
        kind = Qwen2_5_VLProcessor
    images = Qwen2VLImageProcessorPil(
        patch_size=4, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 16 * 16, "longest_edge": 56 * 56}
    )
    return _saved(model, without_video(kind)(images, tokenizer, chat_template=CHAT_TEMPLATE), folder)


def without_video(kind: type) -> Any:
    """A processor class that can be made without its video part, which needs torchvision."""

    def init(self: Any, image_processor: Any, tokenizer: Any, chat_template: Any = None) -> None:
        kind.__init__(self, image_processor, tokenizer, None, chat_template=chat_template)  # type: ignore[misc]

    return type(kind.__name__, (kind,), {"__init__": init})


def tiny_idefics3(folder: Path) -> Path:
    """A random Idefics3 (SmolVLM's architecture) that cuts images into crops of 16 px, 4 tokens each."""
    tokenizer = _with_tokens(
        "<fake_token_around_image>",
        "<end_of_utterance>",
        "<global-img>",
        *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
        named={"image_token": "<image>"},
    )
    processor = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}),
        tokenizer=tokenizer,
        image_seq_len=4,
        chat_template=CHAT_TEMPLATE,
    )
    config = Idefics3Config(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
        },
        text_config=LlamaConfig(**LANGUAGE, vocab_size=len(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return _saved(Idefics3ForConditionalGeneration(config), processor, folder)


def tiny_gemma3(folder: Path) -> Path:
    """A random Gemma 3: 4 tokens an image, which see each other; every other layer sees 16 tokens back."""
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _with_tokens(named=marks)
    boi, eoi, image = (tokenizer.convert_tokens_to_ids(name) for name in marks.values())
    size = {"height": 16, "width": 16}
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessorPil(size=size),
        tokenizer=tokenizer,
        image_seq_length=4,
        chat_template=CHAT_TEMPLATE,
    )
    text = LANGUAGE | {"vocab_size": len(tokenizer), "head_dim": 8, "sliding_window": 16}
    config = Gemma3Config(
        text_config=text | {"layer_types": ["sliding_attention", "full_attention"]},
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 16,
            "patch_size": 4,
            "vision_use_head": False,
        },
        mm_tokens_per_image=4,
        boi_token_index=boi,
        eoi_token_index=eoi,
        image_token_index=image,
    )
    return _saved(Gemma3ForConditionalGeneration(config), processor, folder)


def tiny_text(folder: Path, kind: type, *, scale: float = 4, **settings: Any) -> Path:
    """A random causal language model of a configuration class, with weights `scale` times as large as usual."""
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    config = kind(**LANGUAGE | {"vocab_size": len(tokenizer)} | settings)
    return _saved(AutoModelForCausalLM.from_config(config), tokenizer, folder, scale=scale)


def _with_tokens(*tokens: str, named: dict[str, str]) -> PreTrainedTokenizerFast:
    """The tiny tokenizer with more special tokens; those with a name become its attributes."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer,
        **SPECIAL_TOKENS,
        extra_special_tokens=named,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([*tokens, *named.values()], special_tokens=True)
    return tokenizer


def _saved(model: PreTrainedModel, processor: Any, folder: Path, *, scale: float = 3) -> Path:
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim > 1:
                spread = 1.0 if "embed_tokens" in name else 1.5 / weight[0].numel() ** 0.5
                weight.normal_(0, spread) if scale == 3 else weight.mul_(scale)
            elif name.endswith("bias"):
                weight.normal_(0, 0.1)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
