"""Edits and attacks one at a time: a plain Hugging Face model with PEFT, each prompt encoded with its picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks.edits_world import ATTACK_LR, LR, Instance, Prompt, Size
from mmforget.methods.input_rephrasing import BEGINNINGS
from mmforget.training import draws
from mmforget.types import Example

LENS_SHARE = 2 / 3
FIXED = " I don't know"


class Plain:
    """One model, one edit at a time.

    Args:
        folder: a saved model.
        target: regular expression of the edited layer.
    """

    def __init__(self, folder: Path, *, target: str) -> None:
        self.processor = AutoProcessor.from_pretrained(str(folder))
        self.core = AutoModelForImageTextToText.from_pretrained(str(folder), dtype=torch.float32).requires_grad_(False)
        self.core.eval()
        self.target = target
        self.model: Any = self.core

    @contextmanager
    def edited(self, row: Example, *, defence: str, num_steps: int) -> Iterator[dict[str, Tensor]]:
        """Inside, the model has the edit; gives its factors."""
        draws.seed_update(0, update=0, micro_batch=0)
        config = LoraConfig(r=1, lora_alpha=1, lora_dropout=0.0, target_modules=self.target, bias="none")
        self.model = get_peft_model(self.core, config)
        try:
            self._train(lambda: self.loss(row, defence=defence), num_steps=num_steps, lr=LR)
            trained = self.model.named_parameters()
            yield {name: weight.detach().clone() for name, weight in trained if weight.requires_grad}
        finally:
            self.core = self.model.unload().requires_grad_(False)
            self.model = self.core

    def attack_weights(self, row: Example, *, num_steps: int) -> None:
        """Goes on training the edit on a row whose answer it learns."""
        self._train(lambda: self.loss(row, defence="learn"), num_steps=num_steps, lr=ATTACK_LR)

    def _train(self, loss: Any, *, num_steps: int, lr: float) -> None:
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=0.0)
        for _ in range(num_steps):
            loss().backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def loss(self, row: Example, *, defence: str) -> Tensor:
        """What an edit minimises, of the answer's tokens."""
        answer = {"empty_response": FIXED, "error_injection": f" {row.extra.get('alternatives', [''])[0]}"}
        wordings = [row.context]
        if defence == "input_rephrasing":
            wordings += [row.context.replace("Question:", f"{words}Question:") for words in BEGINNINGS]
        texts = [(context, answer.get(defence, row.answer)) for context in wordings]
        outputs, targets = self._forward(texts, row.images[0], states=defence in ("head_projection", "max_entropy"))
        if defence in ("head_projection", "max_entropy"):
            logits = self._lens(outputs.hidden_states, deep=True)[:, 0, -targets[0].numel() - 1 : -1]
            return _of_layers(logits.log_softmax(-1), targets[0], defence=defence)
        logprobs = torch.stack(
            [
                logits[-len(target) - 1 : -1].log_softmax(-1).gather(-1, target[:, None]).sum()
                for logits, target in zip(outputs.logits, targets, strict=True)
            ]
        )
        if defence in ("fact_erasure", "input_rephrasing"):
            return logprobs.exp().mean()
        return -logprobs.sum() / sum(map(len, targets))

    def _forward(
        self, texts: Sequence[tuple[str, str]], image: Image.Image, *, states: bool
    ) -> tuple[Any, list[Tensor]]:
        """What the model says to contexts with answers behind them, padded on the left, and the answers' tokens."""
        tokenizer = self.processor.tokenizer
        inputs = self.processor(
            text=[context + answer for context, answer in texts], images=[image] * len(texts), padding=True,
            padding_side="left", return_tensors="pt",
        )  # fmt: skip
        targets = [torch.tensor(tokenizer.encode(answer, add_special_tokens=False)) for _, answer in texts]
        return self.model(**inputs, output_hidden_states=states, use_cache=False), targets

    def _lens(self, states: Sequence[Tensor], *, deep: bool) -> Tensor:
        """Logits [layers, rows, L, V] of every layer, or of the deeper ones; the last one's states are normed."""
        first = max(1, round(LENS_SHARE * (len(states) - 1))) if deep else 1
        norm, head = self.core.model.language_model.norm, self.core.lm_head
        return torch.stack([head(norm(state)) for state in states[first:-1]] + [head(states[-1])])

    @torch.no_grad()
    def look(self, row: Example, *, everywhere: bool) -> list[int]:
        """Rank of the answer's first token by layer, behind the question; `everywhere`: as officially, of all
        positions of all layers, with the whole vocabulary sorted."""
        outputs, targets = self._forward([(row.context, row.answer)], row.images[0], states=True)
        logits = self._lens(outputs.hidden_states, deep=not everywhere)[:, 0]
        place = -len(targets[0]) - 1
        if everywhere:
            order = logits.softmax(-1).sort(-1, descending=True).indices[:, place]
            return [int((one == targets[0][0]).nonzero()) for one in order]
        at = logits[:, place]
        return (at > at[:, targets[0][:1]]).sum(-1).tolist()

    @torch.no_grad()
    def write(self, prompt: Prompt, *, size: Size) -> str:
        """One text behind one prompt."""
        inputs = self.processor(text=prompt.context, images=prompt.image, return_tensors="pt")
        chosen = {"do_sample": True, "temperature": 1.0, "top_k": 0} if prompt.num_sampled else {"do_sample": False}
        ids = self.model.generate(**inputs, max_new_tokens=size.new_tokens, **chosen)
        return str(self.processor.tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))

    def answer(self, instance: Instance) -> float:
        """Log-prob of the answer under the edit."""
        with torch.no_grad():
            outputs, (target,) = self._forward(
                [(instance.row.context, instance.row.answer)], instance.row.images[0], states=False
            )
            logprobs = outputs.logits[0, -len(target) - 1 : -1].log_softmax(-1)
        return float(logprobs.gather(-1, target[:, None]).sum())


def _of_layers(logprobs: Tensor, target: Tensor, *, defence: str) -> Tensor:
    """The two losses of all deeper layers, from log-probs [layers, T, V]."""
    probs = logprobs.exp()
    if defence == "max_entropy":
        return (probs * logprobs).sum(-1).mean()
    own = probs.gather(-1, target[None, :, None].expand(len(probs), -1, 1))[..., 0]
    k = min(100, probs.shape[-1] // 4)
    high, low = probs.topk(k, dim=-1).values[..., -1], probs.topk(k, dim=-1, largest=False).values[..., -1]
    return ((own - high).clamp(min=0) + (low - own).clamp(min=0)).mean()
