"""Micro models: real LLaVA and Llama models of one to two million parameters, built on the spot, never downloaded.

`build_base` trains a tokenizer on the benchmark's text, a vision tower on drawn faces, and saves an untrained language
model beside them in the ordinary Hugging Face layout: `AutoModelForImageTextToText`, `AutoModelForCausalLM`,
`AutoProcessor`, `AutoTokenizer` and stock lm_eval load it. Stage one then teaches it the benchmark in a minute.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mmforget.errors import UserError
from mmforget.model.micro_tokenizer import IMAGE, train_tokenizer
from mmforget.model.micro_vision import PATCH_SIDE, image_processor, tower_content, train_tower, vision_config
from mmforget.results.fingerprint import hash_file, hash_json
from mmforget.types import Progress
from mmforget.unfinished import unfinished

MIN_POSITIONS = 512
LANGUAGE_SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
_TOWER_FILE = "tower.safetensors"
_SOURCES = ("micro.py", "micro_tokenizer.py", "micro_vision.py")


def build_base(
    texts: Sequence[str], *, modality: str, folder: Path, seed: int, progress: Progress | None = None
) -> Path:
    """Build, or find in `folder`, the untrained micro model for `texts`, and return where it is saved.

    Args:
        texts: every question and answer that the model will meet; they make its vocabulary and its length.
        modality: `image` for a `LlavaForConditionalGeneration`, `text` for a `LlamaForCausalLM`.
        folder: cache; the model goes to `folder/micro-<modality>-<fingerprint>`, written aside and renamed.
        seed: of the weights and of the faces that the tower learns from. The same seed, the same files.
        progress: called as `progress(done, total, label)`.

    Raises UserError for an unknown modality, no text, or a folder that cannot be written.
    """
    if modality not in ("image", "text"):
        raise UserError(f"unknown modality '{modality}' for a micro model; use 'image' or 'text'")
    if not any(text.strip() for text in texts):
        raise UserError("a micro model needs the benchmark's texts to build its vocabulary from; none were given")
    distinct = sorted(set(texts))
    content: dict[str, Any] = {"modality": modality, "seed": seed, "texts": distinct, "code": _code(*_SOURCES)}
    if modality == "image":
        content["tower"] = tower_content(seed=seed)
    name = f"micro-{modality}-{_fingerprint(content)}"
    if (folder / name).is_dir():
        return folder / name
    tower = _tower(folder, seed=seed, progress=progress) if modality == "image" else None

    def write(place: Path) -> None:
        tokenizer = train_tokenizer(distinct, max_length=_num_positions(distinct))
        if tower is None:
            _save_text(place, tokenizer=tokenizer, seed=seed)
        else:
            _save_image(place, tokenizer=tokenizer, tower=tower, seed=seed)

    return _publish(folder, name, write=write)


def language_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """A 4-layer Llama, 128 wide, that fits `tokenizer`."""
    return LlamaConfig(
        **LANGUAGE_SHAPE,
        vocab_size=len(tokenizer),
        max_position_embeddings=tokenizer.model_max_length,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def _save_text(place: Path, *, tokenizer: PreTrainedTokenizerFast, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(language_config(tokenizer))
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)


def _save_image(place: Path, *, tokenizer: PreTrainedTokenizerFast, tower: CLIPVisionModel, seed: int) -> None:
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=language_config(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(tower.config.image_size // PATCH_SIDE) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.state_dict())
    processor = LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIDE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )
    model.save_pretrained(place)
    processor.save_pretrained(place)


def _tower(folder: Path, *, seed: int, progress: Progress | None) -> CLIPVisionModel:
    """The trained tower, kept apart from the models because it does not depend on their text."""
    name = f"micro-tower-{_fingerprint({**tower_content(seed=seed), 'code': _code('micro_vision.py')})}"
    if not (folder / name).is_dir():
        trained = train_tower(seed=seed, progress=progress)
        _publish(folder, name, write=lambda place: save_file(trained.state_dict(), place / _TOWER_FILE))
    tower = CLIPVisionModel(vision_config())
    tower.load_state_dict(load_file(folder / name / _TOWER_FILE))
    return tower.eval()


def _num_positions(texts: Sequence[str]) -> int:
    """Room for image, question, answer and 50 generated tokens, were every text only bytes half merged."""
    longest = max(len(text.encode()) for text in texts)
    return max(MIN_POSITIONS, 256 * ((longest + 255) // 256 + 1))


def _code(*names: str) -> str:
    """sha256 of modules beside this one: what a changed tokenizer or shape makes is never taken for the old."""
    return hash_json([hash_file(Path(__file__).with_name(name)) for name in names])


def _fingerprint(content: Mapping[str, Any]) -> str:
    """16 hex digits of what a model is made from and of the versions that make it."""
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    return hash_json({**content, **versions})[:16]


def _publish(folder: Path, name: str, *, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary folder, then give it its name; whoever finishes first wins."""
    place = unfinished(folder / name)
    try:
        place.mkdir(parents=True)
        write(place)
        _rename(place, folder / name)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot write the micro model to {folder}: {getattr(error, 'strerror', None) or error}; "
            "name a folder with room that you may write to"
        ) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return folder / name


def _rename(place: Path, final: Path) -> None:
    try:
        os.rename(place, final)
    except OSError:
        if not final.is_dir():
            raise
