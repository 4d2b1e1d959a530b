"""Questions about tiny images, and what a plain Hugging Face forward pass says about their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from PIL import Image

from mmforget.model.encode import Encoded, encode
from mmforget.model.loaded import LoadedModel
from mmforget.model.scoring import score
from tests.helpers import tiny_image

TOLERANCE = 1e-5
QUESTIONS = (
    ("what is the name of this person?", " Anna Meier is the person in the picture."),
    ("where does she live?", " she lives in Bern"),
    ("which illness was found in the year 1987?", " asthma."),
    ("who pays?", " the green cross pays 120 dollars a month, in the town of Bern."),
)
PICTURES = (tiny_image(1), tiny_image(2, size=(90, 60)), tiny_image(3, size=(48, 130)))


class Question(NamedTuple):
    context: str
    answer: str
    images: tuple[Image.Image, ...] = ()


def one_image(num_images: int = 3) -> list[Question]:
    return [Question(f"<image>\n{q}", a, (p,)) for p in PICTURES[:num_images] for q, a in QUESTIONS]


def several_images() -> list[Question]:
    first, second, third = PICTURES
    (q, a), (q2, a2) = QUESTIONS[:2]
    return [
        Question(f"<image>\n<image>\n{q}", a, (first, second)),
        Question(f"<image>\n<image>\n{q2}", a2, (first, second)),
        Question(f"left <image> and right <image>: {q}", a, (first, first)),
        Question(f"<image> then <image>\n{q}", a, (second, first)),
        Question(f"<image><image><image>{q2}", a2, (third, first, second)),
    ]


def text_only() -> list[Question]:
    return [Question(q, a) for q, _ in QUESTIONS[:2] for _, a in QUESTIONS]


def chat(loaded: LoadedModel, questions: Sequence[Question]) -> list[Question]:
    """The same questions through the processor's chat template."""
    found = []
    for question in questions:
        parts: list[dict[str, str]] = []
        for index, text in enumerate(question.context.split("<image>")):
            parts += [{"type": "image"}] if index else []
            parts += [{"type": "text", "text": text}] if text else []
        template = loaded.processor or loaded.tokenizer
        context = template.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True)
        found.append(question._replace(context=context))
    return found


def encode_all(loaded: LoadedModel, questions: Sequence[Question]) -> list[Encoded]:
    return [encode(loaded, one.context, one.answer, one.images) for one in questions]


def plain_logprobs(loaded: LoadedModel, question: Question) -> torch.Tensor:
    """Log-probs [T] of the answer's tokens: stock processor, `model(**inputs)`, log-softmax; one question at a time."""
    inputs = _inputs(loaded, question, text=question.context + question.answer)
    num_context = _inputs(loaded, question, text=question.context)["input_ids"].shape[1]
    ids = inputs["input_ids"][0]
    logprobs = loaded.model(**inputs).logits[0].float().log_softmax(-1)
    return logprobs[num_context - 1 : -1].gather(-1, ids[num_context:, None])[:, 0]


def _inputs(loaded: LoadedModel, question: Question, *, text: str) -> dict[str, torch.Tensor]:
    if loaded.processor is None:
        return dict(loaded.tokenizer(text, return_tensors="pt"))
    return dict(loaded.processor(text=text, images=list(question.images) or None, return_tensors="pt"))


def largest_difference(found: torch.Tensor, wanted: Sequence[torch.Tensor]) -> float:
    """Largest absolute difference between padded scores [B, T] and one tensor a sequence."""
    return max(float((row[: len(one)] - one).abs().max()) for row, one in zip(found, wanted, strict=True))


def logprobs(loaded: LoadedModel) -> torch.Tensor:
    questions = one_image() if loaded.is_multimodal else text_only()
    with torch.no_grad():
        return score(loaded, encode_all(loaded, questions)).token_logprobs


def train(loaded: LoadedModel, *, num_steps: int = 2, lr: float = 0.05) -> LoadedModel:
    """Gradient descent on the negative log-likelihood; checks that a gradient reaches every trainable tensor."""
    encoded = encode_all(loaded, one_image() if loaded.is_multimodal else text_only())
    optimiser = torch.optim.SGD(loaded.trainable().values(), lr=lr)
    for _ in range(num_steps):
        optimiser.zero_grad()
        scored = score(loaded, encoded)
        (-scored.token_logprobs.sum() / scored.mask.sum()).backward()
        optimiser.step()
    without = [name for name, weight in loaded.trainable().items() if weight.grad is None or not weight.grad.any()]
    assert without == []
    return loaded
