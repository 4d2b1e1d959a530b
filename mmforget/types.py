"""The records that the parts of mmforget hand to one another. No torch at run time, no behaviour beyond lookup.

Shapes in comments: B requests, T answer tokens (padded).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor


Progress = Callable[[int, int, str], None]
"""Called with what is done, the total, and a label."""


@dataclass(frozen=True)
class Row:
    """One question about at most a few images: what loaders produce and everything else reads.

    `gold` is the place of the right one among `choices`, and without another `answer` that one is it. `turns` are
    messages with `role` and `content`, of which the last is the assistant's, the answer; `text` is a whole document,
    which has no question: `answer` is it.
    """

    id: str
    subject: str
    question: str
    answer: str
    images: tuple[Image, ...] = ()
    choices: tuple[str, ...] = ()
    gold: int | None = None
    turns: tuple[Mapping[str, str], ...] = ()
    text: str = ""
    question_rephrased: tuple[str, ...] = ()
    answer_rephrased: tuple[str, ...] = ()
    answer_perturbed: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """A context and the answer that should follow it, as text and images, ready to be encoded.

    `context` holds one literal `<image>` per image, in order; `answer` starts with its own delimiter (usually a blank).
    `path` and `extra` are the row's, for methods that look at where a row stands or what it goes with.

    Attributes:
        delimiter: what `answer` starts with; a chat template, which separates turns itself, leaves it out, but where
            the answer has a `gen_prefix`.
        turns: the messages before the answer, where there are several; `context` is the same in plain text.
        description: what stands before the context: a system message in a chat template.
        gen_prefix: what the answer's turn begins with, behind the context; given, not learnt.
        is_document: the answer is a whole document, read in windows as lm_eval's rolling log-likelihood reads it.
        window: of a document that is longer than the model takes, which of its windows; None: it has one.
    """

    id: str
    subject: str
    context: str
    answer: str
    images: tuple[Image, ...] = ()
    path: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    delimiter: str = " "
    turns: tuple[Mapping[str, str], ...] = ()
    description: str = ""
    gen_prefix: str = ""
    is_document: bool = False
    window: int | None = None


class Scored(NamedTuple):
    """Scores of a batch of answers, padded on the right. Differentiable when gradients are on.

    Attributes:
        token_logprobs: float32 [B, T], log-prob of each answer token given all before it, in nats; 0 where padded.
        mask: bool [B, T], True where a token counts.
        is_greedy: bool [B], True where every answer token is the most likely one.
        is_best: bool [B, T], True where this token is, and where padded; None where it was not kept.
    """

    token_logprobs: Tensor
    mask: Tensor
    is_greedy: Tensor
    is_best: Tensor | None = None


class Matrix(NamedTuple):
    """A linear layer: weight [outputs, inputs] and bias [outputs], or None where it has none."""

    weight: Tensor
    bias: Tensor | None


class Sums(NamedTuple):
    """Rows of a matrix's outputs, added up, on the CPU.

    Attributes:
        total: float64 [D], sum of the rows.
        absolute: float64 [D], sum of their absolute values.
        num_rows: how many.
    """

    total: Tensor
    absolute: Tensor
    num_rows: int


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How the positions of a question become rows.

    Attributes:
        alpha: weight of the mean over image positions in a question's one row, the others' is 1 - alpha; None: the mean
            over all positions. So it is, too, for a question without an image.
        padding: what pads a batch of `batch_size` on the right counts as text, and of several images the first alone
            as image. A question's row then depends on the others in its batch.
        each_token: every image token is a row of a projector's outputs; else a question has one, the mean over each of
            its images, averaged.
        batch_size: questions a forward pass, in order. Without `padding` no number depends on it.
    """

    alpha: float | None
    padding: bool = False
    each_token: bool = False
    batch_size: int = 4


Spot = Literal["all", "image", "context_end"]
"""Places of a question and its answer: all tokens, its image tokens, or the last token of what stands before the
answer."""
TakeRows = Callable[[str, "Tensor", "Tensor"], None]
"""Told a module's name, what it computed at places float32 [k, D], and how often each of them counts, float32 [k]."""


class Steered(NamedTuple):
    """What a model says where something was added to its states; differentiable in that.

    Attributes:
        token_logprobs: float32 [T], of an answer's tokens.
        first: float32 [V], log-probs of all tokens behind the context.
    """

    token_logprobs: Tensor
    first: Tensor


