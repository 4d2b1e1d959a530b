"""Code of other packages: who brought an object, what its source is, and what happens when it fails."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Any

from mmforget.errors import PluginError, RunFailed, UserError, one_line
from mmforget.registry import OURS

MAX_FILES = 2_000
"""Python files of a package that count as a plugin's code; of a larger one, those of the plugin's own module alone."""


def module_of(plugin: object) -> str:
    """The module that an object's class, or a class itself, was written in."""
    return str(plugin.__module__ if isinstance(plugin, type) else type(plugin).__module__)


def is_ours(plugin: object) -> bool:
    """Whether a plugin object is one of mmforget's own, and so is everything that it joins."""
    return module_of(plugin).partition(".")[0] == OURS and all(is_ours(part) for part in _joined(plugin))


def code_of(plugin: object) -> str | None:
    """sha256 over the source of a plugin and of the package it comes with; None for mmforget's, which a version names.

    An edited plugin is another one, although its name and its arguments are the same.
    """
    if is_ours(plugin):
        return None
    owners = [part for part in _joined(plugin) if not is_ours(part)] or [plugin]
    return "+".join(_source_hash(module_of(owner)) for owner in owners)


def _joined(plugin: object) -> tuple[object, ...]:
    """The methods that a method joined of several consists of."""
    parts = getattr(plugin, "parts", ())
    return tuple(part for part in parts if not isinstance(part, str)) if isinstance(parts, tuple) else ()


@contextlib.contextmanager
def running(plugin: object, *, what: str) -> Iterator[None]:
    """Inside runs a plugin's code: what it raises becomes a PluginError that names it. Our own code raises as it does.

    Args:
        what: kind, name and place for the message, e.g. `metric 'mine': score`.
    """
    try:
        yield
    except (UserError, RunFailed):
        raise
    except (Exception, SystemExit) as error:
        if is_ours(plugin):
            raise
        raise PluginError(f"{what} ({place_of(error)}): {type(error).__name__}: {one_line(error)}") from error


@dataclass(frozen=True)
class Hook:
    """A function that a plugin brings, whose errors are the plugin's; equal to another of the same function.

    Attributes:
        owner: the plugin.
        what: as `running` is told it.
    """

    function: Callable[..., Any]
    owner: object = field(compare=False)
    what: str = field(compare=False)

    def __call__(self, *args: Any, **named: Any) -> Any:
        with running(self.owner, what=self.what):
            return self.function(*args, **named)


def place_of(error: BaseException) -> str:
    """File and line of the innermost code that raised."""
    trace = error.__traceback__
    if trace is None:
        return "unknown place"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


@lru_cache(maxsize=64)
def _source_hash(module: str) -> str:
    digest = hashlib.sha256(module.encode())
    for path in _sources(module):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _sources(module: str) -> list[Path]:
    """Every Python file of the package around a module, sorted, or the module's file alone."""
    spec = util.find_spec(module.partition(".")[0])
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    found = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if found and len(found) <= MAX_FILES:
        return found
    own = getattr(sys.modules.get(module), "__file__", None)
    return [Path(own)] if own and Path(own).is_file() else []
