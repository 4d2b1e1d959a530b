"""What an attack is: a frozen dataclass whose fields are its arguments, registered under its file's name.

It says what it needs of a model (`access`):

- `black_box`: answers alone. `asks(ask)` makes other questions of one; each is an attempt, and a sample says which.
  With `knows = "task"` it is `asks(ask, others)`, which sees the task's other rows, too. An attack with
  `follow(ask, said)` goes on by what was answered. With `knows = "target"` it has `queries(ask, others)`, which the
  target model is asked once, and is `asks(ask, told)`; with `knows = "attacker"` another model writes what is asked.
  Where an attempt is about something else, its `row` says so: samples are made of that.
- `logits`, `hidden`: `depths(num_layers)` names where in the model it looks (`logits`: at the last layer alone), and
  `ranks(logits, token)` says for each list of candidates that it makes of what is there, how many come before the token
  of the right answer. Ranks are kept, so that every budget is known afterwards. All attacks of a run look at once. One
  of `hidden` may have `rows` and `learn(states, last)`: it learns on so many rows to keep how states are to be read,
  and looks by itself; so does one with `rows` and `teach(states, logits, tokens)`, which learns heads of its own. One
  with `keep(states)` looks for no answer: what it gives stands in samples, and is compared with another model's by the
  `metrics` that it names. So does one with `into`: its states are put into the target model, layer by layer, and the
  answer's log-probs are kept.
- `gradients`: `search(asks, box)` looks, by how a true answer's log-prob changes, for words beside a question, other
  pixels of its pictures or a vector added to states (`changes.Searching`), and gives the best after each number of
  steps in `at`, an attempt each. It is told the answer of each question (`told = "own"`), or once those of others.
- `weights`: `training(material)` says on which rows the model is trained before the attack `then` is made on it. Where
  `then` is None the plain questions are asked after each number of updates in `at`, of rows that were not trained on.
  Or `alter(linear, attempt=0)` says what becomes of each linear layer, the adapter being merged: the plain questions
  are asked of as many altered models as `budget` says; with `rows_seen` it is told what goes into the layer on so many
  rows to keep. Either way each time is an attempt. Or
  `columns(subject)` names columns of weights, and what `keep` gives of them is compared with another model's.

It may also say how much it takes: `budget`, how many candidates it looks at, and `cost`, in words; and whom it is made
on: `kinds`, the kinds of task (default: all), and `sets`, `forget` for what tries to get a forgotten answer back, so
that nothing else is asked (default: `any`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, get_args, runtime_checkable

from mmforget.asking import Ask, Depth
from mmforget.attacks.replies import Told
from mmforget.errors import PluginError, UserError
from mmforget.methods.arguments import from_arguments
from mmforget.methods.material import Material
from mmforget.plugins import running
from mmforget.registry import Registry
from mmforget.training.settings import TrainSettings
from mmforget.types import Example

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from mmforget.model.altering import Altered, Linear

Access = Literal["black_box", "logits", "hidden", "gradients", "weights"]
Modality = Literal["image", "any"]
NEEDS: Mapping[str, tuple[str, ...]] = {
    "black_box": ("asks",),
    "logits": ("depths", "ranks", "is_whole"),
    "hidden": ("depths", "ranks", "is_whole"),
    "gradients": ("search", "told", "through", "at"),
    "weights": (),
}
"""What an attack has to have, by its access."""
OF_KNOWING: Mapping[str, tuple[str, ...]] = {
    "target": ("queries",),
    "attacker": ("prompt", "decoding", "attempt", "budget"),
}
"""What it has to have besides, by whom it asks for help."""
TOLD = ("id", "subject", "question", "answer")
"""The columns of other rows that an attack may read."""


class Lacking(NamedTuple):
    """In place of attempts: what the attack needs and the row has not, in words, e.g. `no paraphrase`."""

    reason: str


class Retraining(NamedTuple):
    """What a model is trained on before it is asked.

    Attributes:
        rows: with the answers to learn.
        settings: how; without `lora` the language model itself trains.
        asks_all: whether rows that are trained on are asked about all the same.
        width: the hidden size from which on the rate is as it stands; that of a narrower model is higher in proportion,
            since a weight moves by the rate, and an output by the sum over its inputs. None: it stands for all.
    """

    rows: Sequence[Example]
    settings: TrainSettings
    asks_all: bool = False
    width: int | None = None

    def settings_for(self, hidden_size: int) -> TrainSettings:
        """The settings, with the rate for a model of this width."""
        times = 1.0 if self.width is None else max(1.0, self.width / hidden_size)
        return replace(self.settings, lr=self.settings.lr * times)


class Attack(Protocol):
    """What every attack says about itself.

    Attributes:
        access: what it needs of the model.
        modality: `image` for an attack on questions about images alone, `any` for one on all.
        label: what it does to a question, for progress, in two or three words.
    """

    @property
    def access(self) -> Access: ...
    @property
    def modality(self) -> Modality: ...
    @property
    def label(self) -> str: ...


class Asking(Attack, Protocol):
    """A black-box attack."""

    def asks(self, ask: Ask) -> list[Ask] | Lacking:
        """The attempts at a question, in order; of a repeatable question always the same ones."""


def _own_pictures(row: Mapping[str, Any]) -> Any:
    return row.get("images")


@dataclass(frozen=True)
class Others:
    """All rows of a task, whether they are asked or not, for an attack on one of them.

    What it makes of a row is therefore the same whichever others are asked with it.

    Attributes:
        rows: in the order of the task; pictures need not be decoded.
        visual: the pictures that the task shows of a row, in whatever shape.
    """

    rows: Sequence[Mapping[str, Any]] = ()
    visual: Callable[[Mapping[str, Any]], Any] = _own_pictures

    @cached_property
    def told(self) -> Sequence[Mapping[str, Any]]:
        """What each row asks and answers about whom (`TOLD`), without pictures."""
        columns = getattr(self.rows, "select_columns", None)
        return [{name: row[name] for name in TOLD} for row in (self.rows if columns is None else columns([*TOLD]))]

    @cached_property
    def of_subject(self) -> Mapping[str, list[Mapping[str, Any]]]:
        """By subject, what its rows tell, each once."""
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        for row in self.told:
            found.setdefault(str(row["subject"]), {}).setdefault(str(row["id"]), row)
        return {subject: list(rows.values()) for subject, rows in found.items()}

    def shown(self, number: int) -> tuple[Image, ...]:
        """The pictures of a row, by its number, read anew."""
        # Who only lists attacks needs no library of pictures.
        from mmforget.lm.images import ImageReader, as_list

        where, row = f"row {self.told[number]['id']}", self.rows[number]
        return tuple(ImageReader().open(one, where=where) for one in as_list(self.visual(row)))


class Informed(Attack, Protocol):
    """A black-box attack that makes its question of others' rows, too: one with `knows = "task"`."""

    def asks(self, ask: Ask, others: Others) -> list[Ask] | Lacking:
        """As `Asking.asks`; `others` are all rows of the task, this one's among them."""