IS_BEST = "is_best"
"""Name of the token values that say where the answer's token is the most likely one: 1, else 0."""
GRADIENT_NORM, GRADIENT_NORM_BUT_LAST = "gradient_norm", "gradient_norm_but_last"
"""Names of numbers of a whole answer, the same at each of its tokens: see `model.gradient_norms`."""
PREFIXED = "prefixed"
"""`prefixed/N/answer` is the role of an answer's log-probs behind the first N rows of the holdout set."""
SWAPPED = "swapped"
"""`swapped/answer` is the role of an answer's log-probs where the question shows another subject's pictures."""
PLAIN, PATCHED, RETAIN_PATCHED, KEPT = "plain", "patched", "retain_patched", "kept"
"""What an attack that puts states into the target model leaves in `Sample.states`: the answer's mean log-prob there; by
layer, that where this model's states or the retain model's are put; and states that are still to be put.
"""
TokenValues = Mapping[str, tuple[float, ...]]
"""By name, numbers of each answer token beside its log-prob: `IS_BEST`, and token statistics that were asked for."""


class TokenScores(tuple[float, bool]):
    """A log-likelihood result as lm_eval expects it, `(sum of log-probs, is_greedy)`, that also carries every token's.

    It unpacks, compares and pickles as a pair, so stock lm_eval code sees nothing new.

    Attributes:
        values: what else is known of the tokens; empty from whoever knows no more.
    """

    token_logprobs: tuple[float, ...]
    values: TokenValues

    def __new__(
        cls, token_logprobs: tuple[float, ...], is_greedy: bool, values: TokenValues | None = None
    ) -> TokenScores:
        self = super().__new__(cls, (float(sum(token_logprobs)), bool(is_greedy)))
        self.token_logprobs, self.values = tuple(token_logprobs), dict(values or {})
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (TokenScores, (self.token_logprobs, self[1], self.values))


class NoScores(tuple[float, bool]):
    """In place of `TokenScores` where there is no answer, and why: unscored, which is not zero. The pair is (nan, no).

    As TokenScores does, it passes through stock lm_eval code.
    """

    reason: str

    def __new__(cls, reason: str) -> NoScores:
        self = super().__new__(cls, (math.nan, False))
        self.reason = reason
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (NoScores, (self.reason,))


class NoText(str):
    """In place of a generated text where there is no answer, and why: unscored, which an empty text is not."""

    reason: str

    def __new__(cls, reason: str) -> NoText:
        self = super().__new__(cls, "")
        self.reason = reason
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (NoText, (self.reason,))


class DocumentScore(float):
    """The log-likelihood of a whole document as lm_eval expects it, one number, that also carries every token's.

    NaN where there is no answer; `reason` then says why.
    """

    token_logprobs: tuple[float, ...]
    reason: str
    values: TokenValues

    def __new__(
        cls, token_logprobs: tuple[float, ...], reason: str = "", values: TokenValues | None = None
    ) -> DocumentScore:
        self = super().__new__(cls, math.nan if reason else sum(token_logprobs))
        self.token_logprobs, self.reason, self.values = tuple(token_logprobs), reason, dict(values or {})
        return self

    @classmethod
    def of(cls, scores: TokenScores | NoScores) -> DocumentScore:
        if isinstance(scores, NoScores):
            return cls((), scores.reason)
        return cls(scores.token_logprobs, values=scores.values)

    def __reduce__(self) -> tuple[Any, ...]:
        return (DocumentScore, (self.token_logprobs, self.reason, self.values))


def why_unanswered(answer: object) -> str:
    """Why there is no answer; empty where there is one, also from another model than ours."""
    return str(getattr(answer, "reason", ""))


@dataclass(frozen=True)
class States:
    """Hidden states that were kept, float32 in C order, as bytes: small, and equal where all numbers are."""

    shape: tuple[int, ...]
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, values: Any) -> States:
        """Of a tensor on the CPU, an array or nested numbers."""
        import numpy as np

        array = np.asarray(values, dtype=np.float32, order="C")
        return cls(array.shape, array.tobytes())

    def array(self) -> NDArray[np.float32]:
        import numpy as np

        return np.frombuffer(self.data, dtype=np.float32).reshape(self.shape)


