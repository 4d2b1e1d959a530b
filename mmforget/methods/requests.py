"""What a method's loss may ask for, as values, and where the rows come from that it is asked about. Imports no torch.

Shapes: B answers, T tokens that are looked at (padded on the right), V vocabulary, L layers, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mmforget.errors import UserError
from mmforget.methods.material import Material
from mmforget.types import Example

if TYPE_CHECKING:
    from torch import Tensor

Positions = Literal["answer", "all"]
"""The tokens of the answer, or all of a sequence but its first: image, question and answer."""
Statistic = Callable[["Tensor", "Tensor"], "Tensor"]
"""A number of each token's distribution: (log-probs float32 [n, V], tokens that came int64 [n]) -> float32 [n]."""
ComparedStatistic = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""As `Statistic`, given the log-probs before training, too: float32 [n, V], constant."""
OfLogits = Callable[["Tensor"], "Tensor"]
"""A number of each place's raw logits: float32 [n, V] -> float32 [n]."""
OfBoth = Callable[["Tensor", "Tensor"], "Tensor"]
"""A number of each place's raw logits and those before training: float32 [n, V] both -> float32 [n]."""
OfWords = Callable[["Tensor", "Tensor", "Tensor"], "Tensor"]
"""A number of each token, see `WordStats`."""
OfRows = Callable[["Tensor"], "Tensor"]
"""A number of each row, made of one of each: float32 [N] -> float32 [N]."""
Choose = Callable[["Tensor", "Tensor"], "Tensor"]
"""A token of each place, made of the raw logits of two models there, float32 [n, V] both: int64 [n]."""


@dataclass(frozen=True)
class Scores:
    """Log-probs of a source's answers, differentiable: `step[...]` is a `Scored`."""

    source: str
    positions: Positions = "answer"


@dataclass(frozen=True)
class Reference:
    """Log-probs of a source's answers under another model, constant: float32 [B, T], 0 where padded.

    Attributes:
        of: the model `before` training, or a `retain_model`, which never saw the rows to forget; where none is given
            the model before training stands in for it. Of the latter the source is `forget`.
        suffix: each token is given no more than this share of what stands before it, the end of that, an image counting
            one; None: all of it. It takes a sequence for each token, once, and the model before training.
    """

    source: str
    of: Literal["before", "retain_model"] = "before"
    suffix: float | None = None

    @property
    def key(self) -> str:
        """By which its log-probs are kept."""
        name = self.source if self.of == "before" else f"{self.source} of {self.of}"
        return name if self.suffix is None else f"{name} by {self.suffix:g} of the context"


@dataclass(frozen=True)
class Divergence:
    """How far each token's distribution is from that before training: `step[...]` is a `Drift`, differentiable."""

    source: str
    positions: Positions = "answer"


@dataclass(frozen=True)
class TokenStats:
    """A number of each token's distribution, differentiable: float32 [B, T], 0 where padded.

    Attributes:
        kind: a name in `model.token_stats.KINDS`, or a function of one's own.
    """

    source: str
    kind: str | Statistic
    positions: Positions = "answer"


@dataclass(frozen=True)
class Comparison:
    """A number of each token's distribution beside that before training, differentiable: float32 [B, T], 0 if padded.

    Attributes:
        kind: a function, equal to another where it computes the same, e.g. an object of a frozen dataclass.
    """

    source: str
    kind: ComparedStatistic
    positions: Positions = "answer"


@dataclass(frozen=True)
class LogitStats:
    """A number of each place's raw logits, which log-probs do not tell, differentiable: float32 [B, T], 0 where padded.

    Attributes:
        kind: a function, equal to another where it computes the same, e.g. an object of a frozen dataclass.
        compared: the function is given the logits before training, too, constant.
    """

    source: str
    kind: OfLogits | OfBoth
    compared: bool = False
    positions: Positions = "answer"


@dataclass(frozen=True)
class WordStats:
    """A number of each token made of raw logits and of which words are silent, differentiable: float32 [B, T].

    Silent are the tokens that the source's `silent_words` are written with.

    Attributes:
        kind: a function, equal to another where it computes the same: (logits float32 [n, V], tokens that came int64
            [n], silent bool [V]) -> float32 [n].
    """

    source: str
    kind: OfWords
    positions: Positions = "answer"


@dataclass(frozen=True)
class Hidden:
    """Hidden states at the positions that predict a source's tokens: float32 [L, B, T, H], 0 where padded.

    Attributes:
        layers: numbers of decoder layers, 0 the first and -1 the last: what each puts out, before any final norm. A
            float is a share of all layers: 7 / 32 is number 7 of 32 and number 3 of 16.
        before: those of the model before training, constant; else differentiable.
    """

    source: str
    layers: tuple[int | float, ...]
    before: bool = False
    positions: Positions = "answer"


LAST_THIRD = 22 / 32
"""Where lenses begin as published: states 22 to 32 of a model of 32 layers, the embeddings being state 0."""


@dataclass(frozen=True)
class Lens:
    """A number of each token's distribution as the model's head reads it off deeper layers: `step[...]` is `AtLayers`.

    Attributes:
        kind: as that of `TokenStats`.
        from_depth: the first layer that is read, as a share of all: of N layers those whose number, counted from 1, is
            at least this share of N. The last one is always read.
        is_double: the last layer's states go through the final norm twice, as where a code takes Hugging Face's last
            hidden states, which have been through it, for those of any layer.
    """

    source: str
    kind: str | Statistic
    from_depth: float = LAST_THIRD
    is_double: bool = False
    positions: Positions = "answer"


