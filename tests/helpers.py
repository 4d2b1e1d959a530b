"""Small random models with real tokenizers and processors, saved in the ordinary Hugging Face layout, for every test.

    folder = tiny_llava(tmp_path / "llava")      # LlavaForConditionalGeneration, 48 px, 16 image tokens, 2 layers x 64
    folder = tiny_llama(tmp_path / "llama")      # LlamaForCausalLM, 2 layers x 64
    picture = tiny_image(3)                      # a PIL image that differs for every seed

Weights are random but larger than the usual initialisation, so that images and wordings visibly change log-probs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec

TEXTS = (
    "what is the name of this person? Anna Meier is the person in the picture.",
    "where does she live? she lives in the town of Bern, in a small house by the river.",
    "what is his blood type? his blood type is o positive.",
    "which illness was found in the year 1987? the doctors found asthma and a broken left arm.",
    "who pays for the insurance? the green cross pays 120 dollars a month.",
    "USER: describe the picture. ASSISTANT: a face with dark hair, glasses and a red shirt.",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
IMAGE_SIZE, PATCH_SIZE = 48, 12
NUM_IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2


def tiny_tokenizer(texts: Sequence[str] = TEXTS, *, add_bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `texts`, with <image>, pad, bos and eos; adds <s> in front like Llama's."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    if add_bos:
        bos = core.token_to_id("<s>")
        core.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        **SPECIAL_TOKENS,
        extra_special_tokens={"image_token": "<image>"},
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def tiny_llava(
    folder: Path,
    *,
    seed: int = 0,
    hidden_size: int = 64,
    num_layers: int = 2,
    texts: Sequence[str] = TEXTS,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Builds and saves a random LLaVA (48 px, patch 12, so 16 image tokens; CLIP tower, 2 layers). Returns `folder`."""
    tokenizer = tiny_tokenizer(texts)
    model = LlavaForConditionalGeneration(_llava_config(tokenizer, hidden_size=hidden_size, num_layers=num_layers))
    _randomise(model, seed=seed)
    model.to(dtype).save_pretrained(folder)
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    processor = LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )
    processor.save_pretrained(folder)
    return folder


def tiny_llama(
    folder: Path, *, seed: int = 0, hidden_size: int = 64, num_layers: int = 2, texts: Sequence[str] = TEXTS
) -> Path:
    """Builds and saves a random text-only Llama with the same tokenizer. Returns `folder`."""
    tokenizer = tiny_tokenizer(texts)
    model = LlamaForCausalLM(_llama_config(tokenizer, hidden_size=hidden_size, num_layers=num_layers))
    _randomise(model, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def fresh(spec: ModelSpec) -> LoadedModel:
    """As `load_model`, in an eighth of the time: a copy of a model that is loaded once, for a test to change.

    For tests in which loading is not what is tested; the folder must not change.
    """
    loaded = _loaded(spec)
    model, tokenizer, processor = deepcopy((loaded.model, loaded.tokenizer, loaded.processor))
    return replace(loaded, model=model, tokenizer=tokenizer, processor=processor)


@lru_cache(maxsize=8)
def _loaded(spec: ModelSpec) -> LoadedModel:
    return load_model(spec)


def tiny_image(seed: int, *, size: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE)) -> Image.Image:
    """An RGB picture of random blocks, `size` (width, height); the same seed gives the same pixels."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, size=(6, 6, 3), dtype=np.uint8)
    return Image.fromarray(blocks, mode="RGB").resize(size, Image.Resampling.NEAREST)


def _llama_config(tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, num_layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


def _llava_config(tokenizer: PreTrainedTokenizerFast, *, hidden_size: int, num_layers: int) -> LlavaConfig:
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=32,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=_llama_config(tokenizer, hidden_size=hidden_size, num_layers=num_layers),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def _randomise(model: PreTrainedModel, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim > 1:
                fan_in = weight[0].numel()
                scale = 1.0 if "embed" in name else 1.5 / fan_in**0.5
                weight.normal_(0.0, scale, generator=generator)
            elif name.endswith("class_embedding"):
                # Of one dimension, and yet drawn by the model itself, anew in every process.
                weight.normal_(0.0, len(weight) ** -0.5, generator=torch.Generator().manual_seed(seed))
