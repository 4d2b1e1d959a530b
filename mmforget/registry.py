"""One registry for methods, metrics, attacks and benchmarks: listed without importing, imported when asked for.

The file name is the registered name: `mmforget/methods/npo.py` is the method `npo`. Other packages add theirs through
an entry point of the group `mmforget.<kind>s`. A plugin that fails to import is named and does not break the others.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata, util
from pathlib import Path
from typing import Generic, TypeVar

from mmforget.errors import PluginError, UnknownName

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A registered name: the module and attribute it loads from, who brought it, and its one-line description."""

    name: str
    module: str
    attribute: str
    origin: str
    summary: str = ""


class Registry(Generic[T]):
    """Names of one kind, each backed by a module that is imported on `get`.

    Args:
        kind: singular noun used in messages, e.g. `method`; the entry-point group is `mmforget.methods`.
        package: package whose public modules that define `attribute` are the built-in entries, or None.
        attribute: name every module gives its plugin object, e.g. `METHOD`.
    """

    def __init__(self, kind: str, *, package: str | None, attribute: str) -> None:
        self.kind, self.package, self.attribute = kind, package, attribute
        self.group = f"mmforget.{kind}s"

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """All entries by name. Raises PluginError where two plugins claim one name."""
        found: dict[str, Entry] = {}
        for entry in [*self._builtin(), *self._plugins()]:
            other = found.get(entry.name)
            if other is not None:
                raise PluginError(
                    f"two plugins are named '{entry.name}' ({self.kind}): {other.origin} and {entry.origin}; "
                    "uninstall one or rename its entry point"
                )
            found[entry.name] = entry
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        return list(self.entries)

    def get(self, name: str) -> T:
        """The plugin object. Raises UnknownName with suggestions, or PluginError naming the plugin that is broken."""
        entry = self.entries.get(name)
        if entry is None:
            raise UnknownName(self.kind, name=name, known=self.entries)
        try:
            plugin: T = getattr(importlib.import_module(entry.module), entry.attribute)
        except Exception as error:
            raise PluginError(
                f"{self.kind} '{name}' from {entry.origin} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        return plugin

    def _builtin(self) -> list[Entry]:
        if self.package is None:
            return []
        spec = util.find_spec(self.package)
        folders = list(spec.submodule_search_locations or []) if spec else []
        entries = []
        for info in pkgutil.iter_modules(folders):
            path = Path(info.module_finder.path) / f"{info.name}.py"  # type: ignore[union-attr]
            if info.ispkg or info.name.startswith("_") or not path.is_file():
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if _defines(tree, self.attribute):
                module = f"{self.package}.{info.name}"
                entries.append(Entry(info.name, module, self.attribute, "mmforget", _summary(tree)))
        return entries

    def _plugins(self) -> list[Entry]:
        entries = []
        for point in metadata.entry_points(group=self.group):
            package = point.dist.name if point.dist else point.module
            entries.append(Entry(point.name, point.module, point.attr or self.attribute, package))
        return entries


def _defines(tree: ast.Module, attribute: str) -> bool:
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            return True
    return False


def _summary(tree: ast.Module) -> str:
    docstring = ast.get_docstring(tree) or ""
    return docstring.split("\n", 1)[0].strip()
