"""What a method is, and how a name and its arguments become one. Imports no torch.

`needs` and `step` come from `methods.steps`; they are offered here, too, so that a method has one place to import from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from mmforget.methods.arguments import argument_types, from_arguments
from mmforget.methods.steps import Need, Step
from mmforget.plugins import running
from mmforget.registry import Registry
from mmforget.types import Example, LossParts

if TYPE_CHECKING:
    from mmforget.methods.material import Material

__all__ = ["METHODS", "Method", "Need", "Step", "WritesRows", "arguments", "build", "hyper_parameters"]

JOINER = "+"


class Method(Protocol):
    """A trained method: a frozen dataclass of hyper-parameters with a loss. The file's name is the method's name."""

    @property
    def needs(self) -> frozenset[Need]:
        """What `loss` reads; may depend on the hyper-parameters."""

    def loss(self, step: Step) -> LossParts:
        """The scalar to minimise, and its weighted terms, which add up to it."""


@runtime_checkable
class WritesRows(Protocol):
    """A trained method with Need.BUILT: it writes the rows that it trains on.

    Attributes:
        kl_alignment: where `built_kl` is taken. `answer`: at the answer tokens. `released`: at as many positions from
            the start of the sequence as its text has tokens, an image counting one, whatever stands there.
    """

    @property
    def kl_alignment(self) -> Literal["answer", "released"]: ...

    def build(self, material: Material) -> list[Example]:
        """The rows. `extra["unkept"]` of a row is the part of its answer whose tokens get no divergence, or empty."""

    def silent_words(self, material: Material) -> list[str]:
        """Words whose tokens are left out of the vocabulary that the divergence is summed over."""


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being a method, in words."""
    if not isinstance(plugin, type):
        kind = type(plugin).__name__
        return [f"METHOD is an object of {kind}; it has to be the class itself: METHOD = {kind}"]
    if not is_dataclass(plugin):
        return [f"METHOD ({plugin.__name__}) is no dataclass; its fields are the method's arguments"]
    wanted = ("edit", "check") if hasattr(plugin, "edit") else ("loss", "needs")
    missing = [key for key in wanted if not hasattr(plugin, key)]
    return [f"METHOD ({plugin.__name__}) lacks {' and '.join(missing)}"] if missing else []


METHODS: Registry[type[Any]] = Registry(
    "method", package="mmforget.methods", attribute="METHOD", faults_of=shape_faults
)


def build(name: str, args: str | Mapping[str, Any] = "") -> Any:
    """The method `name`, or several joined as `ga+pd`, with hyper-parameters as `"beta=0.1"` or as a mapping.

    An argument of joined methods goes to all that have it; `pd.weight=0.3` means one of them. What comes back has a
    `loss` (`Method`) or an `edit` (see `methods.edits`).

    Raises UnknownName for a method or an argument that does not exist, UserError for a value of the wrong type or
    outside its range, and for methods that cannot be joined.
    """
    if JOINER in name:
        from mmforget.methods.composite import join

        return join(name, args)
    kind = METHODS.get(name)
    with running(kind, what=f"method '{name}'"):
        return from_arguments(kind, args, owner=f"method '{name}'")


def arguments(name: str) -> tuple[str, ...]:
    """Names of the arguments that the method `name` takes. Raises UnknownName for a method that does not exist."""
    if JOINER not in name:
        kind = METHODS.get(name)
        with running(kind, what=f"method '{name}'"):
            return tuple(argument_types(kind))
    return joined_arguments(name.split(JOINER))


def joined_arguments(names: Sequence[str]) -> tuple[str, ...]:
    """The arguments of several methods, each by itself and with its method's name before it."""
    own = {name: argument_types(METHODS.get(name)) for name in names}
    plain = {argument for known in own.values() for argument in known}
    return (*sorted(plain), *(f"{name}.{argument}" for name, known in own.items() for argument in known))


def hyper_parameters(method: Any) -> dict[str, Any]:
    """The method's arguments by name, plain values, for records; a method that is no dataclass has none."""
    named = getattr(method, "hyper_parameters", None)
    if named is not None:
        found: dict[str, Any] = named()
        return found
    return asdict(method) if is_dataclass(method) and not isinstance(method, type) else {}
