"""From the name and arguments that people type to a method. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmforget.methods.base import JOINER
from mmforget.methods.composite import join, joined_arguments
from mmforget.methods.making import arguments_of, make


def build(name: str, args: str | Mapping[str, Any] = "") -> Any:
    """The method `name`, or several joined as `ga+pd`, with hyper-parameters as `"beta=0.1"` or as a mapping.

    An argument of joined methods goes to all that have it; `pd.weight=0.3` means one of them. What comes back has a
    `loss` (`Method`), an `edit` (see `methods.edits`) or a `guard` (`Guarding`).

    Raises UnknownName for a method or an argument that does not exist, UserError for a value of the wrong type or
    outside its range, and for methods that cannot be joined.
    """
    if JOINER in name:
        return join(name, args)
    return make(name, args)


def arguments(name: str) -> tuple[str, ...]:
    """Names of the arguments that the method `name` takes. Raises UnknownName for a method that does not exist."""
    if JOINER not in name:
        return tuple(arguments_of(name))
    return joined_arguments(name.split(JOINER))
