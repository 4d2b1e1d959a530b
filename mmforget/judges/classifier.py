"""A judge on this machine that is a text classifier: how sure it is that an answer is no gibberish.

judge = classifier_judge("models/gibberish-detector")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmforget.errors import UserError, one_line
from mmforget.judges.base import Said
from mmforget.methods.arguments import from_arguments, require_positive
from mmforget.metrics.gibberish import LABEL
from mmforget.results.fingerprint import hash_file
from mmforget.results.provenance import model_name
from mmforget.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_SIZE = 32
WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class Classifier:
    """The probability of a classifier's first class, of each response by itself.

    Attributes:
        folder: a sequence classifier of transformers with safetensors weights; nothing is ever fetched.
        max_length: tokens of a response that are read; OpenUnlearning has 32 for TOFU and 512 for MUSE.
    """

    folder: str
    max_length: int = 32

    is_free = False
    is_local = True
    labels = (LABEL,)

    def __post_init__(self) -> None:
        require_positive(max_length=self.max_length)

    @property
    def name(self) -> str:
        return f"classifier:{model_name(self.folder)}"

    def judge(self, samples: Sequence[Sample], *, label: str) -> list[Said | None]:
        """The first class's probability as a number; of other labels it says nothing.

        Raises UserError where the folder holds no such classifier.
        """
        if label != LABEL:
            return [None] * len(samples)
        texts, by = [sample.response or "" for sample in samples], self._by()
        parts = [texts[start : start + BATCH_SIZE] for start in range(0, len(texts), BATCH_SIZE)]
        return [Said(repr(value), by) for part in parts for value in self._first_class(part)]

    def describe(self) -> dict[str, Any]:
        return {"judge": self.name, "labels": {LABEL: self._by()}, "max_length": self.max_length}

    def _by(self) -> str:
        hashes = [hash_file(path) for path in sorted(Path(self.folder).expanduser().glob(WEIGHTS))]
        return f"{self.name} {'+'.join(one[:16] for one in hashes)}, {self.max_length} tokens"

    def _first_class(self, texts: Sequence[str]) -> list[float]:
        import torch

        tokenizer, model = _loaded(self.folder)
        inputs = tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        ).to(model.device)  # fmt: skip
        with torch.no_grad():
            found: list[float] = model(**inputs).logits.float().softmax(-1)[:, 0].tolist()
        return found


def classifier_judge(text: str) -> Classifier:
    """The judge `classifier:TEXT`: a folder, or `folder=...,max_length=512`. Loads nothing yet.

    Raises UserError where there is no such folder, or none with safetensors weights.
    """
    values = text if "=" in text else {"folder": text}
    found = from_arguments(Classifier, values, owner="judge 'classifier'")
    if not any(Path(found.folder).expanduser().glob(WEIGHTS)):
        raise UserError(
            f"--judge classifier:{text}: no folder with a classifier of transformers ({WEIGHTS}) is there; nothing is "
            "downloaded, name one on this machine"
        )
    return found


@lru_cache(maxsize=1)
def _loaded(folder: str) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    path, local = str(Path(folder).expanduser()), {"local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModelForSequenceClassification.from_pretrained(path, use_safetensors=True, **local)
        tokenizer = AutoTokenizer.from_pretrained(path, **local)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"--judge classifier:{folder}: holds no classifier of transformers: {one_line(error)}"
        ) from error
    return tokenizer, model.eval()
