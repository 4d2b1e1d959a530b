"""ROCR, rank-one concept redirection: where a name or a face was, the model sees somebody unknown; no training.

Source: Ye et al. 2025, "LLM Unlearning Should Be Form-Independent", https://arxiv.org/abs/2506.07795; layers, null
space and settings are those of its code, github.com/Acruxos/ORT.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods import rocr_math
from mmforget.methods.arguments import require_not_negative, require_positive, text_of
from mmforget.methods.base import Evidence, Grid
from mmforget.methods.edits import Edit, EditReport, Matrix, Site, last_matrices, require_layer
from mmforget.methods.material import Material
from mmforget.methods.naming import given_names
from mmforget.methods.rocr_math import Means, Moments
from mmforget.methods.rocr_targets import Side, Target, nameless, targets_of, without_target
from mmforget.types import Example

FIRST, LAST = 4 / 32, 6 / 32
"""The layers where none are named, as shares of all: 4 to 6 of 32."""
MAX_KEPT = 512
"""Rows to keep whose inputs make the null space, at most."""
WORDS_OF_TEXT = 64
"""Words of a text file that are read at a time."""
STEPS, RATE, KL, DECAY, ENOUGH = 25, 0.1, 0.125, 0.5, 0.05
"""How a refusal is looked for: steps of Adam and their rate, weights of divergence and length, a loss that ends it."""


class Key(NamedTuple):
    """A side of a target with the state that it is to have, float64 [H]."""

    side: Side
    wanted: Tensor


@dataclass
class Editing:
    """An edit under way.

    Attributes:
        names: of the matrices to edit, one layer behind the other.
        block: the last layer, whose state is redirected.
        kept: by matrix, directions float64 [I, r] that no edit may touch.
        earlier: by matrix, keys float64 [I, m] of the edits so far.
    """

    site: Site
    names: tuple[str, ...]
    block: str
    kept: dict[str, Tensor]
    earlier: dict[str, list[Tensor]] = field(default_factory=dict)

    def keys(self, sides: Sequence[Side], name: str) -> Tensor:
        """Mean input of a matrix at the places of each side: float64 [I, n]."""
        return torch.stack([self.mean(one, name, inputs=True) for one in sides], dim=1)

    def mean(self, side: Side, name: str, *, inputs: bool = False, null: bool = False) -> Tensor:
        found = Means()
        rows = side.null if null else side.rows
        self.site.visit(rows, names=[name], take=found.take, at=side.at, inputs=inputs)
        return found.mean(name)


@dataclass(frozen=True)
class ConceptRedirection:
    """Adds to `down_proj` of some layers one rank for each name or face, which turns its state into another one.

    A name's key is the mean input of `down_proj` at the name's last token, behind a few openings and in the questions
    that hold it; that of a subject in images is the mean over image tokens. What is missing at the end of layer
    `last_layer` is divided among the layers that are left, from `first_layer` on (none: 4 to 6 of 32), each solved as
    D^T = (P (K K^T + C) + ridge 1)^-1 P K R^T. P takes away all directions in which the mean of x x^T over rows to keep
    is `threshold` or more; C holds the keys of the subjects before, one after the other.

    `target`: `unrelated` is the state of `unrelated`, nobody in particular, in the name's place, and of a grey image in
    that of an image; `reject` what makes the model go on with `refusal`, found by 25 steps of Adam; `noise` a random
    state of the same length, by `seed`. Naming a real person makes false statements about somebody else. No image
    is redirected in the model's last layer alone, nor to a refusal there: no layer behind reads what it makes of it.

    `names`, separated by semicolons: whom or what to redirect where rows mention it; else each subject by what its
    questions call it. A subject that no question names and no image shows is refused.

    Ours are the openings, means over contexts of states where the source takes one, faces, and what P is taken over: at
    most 512 rows to keep, or the lines of the text file `corpus`, in place of 100,000 texts of Wikipedia. Aliases,
    surnames alone and pronouns are not redirected; of earlier requests (`--requests`) no keys are known.
    """

    evidence: ClassVar[Evidence] = "adaptation"
    paper: ClassVar[str] = "https://arxiv.org/abs/2506.07795"
    grid: ClassVar[Grid] = {"threshold": (0.02, 0.2, 2.0), "ridge": (0.01, 0.1, 1.0)}

    first_layer: int | None = None
    last_layer: int | None = None
    target: Literal["unrelated", "reject", "noise"] = "unrelated"
    unrelated: str = "an unknown person"
    refusal: str = "Sorry, I do not know."
    names: str = ""
    corpus: str | None = None
    threshold: float = 0.02
    ridge: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_positive(threshold=self.threshold, ridge=self.ridge)
        require_not_negative(seed=self.seed)
        given_names(self.names)
        for name in ("unrelated", "refusal"):
            if not getattr(self, name).strip():
                raise UserError(f"{name} is empty; give a text")

    @property
    def needs(self) -> frozenset[Any]:
        return frozenset()

    def lacks(self, material: Material) -> str:
        """Which subjects cannot be redirected; empty where all can."""
        return nameless(material.forget, names=given_names(self.names))

    def check(self, *, forget: Sequence[tuple[str, ...]], retain: Sequence[tuple[str, ...]], level: int | None) -> None:
        """Raises UserError where nothing says what has to stay, or the corpus cannot be read."""
        if self.corpus is not None:
            self._corpus()
        elif not retain:
            raise UserError(
                "rocr keeps what rows to keep need, and there are none; give some, or a text as corpus=FILE"
            )

    def edit(
        self, site: Site, *, forget: Sequence[Example], retain: Sequence[Example], level: int | None
    ) -> EditReport:
        """Raises UserError for a layer that is not there or that nothing reads, a subject that nothing names or shows,
        and where nothing would change.
        """
        self.check(forget=[one.path for one in forget], retain=[one.path for one in retain], level=level)
        names = given_names(self.names)
        if why := nameless(forget, names=names):
            raise UserError(why)
        matrices, chosen = last_matrices(site, method="rocr"), self._layers(len(site.blocks))
        lost = [layer for layer in chosen if layer not in matrices]
        if lost:
            raise UserError(
                f"layer {lost[0]} has no feed-forward matrices; give first_layer and last_layer among "
                f"{', '.join(map(str, matrices))}"
            )
        targets = targets_of(forget, names=names, unrelated=self.unrelated)
        self._require_read(targets, layers=chosen, num_layers=len(site.blocks))
        editing = Editing(site, tuple(matrices[layer] for layer in chosen), site.blocks[chosen[-1]], {})
        editing.kept = self._kept(editing, retain)
        num_keys = sum(self._redirect(editing, target, number=number) for number, target in enumerate(targets))
        return self._report(editing, targets, num_keys=num_keys, lost=without_target(forget, names=names))

    def _layers(self, num_layers: int) -> range:
        first = int(FIRST * num_layers) if self.first_layer is None else self.first_layer
        last = max(int(LAST * num_layers), first) if self.last_layer is None else self.last_layer
        require_layer(first, num_layers=num_layers, name="first_layer")
        require_layer(last, num_layers=num_layers, name="last_layer")
        if first > last:
            raise UserError(f"first_layer={first} lies behind last_layer={last}; give layers in order")
        return range(first, last + 1)

    def _require_read(self, targets: Sequence[Target], *, layers: range, num_layers: int) -> None:
        """Raises UserError for images that would be redirected where no later layer reads them."""
        shown = [one.name for one in targets if any(side.at == "image" for side in one.sides)]
        is_read = layers[-1] < num_layers - 1 or (len(layers) > 1 and self.target != "reject")
        if shown and not is_read:
            raise UserError(
                f"last_layer={layers[-1]} is the model's last, and nothing reads what it makes of an image, such as "
                f"that of '{shown[0]}'; give last_layer={num_layers - 2} or less"
            )

    def _kept(self, editing: Editing, retain: Sequence[Example]) -> dict[str, Tensor]:
        rows = list(retain) if self.corpus is None else self._corpus()
        if len(rows) > MAX_KEPT:
            rows = [rows[at] for at in sorted(random.Random("rocr").sample(range(len(rows)), MAX_KEPT))]
        found = Moments()
        editing.site.visit(rows, names=editing.names, take=found.take, inputs=True)
        kept = {name: found.kept(name, threshold=self.threshold) for name in editing.names}
        if all(one.shape[1] == len(one) for one in kept.values()):
            raise UserError(
                f"rocr would change nothing: rows to keep use all directions by threshold={self.threshold} or more; "
                "give a larger one"
            )
        return kept

    def _corpus(self) -> list[Example]:
        """The text file, some words at a time."""
        words = text_of("corpus", str(self.corpus)).split()
        if not words:
            raise UserError(f"corpus={self.corpus} holds no word; give a text file")
        parts = [" ".join(words[at : at + WORDS_OF_TEXT]) for at in range(0, len(words), WORDS_OF_TEXT)]
        return [Example(f"corpus/{at}", "corpus", "", text, delimiter="") for at, text in enumerate(parts)]

    def _redirect(self, editing: Editing, target: Target, *, number: int) -> int:
        """Edits all layers for one target, and returns the number of its keys."""
        keys = [Key(side, self._wanted(editing, side, number=number)) for side in target.sides]
        sides = [key.side for key in keys]
        for at, name in enumerate(editing.names):
            inputs = editing.keys(sides, name)
            missing = [key.wanted - editing.mean(key.side, editing.block) for key in keys]
            earlier = editing.earlier.get(name, [])
            added = rocr_math.update(
                inputs,
                residuals=torch.stack(missing, dim=1) / (len(editing.names) - at),
                earlier=torch.cat(earlier, dim=1) if earlier else inputs[:, :0],
                kept=editing.kept[name],
                ridge=self.ridge,
            )
            matrix = editing.site.matrix(name)
            weight = matrix.weight.double().cpu() + added
            editing.site.replace(name, Matrix(weight.to(matrix.weight.device, matrix.weight.dtype), matrix.bias))
        for name in editing.names:
            editing.earlier.setdefault(name, []).append(editing.keys(sides, name))
        return len(keys)

    def _wanted(self, editing: Editing, side: Side, *, number: int) -> Tensor:
        """The state float64 [H] that a side is to have at the end of the last edited layer."""
        if self.target == "unrelated":
            return editing.mean(side, editing.block, null=True)
        now = editing.mean(side, editing.block)
        if self.target == "reject":
            return now + refusing(editing.site, side, block=editing.block, now=now, refusal=self.refusal)
        generator = torch.Generator().manual_seed(self.seed + number)
        drawn = torch.randn(len(now), generator=generator, dtype=torch.float64)
        noise: Tensor = drawn * now.norm() / drawn.norm()
        return noise

    def _report(self, editing: Editing, targets: Sequence[Target], *, num_keys: int, lost: Sequence[str]) -> EditReport:
        weights = [editing.site.matrix(name).weight for name in editing.names]
        edits = [
            Edit(name, len(weight), num_keys, min(num_keys, *weight.shape))
            for name, weight in zip(editing.names, weights, strict=True)
        ]
        notes = [f"{target.name}: {' and '.join(side.kind for side in target.sides)}" for target in targets]
        notes += [f"'{name}' stands in no row to forget and was left out" for name in lost]
        return EditReport(tuple(edits), len(targets), sum(one.numel() for one in weights), tuple(notes))


def refusing(site: Site, side: Side, *, block: str, now: Tensor, refusal: str) -> Tensor:
    """What, added to a side's states, makes the model go on with a refusal: float64 [H], no longer than `now`.

    Minimises the mean NLL of the refusal a token over the side's contexts, plus KL from what it said before at the end
    of the first of them, plus |shift| / |now|^2.
    """
    shift = torch.zeros(len(now), requires_grad=True)
    adam = torch.optim.Adam([shift], lr=RATE)
    rows = [side.answered(one, refusal) for one in side.rows]
    before = site.steered(rows[0], name=block, shift=torch.zeros(len(now)), at=side.at).first.detach()
    for _ in range(STEPS):
        adam.zero_grad()
        length = DECAY * shift.norm() / float(now.norm()) ** 2
        loss = float(length.detach())
        for at, row in enumerate(rows):
            found = site.steered(row, name=block, shift=shift, at=side.at)
            term = -found.token_logprobs.mean() / len(rows)
            if at == 0:
                term = term + KL * (before.exp() * (before - found.first)).sum()
            # Each context's graph is gone before the next one's: memory is that of one.
            term.backward()  # type: ignore[no-untyped-call]
            loss += float(term.detach())
        if loss < ENOUGH:
            break
        length.backward()
        adam.step()
        with torch.no_grad():
            shift *= min(1.0, float(now.norm() / shift.norm().clamp(min=1e-12)))
    return shift.detach().double()


METHOD = ConceptRedirection
