"""Folders as stock transformers saves them: text models of three architectures, each with the tokenizer of its kind.

    folder = stock_folder(tmp_path, LLAMA_CHAT)    # marks of words, <s> in front, a template that writes its own <s>
    folder = stock_folder(tmp_path, QWEN2_CHAT)    # byte-level, no BOS at all, ChatML
    folder = stock_folder(tmp_path, GPT_NEOX)      # byte-level, a BOS that it does not write and that is EOS, too

Weights are random but larger than the usual initialisation, so that wordings visibly change what a model says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPTNeoXConfig,
    GPTNeoXTokenizer,
    LlamaConfig,
    LlamaTokenizer,
    PreTrainedModel,
    Qwen2Config,
    Qwen2Tokenizer,
)

SIZES: dict[str, Any] = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
}
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
INST = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'assistant' %} {{ message['content'] }}"
    "{{ eos_token }}{% else %}[INST] {{ message['content'] }} [/INST]{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """An architecture with its tokenizer.

    Attributes:
        special: the tokenizer's special tokens, in the order of their ids.
        tokenizer: what it is made with beside vocabulary and merges.
        model: what its configuration has beside sizes and ids.
    """

    config: type
    tokenizer_class: type
    special: tuple[str, ...]
    tokenizer: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    template: str | None = None

    @property
    def has_marks(self) -> bool:
        """Whether words begin with a mark, as sentencepiece's do, and not with a blank's byte."""
        return self.tokenizer_class is LlamaTokenizer

    @property
    def writes_bos(self) -> bool:
        return bool(self.tokenizer.get("add_bos_token"))


LLAMA = Shape(
    LlamaConfig,
    LlamaTokenizer,
    ("<unk>", "<s>", "</s>"),
    tokenizer={"add_bos_token": True},
    model={"num_key_value_heads": 2},
)
LLAMA_CHAT = replace(LLAMA, template=INST)
QWEN2_CHAT = Shape(
    Qwen2Config,
    Qwen2Tokenizer,
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    tokenizer={"eos_token": "<|im_end|>", "extra_special_tokens": ["<|im_start|>"]},
    model={"num_key_value_heads": 2, "tie_word_embeddings": True},
    template=CHATML,
)
GPT_NEOX = Shape(GPTNeoXConfig, GPTNeoXTokenizer, ("<|endoftext|>", "<|padding|>"))


def stock_folder(folder: Path, shape: Shape, *, texts: Sequence[str], seed: int = 0) -> Path:
    """Builds a tokenizer of `texts` and a random model, and saves both. Returns `folder`."""
    vocabulary, merges = _learnt(texts, shape=shape)
    tokenizer = shape.tokenizer_class(vocab=vocabulary, merges=merges, model_max_length=2048, **shape.tokenizer)
    tokenizer.chat_template = shape.template
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = shape.config(**SIZES | shape.model | ids, vocab_size=len(tokenizer))
    model = AutoModelForCausalLM.from_config(config)
    _randomise(model, seed=seed)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _learnt(texts: Sequence[str], *, shape: Shape) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges of byte pairs, or of letters with a byte for what has none."""
    core = Tokenizer(models.BPE(byte_fallback=shape.has_marks))
    core.pre_tokenizer = (
        pre_tokenizers.Metaspace() if shape.has_marks else pre_tokenizers.ByteLevel(add_prefix_space=False)
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[*shape.special, *(BYTES if shape.has_marks else ())],
        initial_alphabet=[] if shape.has_marks else pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    found = json.loads(core.to_str())["model"]
    return found["vocab"], [tuple(pair) for pair in found["merges"]]


def _randomise(model: PreTrainedModel, *, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            if weight.ndim > 1:
                spread = 0.4 if "embed" in name else 1.5 / weight[0].numel() ** 0.5
                weight.normal_(0.0, spread, generator=generator)
            elif name.endswith("bias"):
                weight.normal_(0.0, 0.1, generator=generator)