@dataclass(frozen=True)
class Sample:
    """One answered question of one task: all that a metric may read. Stored as a line of `samples_<task>.jsonl`.

    `response` is set for kind `gen`, `token_logprobs` for the others: a role to per-token log-probs, with the roles
    `answer`, `rephrased/<k>` and `perturbed/<k>` of kind `prob`, and `released/<role>` where the official code words a
    candidate otherwise; `choice/<k>` of kind `mc`, where `choices` are those that were scored and `gold` is the place
    of the right one; `answer` alone, which is the whole document, of kind `roll`. `attack` names what asked otherwise
    than the benchmark does, and `attempt` counts its questions about a row, from 0; both are None for the benchmark's
    own. `extra` is the row's. `labels` is what a judge said of the response, by what it was asked. `unanswered` says
    why there is no answer, where a guard has none. `ranks` is what an attack that looks into the model finds: the
    place of the right answer in each list of candidates that it makes, 0 for the first; one by questions has none.
    `lacking` says what an attack needs and the row has not, so that there was no attempt. `token_values` has by name,
    and then by role, numbers of each token beside its log-prob, as far as they are known: `is_best` is 1 where the
    token is the most likely one; `entropy` and `variance`, of the log-probs of all tokens in its place, are asked for
    where a metric reads them. `states` are hidden states, by name, that an attack keeps, so that models can be compared
    without any of them.
    """

    task: str
    set: str
    kind: str
    id: str
    subject: str
    question: str
    answer: str
    keywords: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    response: str | None = None
    token_logprobs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    attack: str | None = None
    attempt: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    unanswered: str = ""
    choices: tuple[str, ...] = ()
    gold: int | None = None
    ranks: tuple[int, ...] = ()
    lacking: str = ""
    token_values: Mapping[str, TokenValues] = field(default_factory=dict)
    states: Mapping[str, States] = field(default_factory=dict)

    def with_role(self, prefix: str, *, profile: str = "clean") -> list[tuple[float, ...]]:
        """Per-token log-probs of all candidates whose role is `prefix` or starts with `prefix/`, in order.

        Of the wording that `profile` scores, where a candidate has one of its own.
        """
        scores = self.token_logprobs
        return [scores.get(f"{profile}/{k}", v) for k, v in scores.items() if k == prefix or k.startswith(prefix + "/")]


class Score(NamedTuple):
    """One sample's score. `value` None means it could not be scored, and `reason` says why; that is not zero.

    `lacking`: the row has no reference to score against, whatever the model does; not the model's fault.
    """

    value: float | None
    subject: str
    reason: str = ""
    lacking: bool = False


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty. Rates lie in [0, 1]; `low` and `high` bound the 95 % interval.

    `num_unscored` are the answers that could not be scored and should have been; `num_lacking` are rows that have
    nothing to score against, whatever the model does, and take no part.
    `num_subjects` is how many subjects the interval rests on, in the smallest set that takes part; None where subjects
    play no role or are not known.
    `higher_is_better` is None where nearness to the retain model is what counts. `constant` marks scores that are all
    the same, so that nobody reads meaning into a rank among them.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    num_scored: int = 0
    num_unscored: int = 0
    higher_is_better: bool | None = None
    range: tuple[float, float] = field(default=(0.0, 1.0), metadata={"open": True})
    constant: bool = False
    reasons: tuple[str, ...] = ()
    num_lacking: int = 0
    num_subjects: int | None = None


@dataclass(frozen=True)
class Replicates:
    """A number and what is needed for its interval, alone or together with others on the same subjects.

    Attributes:
        value: the number itself, on all subjects.
        num_subjects: distinct subjects in the smallest set that it rests on.
        shifts: by subject, how the value moves without that subject, times sqrt((C - 1) / C) of the subject's set: the
            squares add up to the variance.
        degrees: by subject, the degrees of freedom that its set gives to the variance.
        floor: variance beyond the shifts': what scores that are nearly all equal hide.
        least, most: where the interval starts from, downwards and upwards. They differ from `value` only where the
            value was cut off or folded, as |x| is, and the true one may lie on the other side; None is `value`.
    """

    value: float
    num_subjects: int
    shifts: Mapping[str, float] = field(default_factory=dict)
    degrees: Mapping[str, float] = field(default_factory=dict)
    floor: float = 0.0
    least: float | None = None
    most: float | None = None
