"""The columns of feed-forward matrices that write a concept are kept, so that models can be compared by them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mmforget.attacks.comparing import Column
from mmforget.benchmark.document import MetricName
from mmforget.errors import UserError
from mmforget.methods.arguments import require_positive, text_of

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("Concept", "Layer", "Dim")


@dataclass(frozen=True)
class ConceptVectors:
    """The vector of each concept, a column of `down_proj`, with the tokens that it is read as by the model's head.

    It asks nothing and looks for no answer: `concept_vector` compares what is kept with the target model's. Where a
    vector has not changed, nothing was taken out of the weights there, whatever the model says; noise in it changes
    everything and says little.

    Source: ConceptVectors (arXiv 2406.11614), whose vectors exist for Llama-2-7B-chat and OLMo-7B alone.

    Args:
        vectors: a JSON file, a list of objects with `Concept`, the subject, `Layer` and `Dim`, the column, both counted
            from 0; as the official files have them.
        top: how many tokens are kept.
    """

    vectors: str = ""
    top: int = 200

    access: ClassVar[Literal["weights"]] = "weights"
    modality: ClassVar[Literal["any"]] = "any"
    label: ClassVar[str] = "concept vectors"
    kinds: ClassVar[tuple[str, ...]] = ("gen",)
    sets: ClassVar[Literal["forget"]] = "forget"
    budget: ClassVar[int] = 1
    cost: ClassVar[str] = "no forward pass: a column of a matrix and what the head makes of it"
    metrics: ClassVar[tuple[MetricName, ...]] = (
        MetricName("concept_vector"),
        MetricName("concept_vector", {"by": "cosine"}),
    )

    def __post_init__(self) -> None:
        require_positive(top=self.top)

    def named(self) -> tuple[Column, ...]:
        """Raises UserError for a file that is none."""
        return tuple(column for columns in self._told.values() for column in columns)

    def columns(self, subject: str) -> tuple[Column, ...]:
        """The columns of a subject's vectors; none where the file has no such concept."""
        return self._told.get(_plain(subject), ())

    def keep(self, vector: Tensor, logits: Tensor) -> dict[str, Tensor]:
        """Of a column [H] and what the head makes of it [V]: itself and the numbers of its first tokens."""
        most = min(self.top, len(logits))
        return {"vector": vector, "top": logits.topk(most).indices.sort().values}

    @cached_property
    def _told(self) -> Mapping[str, tuple[Column, ...]]:
        if not self.vectors:
            raise UserError("needs vectors=FILE, a JSON list of {Concept, Layer, Dim}: where each concept's vector is")
        found: dict[str, list[Column]] = defaultdict(list)
        for at, one in enumerate(self._rows()):
            if not isinstance(one, dict) or not all(key in one for key in KEYS):
                raise UserError(f"vectors={self.vectors}: entry {at} has not all of {', '.join(KEYS)}")
            if not all(isinstance(one[key], int) and one[key] >= 0 for key in KEYS[1:]):
                raise UserError(f"vectors={self.vectors}: entry {at}: Layer and Dim have to be whole numbers from 0")
            found[_plain(str(one["Concept"]))].append(Column(one["Layer"], one["Dim"]))
        return {name: tuple(columns) for name, columns in found.items()}

    def _rows(self) -> list[Any]:
        try:
            rows = json.loads(text_of("vectors", self.vectors))
        except json.JSONDecodeError as error:
            raise UserError(f"vectors={self.vectors} is no JSON ({error})") from error
        if not isinstance(rows, list):
            raise UserError(f"vectors={self.vectors} is no list of {{{', '.join(KEYS)}}}")
        return rows


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())


ATTACK = ConceptVectors
