"""The model and the questions that are measured: real shapes, random weights, made-up words, everything from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmforget.model.encode import Encoded, encode, encode_prompt
from mmforget.model.loaded import LoadedModel
from mmforget.model.micro_tokenizer import IMAGE, train_tokenizer

CONSONANTS, VOWELS = "bdfgklmnprstv", "aeiou"
OPENINGS = ("What is the", "Name the", "State the", "Which")
"""Questions begin alike, as real ones do."""


@dataclass(frozen=True)
class Geometry:
    """Sizes of a LLaVA model. The image is `(image_side / patch_side) ** 2` tokens."""

    image_side: int
    patch_side: int
    tower_width: int
    tower_layers: int
    width: int
    layers: int
    heads: int
    feed_forward: int
    max_length: int = 4096

    @property
    def num_image_tokens(self) -> int:
        return (self.image_side // self.patch_side) ** 2


FULL = Geometry(336, 14, tower_width=256, tower_layers=4, width=512, layers=6, heads=8, feed_forward=1376)
"""576 image tokens, as LLaVA-1.5 has; as much language model as two CPU cores can run plainly, too."""
SMALL = Geometry(336, 14, tower_width=128, tower_layers=2, width=256, layers=2, heads=4, feed_forward=688)
"""576 image tokens again, but a model small enough for a thousand images."""
TINY = Geometry(48, 12, tower_width=32, tower_layers=2, width=64, layers=2, heads=4, feed_forward=128)
"""16 image tokens: shows that everything runs, and nothing else."""


@dataclass(frozen=True)
class Shape:
    """How many images, questions about each, and candidate answers to each question."""

    images: int
    questions: int
    candidates: int = 1


@dataclass(frozen=True)
class Question:
    """A question about one image and its candidate answers, each with the blank in front."""

    context: str
    answers: tuple[str, ...]
    image: Image.Image
    image_key: str


def make_words(count: int = 300, *, seed: int = 0) -> list[str]:
    """Different words of two or three syllables."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = rng.integers(2, 4)
        found["".join(rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(syllables))] = None
    return list(found)


def make_image(seed: int, *, side: int) -> Image.Image:
    """An RGB picture of 12 x 12 random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, size=(12, 12, 3), dtype=np.uint8)
    return Image.fromarray(blocks, mode="RGB").resize((side, side), Image.Resampling.NEAREST)


def make_questions(shape: Shape, *, side: int, seed: int = 0) -> list[Question]:
    """Questions of about 15 tokens, answers of 12 to 20: a word of `make_words` is mostly two."""
    rng, words = np.random.default_rng(seed), make_words()

    def text(low: int, high: int) -> str:
        return " ".join(rng.choice(words, size=int(rng.integers(low, high + 1))))

    questions = []
    for number in range(shape.images):
        image = make_image(1000 * seed + number, side=side)
        for _ in range(shape.questions):
            context = f"<image>\n{rng.choice(OPENINGS)} {text(4, 5)}?"
            answers = tuple(f" {text(6, 9)}." for _ in range(shape.candidates))
            questions.append(Question(context, answers, image, f"image-{seed}-{number}"))
    return questions


def encode_answers(loaded: LoadedModel, questions: Sequence[Question]) -> list[Encoded]:
    """Every question with each of its answers."""
    return [
        encode(loaded, one.context, answer, [one.image], image_keys=[one.image_key])
        for one in questions
        for answer in one.answers
    ]


def encode_prompts(loaded: LoadedModel, questions: Sequence[Question]) -> list[Encoded]:
    """Every question without an answer."""
    return [encode_prompt(loaded, one.context, [one.image], image_keys=[one.image_key]) for one in questions]


def build_llava(folder: Path, geometry: Geometry, *, seed: int = 0) -> Path:
    """Saves a random LLaVA in the ordinary Hugging Face layout, unless it is there. It never ends a text by itself."""
    if (folder / "processor_config.json").is_file():
        return folder
    tokenizer = train_tokenizer([*make_words(), *OPENINGS, "?", "."], max_length=geometry.max_length)
    model = LlavaForConditionalGeneration(llava_config(geometry, tokenizer=tokenizer))
    randomise(model, seed=seed)
    model.save_pretrained(folder)
    side = geometry.image_side
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        tokenizer=tokenizer,
        patch_size=geometry.patch_side,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    processor.save_pretrained(folder)
    return folder


def llava_config(geometry: Geometry, *, tokenizer: object) -> LlavaConfig:
    """The configuration of a LLaVA-1.5 of these sizes."""
    vision = CLIPVisionConfig(
        hidden_size=geometry.tower_width,
        intermediate_size=4 * geometry.tower_width,
        num_hidden_layers=geometry.tower_layers,
        num_attention_heads=4,
        image_size=geometry.image_side,
        patch_size=geometry.patch_side,
        projection_dim=32,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=llama_config(geometry, tokenizer=tokenizer, vocabulary=len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


def llama_config(geometry: Any, *, tokenizer: Any, vocabulary: int) -> LlamaConfig:
    """The configuration of a Llama of these sizes: `width`, `feed_forward`, `layers`, `heads` and `max_length`."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=geometry.width,
        intermediate_size=geometry.feed_forward,
        num_hidden_layers=geometry.layers,
        num_attention_heads=geometry.heads,
        num_key_value_heads=geometry.heads,
        max_position_embeddings=geometry.max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )


def weight_scale(name: str, weight: torch.Tensor) -> float:
    """Standard deviation of a random matrix: what goes through it keeps its size, and attention looks closely.

    So images and wordings change what the model writes.
    """
    if "embed" in name:
        return 1.0
    sharpness = 2.0 if name.endswith(("q_proj.weight", "k_proj.weight")) else 1.0
    return sharpness * weight[0].numel() ** -0.5


@torch.no_grad()
def randomise(model: Any, *, seed: int) -> None:
    """Gives every matrix of a model numbers of `weight_scale`. With this tokenizer it then never ends a text."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in sorted(model.named_parameters()):
        if weight.ndim > 1:
            weight.normal_(0.0, weight_scale(name, weight), generator=generator)
    # The logits of the first ids, <pad>, <s>, </s> and <image>, are 0: among hundreds never the largest.
    model.lm_head.weight[:4] = 0.0
