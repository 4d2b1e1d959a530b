"""One registry for methods, metrics, attacks, judges and benchmarks: listed without importing, imported when asked for.

The file name is the registered name: `mmforget/methods/npo.py` is the method `npo`. Other packages add theirs through
an entry point of the group `mmforget.<kind>s`. A plugin that is broken, or whose name another has, is named and does
not break the others.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from mmforget.errors import PluginError, UnknownName, one_line, shortened

T = TypeVar("T")
OURS = "mmforget"
PROTOCOLS = Path(__file__).parent / "protocols"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True)
class Entry:
    """A registered name: the module and attribute it loads from, who brought it, and its one-line description."""

    name: str
    module: str
    attribute: str
    origin: str
    summary: str = ""


class _Found(NamedTuple):
    """What is registered, what is wrong with the rest, and the names that several plugins claim, with the reason."""

    entries: dict[str, Entry]
    faults: list[str]
    clashes: dict[str, str]


class Registry(Generic[T]):
    """Names of one kind, each backed by a module that is imported on `get`.

    Args:
        kind: singular noun used in messages, e.g. `method`; the entry-point group is `mmforget.methods`.
        package: package whose public modules that define `attribute` are built-in entries, or None; so are those of
            `mmforget/protocols/*/<kind>s`, which a benchmark brings along.
        attribute: name every module gives its plugin object, e.g. `METHOD`.
        faults_of: what is wrong with the shape of a plugin of that name, in words; asked of other packages' alone.
    """

    def __init__(
        self,
        kind: str,
        *,
        package: str | None,
        attribute: str,
        faults_of: Callable[[str, object], Sequence[str]] | None = None,
    ) -> None:
        self.kind, self.package, self.attribute, self.faults_of = kind, package, attribute, faults_of
        self.group = f"mmforget.{kind}s"

    @property
    def entries(self) -> dict[str, Entry]:
        """All entries by name, but for names that several plugins claim."""
        return self._found.entries

    @property
    def faults(self) -> list[str]:
        """Plugins that cannot be listed, and names that several claim, one line each."""
        return self._found.faults

    @property
    def clashes(self) -> dict[str, str]:
        """The names that several plugins claim, each with what to do about it."""
        return self._found.clashes

    def names(self) -> list[str]:
        return list(self.entries)

    def get(self, name: str) -> T:
        """The plugin object. Raises UnknownName with suggestions, or PluginError naming the plugin that is broken."""
        if not isinstance(name, str):
            raise UnknownName(self.kind, name=shortened(name), known=self.entries)
        if name in self.clashes:
            raise PluginError(self.clashes[name])
        entry = self.entries.get(name)
        if entry is None:
            raise UnknownName(self.kind, name=name, known=self.entries)
        try:
            plugin: T = getattr(importlib.import_module(entry.module), entry.attribute)
            wrong = self.faults_of(name, plugin) if self.faults_of and entry.origin != OURS else ()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{self.kind} '{name}' from {entry.origin} cannot be loaded: {type(error).__name__}: {one_line(error)}"
            ) from error
        if wrong:
            raise PluginError(f"{self.kind} '{name}' from {entry.origin}: {'; '.join(wrong)}")
        return plugin

    @cached_property
    def _found(self) -> _Found:
        entries: dict[str, Entry] = {}
        faults: list[str] = []
        clashes: dict[str, str] = {}
        for entry in [*self._builtin(), *self._plugins(faults)]:
            other = entries.get(entry.name)
            if other is not None:
                clashes[entry.name] = (
                    f"two plugins are named '{entry.name}' ({self.kind}): {other.origin} and {entry.origin}; "
                    "uninstall one or rename its entry point"
                )
            entries.setdefault(entry.name, entry)
        clear = {name: entry for name, entry in sorted(entries.items()) if name not in clashes}
        return _Found(clear, [*faults, *clashes.values()], clashes)

    def _builtin(self) -> list[Entry]:
        entries = []
        for package, folder in self._places():
            for info in pkgutil.iter_modules([str(folder)]):
                path = folder / f"{info.name}.py"
                if info.ispkg or info.name.startswith("_") or not path.is_file():
                    continue
                summary = _summary_of(path, attribute=self.attribute, changed_ns=path.stat().st_mtime_ns)
                if summary is not None:
                    entries.append(Entry(info.name, f"{package}.{info.name}", self.attribute, OURS, summary))
        return entries

    def _places(self) -> list[tuple[str, Path]]:
        """The packages that hold built-in entries, each with its folder."""
        spec = util.find_spec(self.package) if self.package else None
        folders = (spec.submodule_search_locations or []) if spec else []
        own = [(str(self.package), Path(folder)) for folder in folders]
        protocols = sorted(PROTOCOLS.glob(f"*/{self.kind}s"))
        return own + [(f"{OURS}.protocols.{folder.parent.name}.{folder.name}", folder) for folder in protocols]

    def _plugins(self, faults: list[str]) -> list[Entry]:
        """The entries of other packages; `faults` gets what is wrong with those that cannot be one."""
        entries = []
        for point in _entry_points(self.group, faults):
            if not NAME.fullmatch(point.name):
                faults.append(
                    f"{shortened(point.name)} is no name for a {self.kind}: letters, digits, '_', '-' and '.'"
                )
                continue
            try:
                module, attribute = point.module, point.attr
            except AttributeError:
                faults.append(f"{self.kind} '{point.name}': {shortened(point.value)} is not MODULE or MODULE:ATTRIBUTE")
                continue
            package = point.dist.name if point.dist else module
            entries.append(Entry(point.name, module, attribute or self.attribute, package))
        return entries


def _entry_points(group: str, faults: list[str]) -> list[metadata.EntryPoint]:
    """The entry points of a group; a package whose list of them cannot be read is a fault, and the others stay."""
    try:
        return list(metadata.entry_points(group=group))
    except Exception:
        found: list[metadata.EntryPoint] = []
        for package in metadata.distributions():
            try:
                found += package.entry_points.select(group=group)
            except Exception as error:
                faults.append(f"the entry points of {package.name} cannot be read: {one_line(error)}")
        return found


@lru_cache(maxsize=1024)
def _summary_of(path: Path, *, attribute: str, changed_ns: int) -> str | None:
    """The first line of a module's docstring; None where it does not define the attribute. Looked at once a process."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return _summary(tree) if _defines(tree, attribute) else None


def _defines(tree: ast.Module, attribute: str) -> bool:
    for node in tree.body:
        targets: Iterable[ast.expr] = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            return True
    return False


def _summary(tree: ast.Module) -> str:
    docstring = ast.get_docstring(tree) or ""
    return docstring.split("\n", 1)[0].strip()