@dataclass(frozen=True)
class Influence:
    """How much each row of a source counts, measured once before training and constant: float32 [B].

    The influence of row i is -g_i . (g / (mean g^2 + damping)), g_i the gradient of its NLL a token at the weights of
    attention from a depth on, g the mean of all rows'. Below 0, all rows' NLL would rise without it. It takes two
    passes over the rows, and weights that have gradients, so none in 4 or 8 bit. The rows of the source must not be
    drawn anew, as those of `alternate` are.

    Attributes:
        kind: a function of the influences of all rows, float32 [N] -> [N], equal to another where it computes the same.
        from_depth: the share of decoder layers below the first one that is read.
        damping: added to the mean squares.
    """

    source: str
    kind: OfRows
    from_depth: float = 2 / 3
    damping: float = 0.01


Request = Scores | Reference | Divergence | TokenStats | Comparison | LogitStats | WordStats | Hidden | Lens | Influence
REQUESTS = (Scores, Reference, Divergence, TokenStats, Comparison, LogitStats, WordStats, Hidden, Lens, Influence)

FORGET, RETAIN, ALTERNATE, BENIGN = "forget", "retain", "alternate", "benign"
SUPPLIED = (FORGET, RETAIN, ALTERNATE, BENIGN)
"""Sources that a benchmark fills.

`forget`: the rows to forget, over which epochs run. `retain`: rows to keep, partners drawn anew every epoch.
`alternate`: the questions to forget answered by refusals. `benign`: the questions to forget asked of a harmless image,
with their normal answers.
"""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Other tokens that a source's answers are scored against, made once before training: `Scores` are of these.

    The model learns the source's answers by their NLL first, in an adapter that is taken off again. A label is what
    `choose` makes of what that model says at a token's place, and what the model before says at the same place of a
    translation, where each term of the dictionary, question and answer, is replaced. No label, and so no score, has a
    token in a term behind the term's first one, or of a term that stood in the row before, or that begins where no
    token of the translation does; and the source can be asked for no `Reference`.

    Attributes:
        dictionary: what stands in place of each term, whole words as they are written, of terms that overlap the
            longest.
        choose: (logits after learning, logits before, of the translation) -> tokens; equal to another where it computes
            the same.
        lr_times: the learning's rate, in multiples of that of the training settings.
        updates_times: its updates, or epochs, as a multiple likewise.
    """

    dictionary: Callable[[Material], Mapping[str, str]]
    choose: Choose
    lr_times: float = 1.0
    updates_times: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows that a method asks about and how they are drawn; its `sources` are those that it brings or changes.

    Attributes:
        name: as requests call it.
        draw: `paired`: row k goes with the row to forget that has the same `extra["pair"]`. `each`: row k goes with row
            k to forget, of which there are as many. `random`: one for each row to forget, drawn anew every epoch.
            `epoch`: training runs over these rows and not over those to forget.
        rows: writes them from what there is; None where the benchmark supplies them. `extra["unkept"]` of a row is the
            part of its answer whose tokens no divergence counts.
        silent_words: words whose tokens are left out of the vocabulary that a divergence is summed over, where the rows
            are written, and which `WordStats` tells from others.
        alignment: where a divergence is taken. `answer`: at the answer's tokens. `released`: at as many positions from
            the start of the sequence as its text has tokens, an image counting one, whatever stands there.
        is_kept: these are rows to keep, as those of `retain` and `benign` are; a wrapper may leave them out.
        labels: what answers are scored against in place of their own tokens, where `rows` writes them; None: these.
    """

    name: str
    draw: Literal["paired", "each", "random", "epoch"] = "random"
    rows: Callable[[Material], Sequence[Example]] | None = None
    silent_words: Callable[[Material], Sequence[str]] | None = None
    alignment: Literal["answer", "released"] = "answer"
    is_kept: bool = False
    labels: Labels | None = None


def sources_of(method: Any) -> dict[str, Source]:
    """The sources that a method brings or changes, by name. Raises UserError for one named twice."""
    found: dict[str, Source] = {}
    for source in getattr(method, "sources", ()):
        if source.name in found:
            raise UserError(f"the source '{source.name}' is brought twice")
        found[source.name] = source
    return found


def kept_sources(method: Any) -> frozenset[str]:
    """Names of the sources of rows to keep."""
    return frozenset({RETAIN, BENIGN} | {name for name, one in sources_of(method).items() if one.is_kept})


def has_labels(method: Any) -> bool:
    """Whether rows are learnt before training for labels."""
    return any(source.labels is not None for source in sources_of(method).values())


def asked_sources(method: Any) -> set[str]:
    """Names of the sources that a method's requests are about."""
    return {request.source for request in method.requests}


def asks_retain_model(method: Any) -> bool:
    """Whether a method compares with a model that never saw the rows to forget, where one is given."""
    return any(isinstance(request, Reference) and request.of == "retain_model" for request in method.requests)


def compares_with_before(requests: Sequence[Request]) -> bool:
    """Whether the model before training is looked at in every step, which takes adapters that can be switched off."""
    return any(looks_back(request) for request in requests)


def looks_back(request: Request) -> bool:
    """Whether every step takes a pass through the model before training for it."""
    return (
        isinstance(request, Divergence | Comparison)
        or request == Reference(ALTERNATE)
        or (isinstance(request, Hidden) and request.before)
        or (isinstance(request, LogitStats) and request.compared)
    )


def reads_gradients(method: Any) -> bool:
    """Whether gradients of all rows are looked at before training for what a method asks."""
    parts = getattr(method, "parts", (method,))
    return any(isinstance(request, Influence) for request in method.requests) or any(
        hasattr(one, name) for one in parts for name in ("first_factors", "trained_part")
    )