class Following(Asking, Protocol):
    """A black-box attack that goes on asking."""

    def follow(self, ask: Ask, said: Sequence[str]) -> Ask | None:
        """The next attempt at the question `ask`, to which the attempts before it were answered so; None: no more."""


class Reading(Attack, Protocol):
    """An attack that looks at logits or hidden states.

    Attributes:
        is_whole: whether every token of the answer has to be found, behind those before it, or the first one alone.
    """

    @property
    def is_whole(self) -> bool: ...

    def depths(self, num_layers: int) -> tuple[Depth, ...]:
        """Where it looks in a model of so many decoder layers. Raises UserError where that has too few."""

    def ranks(self, logits: Tensor, token: int) -> tuple[int, ...]:
        """One rank for each list of candidates, from logits float32 [D, V], one row a depth."""


@runtime_checkable
class Learning(Reading, Protocol):
    """An attack on hidden states that learns, on rows to keep, how they are to be read.

    Attributes:
        rows: on how many rows, the first ones.
    """

    @property
    def rows(self) -> int: ...

    def learn(self, states: Tensor, last: Tensor) -> Callable[[Tensor], Tensor]:
        """What is done to states [T, D, H] before the model's norm and head read them.

        Args:
            states: float32 [N, D, H] on the CPU, at the attack's depths, of the N tokens of the answers to keep.
            last: float32 [N, H], what the last layer put out there.
        """


