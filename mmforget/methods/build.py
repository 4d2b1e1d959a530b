"""From the name and arguments that people type to a method. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmforget.arguments import argument_types
from mmforget.methods.arguments import from_arguments
from mmforget.methods.base import JOINER, METHODS
from mmforget.methods.composite import join, joined_arguments
from mmforget.plugins import running


def build(name: str, args: str | Mapping[str, Any] = "") -> Any:
    """The method `name`, or several joined as `ga+pd`, with hyper-parameters as `"beta=0.1"` or as a mapping.

    An argument of joined methods goes to all that have it; `pd.weight=0.3` means one of them. What comes back has a
    `loss` (`Method`), an `edit` (see `methods.edits`) or a `guard` (`Guarding`).

    Raises UnknownName for a method or an argument that does not exist, UserError for a value of the wrong type or
    outside its range, and for methods that cannot be joined.
    """
    if JOINER in name:
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
