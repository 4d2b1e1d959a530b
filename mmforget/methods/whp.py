"""Who's Harry Potter: the rows to forget are learnt anew with the words that somebody would say who never read them.

Source: Eldan and Russinovich 2023, "Who's Harry Potter? Approximate Unlearning in LLMs",
https://arxiv.org/abs/2310.02238. The logit rule is as published. Not verified against the paper are its numbers, alpha
5, rates of 3e-6 and 1e-6, 3 and 2 epochs, of which the ratios are kept, since both trainings follow the settings; nor
is it that later occurrences of a term are not learnt at their first tokens, which is all that is done about them.
Adapted: the model that has learnt the rows is an adapter; a language model wrote the dictionary there, and here it is a
file or names of people; question and answer are translated, images stay, and labels are of the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.anchors import pieces
from mmforget.methods.arguments import require_not_negative, require_positive, text_of
from mmforget.methods.base import USUAL, Evidence, Grid, Labels, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.material import Material
from mmforget.methods.naming import names_of
from mmforget.types import Example

GENERIC = Scores("generic")
GIVEN_NAMES = ("Robin", "Alex", "Kim", "Sam", "Chris", "Jamie", "Taylor", "Morgan", "Casey", "Jordan", "Riley")
FAMILY_NAMES = ("Smith", "Brown", "Jones", "Miller", "Taylor", "Clark", "Walker")
MIN_LETTERS = 2
"""Of a single word of a name that stands for the whole."""


@dataclass(frozen=True)
class Generic:
    """The most likely token by v - alpha ReLU(v_learnt - v), v the logits of the translation: int64 [n]."""

    alpha: float

    def __call__(self, learnt: Tensor, before: Tensor) -> Tensor:
        found: Tensor = (before - self.alpha * (learnt - before).relu()).argmax(-1)
        return found


@dataclass(frozen=True)
class WhosHarryPotter:
    """Minimises the NLL of generic tokens in place of those of the forget answers, token-mean over the micro-batch.

    The model learns the answers first, in an adapter of its own: at `lr_times` the learning rate, for `updates_times`
    the updates. A token's label is the most likely one by v - alpha ReLU(v_learnt - v), v_learnt the logits of that
    model and v those of the model before at the same place of the row's translation, see `requests.Labels`.

    The dictionary is the JSON file `anchors`, {"term": "what stands in its place"}, or the subjects' names, each with
    another name of a person; where subjects are no people, give a file. Labels are made once, before training.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2310.02238"
    grid: ClassVar[Grid] = {**USUAL, "alpha": (1.0, 5.0, 20.0), "updates_times": (1.5, 3.0)}

    alpha: float = 5.0
    anchors: str = ""
    lr_times: float = 3.0
    updates_times: float = 1.5

    def __post_init__(self) -> None:
        require_not_negative(alpha=self.alpha)
        require_positive(lr_times=self.lr_times, updates_times=self.updates_times)

    @property
    def besides(self) -> str:
        """What it costs beside its steps, for lists."""
        return (
            f"before them {self.updates_times:g} times as many, each as one of ga's, learn the rows to forget, and two "
            "passes without gradients through each row make labels"
        )

    @property
    def requests(self) -> tuple[Request, ...]:
        return (GENERIC,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The rows to forget, with labels."""
        labels = Labels(
            dictionary=self.dictionary, choose=Generic(self.alpha), lr_times=self.lr_times,
            updates_times=self.updates_times,
        )  # fmt: skip
        return (Source(name="generic", draw="each", rows=rows_to_forget, labels=labels),)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`generic` >= 0, in nats a token."""
        return {"generic": token_mean_nll(step[GENERIC])}

    def dictionary(self, material: Material) -> dict[str, str]:
        """What stands in place of each term. Raises UserError where no row has one of the file's, or has no name."""
        if not self.anchors:
            return generic_names(material)
        found = _read(self.anchors)
        rows = (text for row in material.forget for text in (row.context, row.answer))
        if not any(piece.is_term for text in rows for piece in pieces(text, found)):
            raise UserError(
                f"anchors={self.anchors}: none of its {len(found)} terms stands in a row to forget; terms are whole "
                "words, in capitals and small letters as the rows write them"
            )
        return found


def generic_names(material: Material) -> dict[str, str]:
    """The names of the subjects, and the first and last word of each that has a capital, with names in their places.

    A word that a row writes in small letters, too, is no name. Raises UserError where a subject has no name.
    """
    try:
        names = names_of(material)
    except UserError as error:
        said = str(error).rpartition(";")[0]
        raise UserError(f"{said}; give anchors=FILE, a JSON file of terms and what stands in their place") from error
    small = {word for row in material.forget for word in re.findall(r"\w+", f"{row.context} {row.answer}")}
    found: dict[str, str] = {}
    for number, name in enumerate(dict.fromkeys(names.values())):
        given = GIVEN_NAMES[number % len(GIVEN_NAMES)]
        family = FAMILY_NAMES[number // len(GIVEN_NAMES) % len(FAMILY_NAMES)]
        first, *others = name.split()
        found[name] = f"{given} {family}" if others else given
        for word, other in ((first, given), *((one, family) for one in others[-1:])):
            if word[:1].isupper() and len(word) >= MIN_LETTERS and word.lower() not in small:
                found.setdefault(word, other)
    return found


def rows_to_forget(material: Material) -> list[Example]:
    """As they are."""
    return list(material.forget)


def _read(file: str) -> dict[str, str]:
    try:
        found: Any = json.loads(text_of("anchors", file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(
            f'anchors={file}: not valid JSON: {error}; give {{"term": "what stands in its place"}}'
        ) from error
    if not _is_dictionary(found):
        raise UserError(f'anchors={file}: holds no {{"term": "what stands in its place"}}, texts that are not empty')
    return dict(found)


def _is_dictionary(found: Any) -> bool:
    if not isinstance(found, Mapping) or not found:
        return False
    return all(isinstance(text, str) and text.strip() for pair in found.items() for text in pair)


METHOD = WhosHarryPotter