@runtime_checkable
class Probing(Reading, Protocol):
    """An attack on hidden states that trains a head of its own for each layer, on rows to keep.

    Attributes:
        rows: on how many rows, the first ones.
    """

    @property
    def rows(self) -> int: ...

    def teach(self, states: Tensor, logits: Tensor, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """What is added to the model's logits, float32 [T, V], as a function of states [T, H] at one depth.

        Args:
            states: float32 [N, H], normalised as the head takes them, of the N tokens of the answers to keep.
            logits: float32 [N, V], what the model's head makes of them.
            tokens: int64 [N], the tokens that come.
        """


class Training(Attack, Protocol):
    """An attack that trains the model.

    Attributes:
        then: the attack that it is asked under afterwards, with its arguments; None: the plain questions.
        at: without `then`, after which updates it is asked, each an attempt.
    """

    @property
    def then(self) -> str | None: ...
    @property
    def at(self) -> tuple[int, ...]: ...

    def training(self, material: Material) -> Retraining:
        """What the model is trained on; `material.retain` are rows that have nothing to do with what was forgotten."""


class Altering(Attack, Protocol):
    """An attack that changes weights without training.

    Attributes:
        budget: how many ways it has, the mildest first.
    """

    @property
    def budget(self) -> int: ...

    def alter(self, linear: Linear, *, attempt: int) -> Altered:
        """What becomes of a linear layer; repeatable."""


@runtime_checkable
class Calibrated(Altering, Protocol):
    """An attack that changes weights by what goes through them on rows to keep.

    Attributes:
        rows_seen: over how many rows, the first ones; 0: it looks at none after all.
    """

    @property
    def rows_seen(self) -> int: ...


NOBODY = Others()


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being an attack, in words."""
    if not isinstance(plugin, type) or not is_dataclass(plugin):
        return ["ATTACK is no dataclass; it has to be the class itself, whose fields are the attack's arguments"]
    access: Any = getattr(plugin, "access", None)
    if access is not None and access not in get_args(Access):
        return [f"ATTACK ({plugin.__name__}): access '{access}' is none of {', '.join(get_args(Access))}"]
    # An argument without a default is no attribute of the class.
    there = {*dir(plugin), *plugin.__dataclass_fields__}
    of_weights: tuple[str, ...] = ("alter", "budget") if "alter" in there else ("training", "then")
    of_weights = ("columns", "named", "keep", "metrics") if "columns" in there else of_weights
    needed = (
        "access",
        "modality",
        "label",
        *_needed(access or "black_box", there),
        *(of_weights if access == "weights" else ()),
    )
    needed += OF_KNOWING.get(getattr(plugin, "knows", ""), ())
    missing = [key for key in needed if key not in there]
    return [f"ATTACK ({plugin.__name__}) lacks {' and '.join(missing)}"] if missing else []


def _needed(access: Access, there: Collection[str]) -> tuple[str, ...]:
    """What an attack of this access has to have, of what it keeps or finds."""
    return ("depths", "metrics") if access == "hidden" and {"keep", "into"} & {*there} else NEEDS[access]


ATTACKS: Registry[type[Any]] = Registry(
    "attack", package="mmforget.attacks", attribute="ATTACK", faults_of=shape_faults
)


def build_attack(name: str, args: str | Mapping[str, Any] = "") -> Any:
    """The attack `name` with its arguments, as `"num=3"` or as a mapping.

    Raises UnknownName for an attack or an argument that does not exist, UserError for a value that cannot be.
    """
    kind = ATTACKS.get(name)
    owner = f"attack '{name}'"
    try:
        with running(kind, what=owner):
            return from_arguments(kind, args, owner=owner)
    except UserError as error:
        raise error if owner in str(error) else UserError(f"{owner}: {error}") from error


def reaches(attack: Attack, *, modality: str, kind: str = "gen", is_forget: bool = True) -> bool:
    """Whether an attack applies to a task: of this modality and kind, on the set that is to be forgotten or another."""
    if attack.modality == "image" and modality == "text":
        return False
    return kind in getattr(attack, "kinds", (kind,)) and (is_forget or not recovers(attack))


def recovers(attack: Attack) -> bool:
    """Whether an attack tries to get a forgotten answer back, so that it is made on the forget set alone."""
    return getattr(attack, "sets", "any") == "forget"


def budget_of(attack: Attack | type[Any]) -> int | None:
    """How many candidates an attack looks at; None where it does not say."""
    budget: int | None = getattr(attack, "budget", None)
    return budget


def cost_of(attack: Attack | type[Any]) -> str:
    """What an attack takes, in words; empty where it does not say."""
    return str(getattr(attack, "cost", ""))


def attempts_at(
    ask: Ask, *, attack: Any, name: str, others: Others = NOBODY, told: Sequence[Told] = ()
) -> list[Ask] | Lacking:
    """The attack's questions. Raises PluginError where it fails, or gives what are no questions of the same kind.

    Args:
        others: the task's rows, for an attack that knows them.
        told: what the target model said, for an attack that is made of that.
    """
    given = {"task": (others,), "target": (told,)}.get(getattr(attack, "knows", ""), ())
    return _questions(partial(attack.asks, ask, *given), ask=ask, attack=attack, what=f"attack '{name}': asks")


def queries_at(ask: Ask, *, attack: Any, name: str, others: Others = NOBODY) -> list[Ask] | Lacking:
    """What an attack asks the target model about a row. Raises PluginError as `attempts_at` does."""
    return _questions(partial(attack.queries, ask, others), ask=ask, attack=attack, what=f"attack '{name}': queries")


def _questions(make: Callable[[], Any], *, ask: Ask, attack: Any, what: str) -> list[Ask] | Lacking:
    with running(attack, what=what):
        made = make()
        found: list[Ask] | Lacking = made if isinstance(made, Lacking) else list(made)
    if isinstance(found, Lacking):
        return found
    if not all(isinstance(one, Ask) and one.kind == ask.kind for one in found):
        raise PluginError(f"{what} has to give questions (Ask) of the kind it was given, '{ask.kind}'")
    return found


def next_attempt(ask: Ask, *, attack: Any, name: str, said: Sequence[str]) -> Ask | None:
    """What an attack that goes on asks next; None where it does not, or has asked all it wanted to.

    Raises PluginError as `attempts_at` does.
    """
    if not hasattr(attack, "follow"):
        return None
    with running(attack, what=f"attack '{name}': follow"):
        found: Ask | None = attack.follow(ask, said)
    if found is not None and not (isinstance(found, Ask) and found.kind == ask.kind):
        raise PluginError(f"attack '{name}': follow has to give a question (Ask) of kind '{ask.kind}', or None")
    return found
