"""Single image unlearning: a concept is taught to look like something unknown, while distributions stay elsewhere.

Source: Li et al. 2024, "Single Image Unlearning: Efficient Machine Unlearning in Multimodal Large Language Models",
https://arxiv.org/abs/2405.12523: multifaceted rows from one picture (`siu_data`) and the dual masked KL.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods import siu_data
from mmforget.methods.arguments import require_not_negative
from mmforget.methods.base import Divergence, Evidence, Request, Scores, Source, Step
from mmforget.methods.losses import token_mean, token_mean_nll
from mmforget.methods.material import Material
from mmforget.types import Example

ALPHA, BETA = 0.9, 0.75
WRITTEN, DRIFT = Scores("written"), Divergence("written")


@dataclass(frozen=True)
class SingleImageUnlearning:
    """Minimises the NLL of rows that it writes itself and KL(before || now) on them, masked twice.

    The divergence leaves out the tokens of an answer that contradict what the model knows, and of the vocabulary the
    tokens that the concept's names are written with; it is not renormalised. `variant` says the rest:

    paper: alpha NLL + beta KL, the KL averaged over the answer tokens that are left.
    released: NLL + KL as the public code computes it: over as many positions from the start of the sequence as its text
        has tokens, prompt and image included, summed and divided by positions x vocabulary, which makes it some 32,000
        times smaller than a KL a token: in effect NLL alone.

    `rows` is a file of conversations to train on instead of written ones; `names`, `looks`, `facts` and `others` say
    how many rows of each kind are written for a concept.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2405.12523"

    alpha: float = ALPHA
    beta: float = BETA
    variant: Literal["paper", "released"] = "paper"
    rows: str = ""
    names: int = 9
    looks: int = 2
    facts: int = 7
    others: int = 7

    def __post_init__(self) -> None:
        require_not_negative(alpha=self.alpha, beta=self.beta)
        require_not_negative(names=self.names, looks=self.looks, facts=self.facts, others=self.others)
        if not self.names + self.looks:
            raise UserError("names=0,looks=0 is not allowed: no row would show the picture; give names=9 or looks=2")
        if self.variant == "released" and (self.alpha, self.beta) != (ALPHA, BETA):
            raise UserError("variant=released weighs both terms 1; leave alpha and beta out, or choose variant=paper")

    @property
    def requests(self) -> tuple[Request, ...]:
        return (WRITTEN, DRIFT) if self.beta else (WRITTEN,)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The written rows, whose divergence is taken at the answer's tokens, or where the released mask lies."""
        alignment: Literal["answer", "released"] = "answer" if self.variant == "paper" else "released"
        written = Source(
            name="written", draw="epoch", rows=self.build, silent_words=siu_data.silent_words, alignment=alignment
        )
        return (written,)

    def build(self, material: Material) -> list[Example]:
        """The rows: the user's, or those of four kinds for every concept; see `siu_data` for what they raise."""
        if self.rows:
            return siu_data.file_rows(Path(self.rows).expanduser(), material=material)
        counts = siu_data.Counts(self.names, self.looks, self.facts, self.others)
        return siu_data.template_rows(material, counts=counts)

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`nll` and, with a weight, `kl`, both >= 0, in nats a token."""
        nll = token_mean_nll(step[WRITTEN])
        if not self.beta:
            return {"nll": self.alpha * nll}
        kl = token_mean(step[DRIFT].token_kl, step[DRIFT].mask)
        if self.variant == "released":
            # A sum over positions of sums over the vocabulary, divided by the number of all these entries.
            return {"nll": nll, "kl": kl / step[DRIFT].num_vocabulary}
        return {"nll": self.alpha * nll, "kl": self.beta * kl}


METHOD = SingleImageUnlearning
