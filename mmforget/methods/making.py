"""One method of its class and arguments, with what code of another package does wrong there. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmforget.arguments import argument_types
from mmforget.methods.arguments import from_arguments
from mmforget.methods.base import METHODS
from mmforget.plugins import running

DECLARED = (
    "requests", "sources", "base", "rounds", "candidates", "first_layers", "learnt_times", "needs_all_subjects", "grid",
    "paper", "evidence", "besides", "finish",
)  # fmt: skip
"""What a method may say of itself, which is read in many places and by some of them before it does anything."""


def make(name: str, args: str | Mapping[str, Any]) -> Any:
    """The method of one name, whatever its shape.

    Raises as `build` does, and PluginError where code of another package fails in what it says of itself.
    """
    kind = METHODS.get(name)
    with running(kind, what=f"method '{name}'"):
        made = from_arguments(kind, args, owner=f"method '{name}'")
    for one in DECLARED:
        # A property that fails for want of an attribute would else be none at all.
        if hasattr(kind, one):
            with running(made, what=f"method '{name}': {one}"):
                getattr(made, one)
    return made


def arguments_of(name: str) -> dict[str, Any]:
    """The types of the arguments that a method takes, by name. Raises UnknownName for one that does not exist."""
    kind = METHODS.get(name)
    with running(kind, what=f"method '{name}'"):
        return argument_types(kind)
