"""What an attack is: a frozen dataclass whose fields are its arguments, registered under its file's name.

A black-box attack makes other questions of one; each is an attempt, and a sample says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, Protocol, get_args

from mmforget.asking import Ask
from mmforget.errors import PluginError
from mmforget.methods.arguments import from_arguments
from mmforget.plugins import running
from mmforget.registry import Registry

Access = Literal["black_box"]


class Attack(Protocol):
    """A black-box attack.

    Attributes:
        access: what it needs of the model; `black_box` is its answers alone.
        modality: `image` for an attack on questions about images alone, `any` for one on all.
        label: what it does to a question, for progress, in two or three words.
    """

    @property
    def access(self) -> Access: ...
    @property
    def modality(self) -> Literal["image", "any"]: ...
    @property
    def label(self) -> str: ...

    def asks(self, ask: Ask) -> list[Ask]:
        """The attempts at a question, in order; of a repeatable question always the same ones."""


def shape_faults(name: str, plugin: object) -> list[str]:
    """What keeps an object from being an attack, in words."""
    if not isinstance(plugin, type) or not is_dataclass(plugin):
        return ["ATTACK is no dataclass; it has to be the class itself, whose fields are the attack's arguments"]
    missing = [key for key in ("access", "modality", "label", "asks") if not hasattr(plugin, key)]
    if missing:
        return [f"ATTACK ({plugin.__name__}) lacks {' and '.join(missing)}"]
    access = getattr(plugin, "access")  # noqa: B009
    known = ", ".join(get_args(Access))
    return [] if access in get_args(Access) else [f"ATTACK ({plugin.__name__}): access '{access}' is none of {known}"]


ATTACKS: Registry[type[Any]] = Registry(
    "attack", package="mmforget.attacks", attribute="ATTACK", faults_of=shape_faults
)


def build_attack(name: str, args: str | Mapping[str, Any] = "") -> Attack:
    """The attack `name` with its arguments, as `"num=3"` or as a mapping.

    Raises UnknownName for an attack or an argument that does not exist, UserError for a value that cannot be.
    """
    kind = ATTACKS.get(name)
    with running(kind, what=f"attack '{name}'"):
        found: Attack = from_arguments(kind, args, owner=f"attack '{name}'")
    return found


def reaches(attack: Attack, *, modality: str) -> bool:
    """Whether an attack applies to a task of this modality: one on images leaves out questions in words alone."""
    return attack.modality == "any" or modality != "text"


def attempts_at(ask: Ask, *, attack: Attack, name: str) -> list[Ask]:
    """The attack's questions. Raises PluginError where it fails, or gives what are no questions of the same kind."""
    with running(attack, what=f"attack '{name}': asks"):
        found = list(attack.asks(ask))
    if not all(isinstance(one, Ask) and one.kind == ask.kind for one in found):
        raise PluginError(f"attack '{name}': asks has to give questions (Ask) of the kind it was given, '{ask.kind}'")
    return found
