"""Questions put to a model and whatever answers them: a model itself, or a guard around it. Imports no torch.

class Curt(GuardEngine):                              # a guard's engine: what it does not define is not answered
    def generate(self, asks):
        return [text.split(".")[0] for text in self.engine.generate(asks)]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

from mmforget.errors import PluginError, UserError
from mmforget.plugins import running
from mmforget.results.fingerprint import hash_image, hash_json
from mmforget.types import NoScores, NoText, TokenScores

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Positions = Literal["answer", "all"]
T = TypeVar("T")
Look = Callable[["Tensor", int], T]
"""What is kept of logits: (float32 [D, V], a row a depth, on the model's device; the token that comes) -> anything."""
NOT_SHOWN = "the guard gives no hidden states; look at the model itself, without guard="
CACHE_VERSION = 4
"""Raised when the same question would be answered differently by new code, so that old answers are not found."""


class Depth(NamedTuple):
    """Where in a model an answer is looked for: what a decoder layer puts out, through the final norm and the head.

    Attributes:
        layer: its number, 0 the first.
        num_norms: how often the final norm is applied; of the last layer 1 gives the model's own logits.
    """

    layer: int
    num_norms: int = 1


class Avoid(NamedTuple):
    """Words that a text is kept from while it is written.

    Attributes:
        words: none of their token sequences is ever completed.
        alpha: times how far the cosine of a token's embedding to that of a word, the mean of its tokens', lies above
            `similarity` is taken from the token's logit.
    """

    words: tuple[str, ...]
    alpha: float
    similarity: float


@dataclass(frozen=True)
class Decoding:
    """How to generate: at most `max_new_tokens` tokens, cut before the first of the `until` strings.

    `avoid`, which guards give, holds words down. `seed`, of sampled text, gives a question random numbers of its own:
    its text is the same whatever it is asked with.
    """

    max_new_tokens: int
    until: tuple[str, ...] = ()
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    avoid: Avoid | None = None

    @property
    def without_seed(self) -> Decoding:
        """What questions that are put together have in common."""
        return replace(self, seed=None)

    @property
    def greedy(self) -> Decoding:
        """As long, and cut at the same strings, but not sampled."""
        return Decoding(self.max_new_tokens, self.until, avoid=self.avoid)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that tell it from another."""
        values = vars(self) | {"until": list(self.until), "avoid": self.avoid and self.avoid._asdict()}
        return {key: value for key, value in values.items() if value is not None or key not in ("seed", "avoid")}


@dataclass(frozen=True)
class Ask:
    """One question: a context, the images it holds, and either a continuation to score or how to generate one.

    `kind` is `score`, `generate` or `rolling`; a rolling one has the whole document as its continuation. `context`
    holds a placeholder for each image.
    """

    kind: str
    task: str
    context: str
    continuation: str | None
    images: tuple[Image, ...]
    image_keys: tuple[str, ...]
    decoding: Decoding | None = None
    where: str = ""
    """Task and row, for messages."""
    row: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    """The benchmark's row as lm_eval hands it over, for attacks and for models that answer by its subject. No part of
    the key: what is made of it stands in the context and images."""
    statistics: tuple[str, ...] = ()
    """Token statistics that are wanted of a continuation's tokens besides their log-probs, by name."""

    def key(self, fingerprint: str) -> str:
        """Names the answer of the engine `fingerprint` to this question: equal only where the answer must be."""
        wanted = {"statistics": list(self.statistics)} if self.statistics else {}
        return hash_json(
            {
                "version": CACHE_VERSION,
                "model": fingerprint,
                "kind": self.kind,
                "task": self.task,
                "context": self.context,
                "continuation": self.continuation,
                "images": list(self.image_keys),
                "decoding": None if self.decoding is None else self.decoding.as_dict(),
                **wanted,
            }
        )

    @property
    def is_repeatable(self) -> bool:
        """Whether asking again must give the same answer: false for sampled text without a seed."""
        return self.decoding is None or not self.decoding.do_sample or self.decoding.seed is not None

    def showing(self, images: Sequence[Image]) -> Ask:
        """The same question about other images."""
        return replace(self, images=tuple(images), image_keys=tuple(map(hash_image, images)))


class Engine(Protocol):
    """What answers questions.

    Attributes:
        fingerprint: names everything that changes an answer; answers of one fingerprint are kept and given again.
    """

    @property
    def fingerprint(self) -> str: ...

    def first_words(self, context: str) -> int:
        """Where in a context what is asked begins, in characters: behind what a chat template writes, 0 without one."""

    def last_words(self, context: str) -> int:
        """Where it ends: before what a chat template writes in front of the reply; without one at the context's end."""

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Which questions, all of one kind, are best put together: every index once."""

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        """The log-prob of every token of each continuation, in order."""

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        """The text that follows each context, in order; `NoText` where there is none."""

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        """The log-prob of every token of each whole document, in order."""

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        """What decoder layers put out, before any final norm: float32 [L, T, H] a question, on the CPU.

        Args:
            layers: their numbers, 0 the first and -1 the last.
            positions: the T places that predict a token of the continuation, without one the next token; or `all`
                places that predict a token, image and context included.

        Raises UserError where there are none.
        """

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
        """What `look` makes of the logits at these depths, at each place that predicts a token of the continuation.

        Raises UserError where there are none.
        """


@dataclass(frozen=True)
class GuardEngine:
    """What a guard's engine begins with: it answers nothing, so that nothing passes a guard by mistake.

    What a guard leaves as it is, it passes on itself: `return self.engine.score(asks)`.
    """

    engine: Engine

    @property
    def fingerprint(self) -> str:
        return self.engine.fingerprint

    def first_words(self, context: str) -> int:
        return self.engine.first_words(context)

    def last_words(self, context: str) -> int:
        return self.engine.last_words(context)

    def batches(self, asks: Sequence[Ask]) -> list[list[int]]:
        return self.engine.batches(asks)

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return [NoScores("the guard gives no log-probs of answers") for _ in asks]

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return [NoText("the guard gives no text") for _ in asks]

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return [NoScores("the guard gives no log-probs of documents") for _ in asks]

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        raise UserError(NOT_SHOWN)

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
        raise UserError(NOT_SHOWN)


@dataclass(frozen=True)
class PassingEngine(GuardEngine):
    """Passes on what is answered in tokens, scores and texts, and shows nothing inside: for a guard that works on
    logits, in its `mix`."""

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self.engine.score(asks)

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return self.engine.generate(asks)

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self.engine.roll(asks)


@dataclass(frozen=True)
class Guard:
    """A method of shape guard, with what tells its answers from those of the bare model.

    Attributes:
        name: of the method, for messages.
        method: has `guard(engine) -> engine`.
        arguments: the method's, plain values.
        code: sha256 of its source where another package brings it.
        before: fingerprint of the model that it stands before.
        state: what the method keeps of the rows, plain values; `guard` is given it where the method has `start` or
            `learn`.
    """

    name: str
    method: Any
    arguments: Mapping[str, Any]
    code: str | None
    before: str
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        told = {"engine": self.before, "guard": self.name, "arguments": dict(self.arguments), "code": self.code}
        told |= {"state": dict(self.state)} if self.state else {}
        return f"guard-{hash_json(told)}"

    def around(self, engine: Engine) -> Engine:
        """The engine behind this guard. Raises PluginError where `guard` fails or gives what cannot answer."""
        with running(self.method, what=f"method '{self.name}': guard"):
            keeps = hasattr(self.method, "start") or hasattr(self.method, "learn")
            given = (self.state,) if keeps else ()
            found = self.method.guard(engine, *given)
        missing = [name for name in ("score", "generate", "roll") if not callable(getattr(found, name, None))]
        if missing:
            raise PluginError(
                f"method '{self.name}': guard gives a {type(found).__name__} without {', '.join(missing)}; "
                "begin with mmforget.asking.GuardEngine"
            )
        return _Guarded(engine, found, self)


@dataclass(frozen=True)
class _Guarded(GuardEngine):
    """A guard's engine, under the guard's fingerprint, whose code answers for what it does wrong."""

    inner: Engine = field(repr=False)
    guard: Guard

    @property
    def fingerprint(self) -> str:
        return self.guard.fingerprint

    def score(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self._answers("score", self.inner.score, asks=asks, kinds=(TokenScores, NoScores))

    def generate(self, asks: Sequence[Ask]) -> Sequence[str]:
        return self._answers("generate", self.inner.generate, asks=asks, kinds=(str,))

    def roll(self, asks: Sequence[Ask]) -> Sequence[TokenScores | NoScores]:
        return self._answers("roll", self.inner.roll, asks=asks, kinds=(TokenScores, NoScores))

    def hidden(self, asks: Sequence[Ask], *, layers: Sequence[int], positions: Positions = "answer") -> list[Tensor]:
        if not hasattr(self.inner, "hidden"):
            return super().hidden(asks, layers=layers, positions=positions)
        answer = partial(self.inner.hidden, layers=layers, positions=positions)
        found = self._answers("hidden", answer, asks=asks, kinds=(object,))
        if not all(getattr(one, "ndim", None) == 3 and len(one) == len(layers) for one in found):
            raise PluginError(f"method '{self.guard.name}': hidden: has to give a tensor [L, T, H] for each question")
        return found

    def lens(self, asks: Sequence[Ask], *, depths: Sequence[Depth], look: Look[T]) -> list[list[T]]:
        if not hasattr(self.inner, "lens"):
            return super().lens(asks, depths=depths, look=look)
        return self._answers("lens", partial(self.inner.lens, depths=depths, look=look), asks=asks, kinds=(list,))

    def _answers(
        self, what: str, answer: Callable[[Sequence[Ask]], Sequence[T]], *, asks: Sequence[Ask], kinds: tuple[type, ...]
    ) -> list[T]:
        label = f"method '{self.guard.name}': {what}"
        with running(self.guard.method, what=label):
            found = list(answer(asks))
        if len(found) != len(asks) or not all(isinstance(one, kinds) for one in found):
            raise PluginError(f"{label}: has to give a {kinds[0].__name__} for each of {len(asks)} questions")
        return found
