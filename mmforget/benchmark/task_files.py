"""Task files as lm_eval reads them, without importing it: includes merged, `!function` kept as a reference."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import yaml

from mmforget.benchmark.files import is_hidden
from mmforget.errors import PluginError, UserError, one_line, shortened
from mmforget.reading import read_text
from mmforget.yaml_text import SafeLoader, parse_yaml

MAX_BYTES = 2**24
"""Longest task file that is read."""

SETTLED_NS = 10**8
"""A file that changed less than this ago might change again without its time showing it: systems count in ticks."""
MAX_KNOWN = 4096
"""Task files that are remembered."""

FUNCTION_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", re.ASCII)


class TaskFileError(UserError):
    """Task files that cannot be read or say something they may not; one line a fault, with file and, if known, line."""


class FunctionRef(NamedTuple):
    """A `!function module.name` tag: the folder of the file it stands in, and the dotted name."""

    folder: Path
    name: str


Stamp = tuple[int, ...]


class _Known(NamedTuple):
    """What a task file said when it was read, and all files that this came from, as they were then."""

    config: dict[str, Any]
    sources: dict[Path, Stamp | None]


_KNOWN: dict[Path, _Known] = {}


def read_task_file(path: Path) -> dict[str, Any]:
    """The mapping in a task file with its `include`d bases merged in (keys of the file itself win).

    A file is read again only where it or one of these has changed: a command asks for all of them several times.

    Raises TaskFileError for what cannot be read or parsed, an include that is not there, and a cycle of includes.
    """
    known = _KNOWN.get(path)
    if known is None or any(_stamp(source) != stamp for source, stamp in known.sources.items()):
        sources: dict[Path, Stamp | None] = {}
        known = _Known(_read(path, chain=(), sources=sources), sources)
        _remember(path, known)
    return dict(known.config)


def _stamp(path: Path) -> Stamp | None:
    """Changes with the content of a file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _remember(path: Path, known: _Known) -> None:
    if len(_KNOWN) >= MAX_KNOWN:
        _KNOWN.clear()
    newest = max(stamp[-1] if stamp else sys.maxsize for stamp in known.sources.values())
    if newest < time.time_ns() - SETTLED_NS:
        _KNOWN[path] = known


def hashes_below(folders: Iterable[Path]) -> dict[str, str]:
    """By name, sha256 of every file below a benchmark's folders: tasks, bases, loader, what it imports there, document.

    Of a document without its recipes.
    """
    files = {
        str(path.relative_to(folder)): path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "__pycache__" and not is_hidden(path, below=folder)
    }
    return {name: _hash_asked(files[name]) for name in sorted(files)}


def _hash_asked(path: Path) -> str:
    """sha256 of what a benchmark's file says but for the recipes of its document.

    Those say how models are made, and so are in a model's fingerprint where they made it: a recipe of one method says
    nothing of what another's model was asked. The file is one that was read as a task before, or none in YAML.
    """
    content = path.read_bytes()
    if path.suffix != ".yaml" or b"recipes" not in content:
        return hashlib.sha256(content).hexdigest()
    node = yaml.compose(content, Loader=SafeLoader)
    metadata = _child(node, "metadata")
    document = _child(metadata, "unlearning")
    if document is not None:
        document.value = [pair for pair in document.value if pair[0].value != "recipes"]
    return hashlib.sha256(yaml.serialize(node, encoding="utf-8")).hexdigest()


def _child(node: yaml.Node | None, key: str) -> yaml.MappingNode | None:
    """The mapping below a key of a mapping; None where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    found = [value for name, value in pairs if name.value == key]
    return found[0] if found and isinstance(found[0], yaml.MappingNode) else None


def load_function(reference: FunctionRef) -> Callable[..., Any]:
    """The function a tag refers to: from a file beside the YAML first, then from an installed package.

    Raises PluginError where it does not exist or its module cannot be imported.
    """
    module_name, _, name = reference.name.rpartition(".")
    function = getattr(load_module(reference), name, None)
    if not callable(function):
        raise PluginError(f"!function {reference.name} ({reference.folder}): {module_name} has no function '{name}'")
    return function  # type: ignore[no-any-return]


def load_module(reference: FunctionRef) -> ModuleType:
    """The module that holds the function a tag refers to. Raises PluginError where it cannot be imported."""
    module_name = reference.name.rpartition(".")[0]
    path = reference.folder / f"{module_name.replace('.', '/')}.py"
    if path.is_file() and not path.resolve().is_relative_to(reference.folder.resolve()):
        raise PluginError(f"!function {reference.name} ({reference.folder}): {path.resolve()} lies outside the folder")
    try:
        return _module_of(path.resolve()) if path.is_file() else importlib.import_module(module_name)
    except Exception as error:
        raise PluginError(
            f"!function {reference.name} ({reference.folder}): {type(error).__name__}: {error}"
        ) from error


def _read(path: Path, *, chain: tuple[Path, ...], sources: dict[Path, Stamp | None]) -> dict[str, Any]:
    # By the name it was asked for: a link that leads elsewhere is another file, too.
    sources[path] = _stamp(path)
    try:
        path = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise TaskFileError(f"{path}: cannot be read: {one_line(error)}") from error
    if path in chain:
        raise TaskFileError(f"{chain[-1]}: includes itself through {path}")
    config = _parse(path)
    includes = config.pop("include", [])
    merged: dict[str, Any] = {}
    for include in includes if isinstance(includes, list) else [includes]:
        base = path.parent / str(include)
        if not _is_file(base):
            raise TaskFileError(f"{path}: includes {shortened(str(include))}, which does not exist beside it")
        merged.update(_read(base, chain=(*chain, path), sources=sources))
    return merged | config


def _is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _parse(path: Path) -> dict[str, Any]:
    try:
        config = _constructed(read_text(path, max_bytes=MAX_BYTES), folder=path.parent)
    except UserError as error:
        raise TaskFileError(str(error)) from error
    except yaml.YAMLError as error:
        raise TaskFileError(f"{path}{_position(error)}: {_problem(error)}") from error
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise TaskFileError(f"{path}: not valid YAML: {one_line(error)[:200]}") from error
    if not isinstance(config, dict):
        raise TaskFileError(f"{path}: a task file holds a mapping of keys, not {type(config).__name__}")
    return dict(config)


@lru_cache(maxsize=1024)
def _constructed(text: str, *, folder: Path) -> Any:
    """What a text in YAML says. Kept, since a command reads every task file several times; not to be written to."""
    return parse_yaml(text, loader=_loader_for(folder))


def _loader_for(folder: Path) -> Any:
    class Loader(SafeLoader):  # type: ignore[misc]
        """Safe YAML that also knows lm_eval's `!function`, as an inert reference."""

    def reference(loader: Any, node: Any) -> FunctionRef:
        name = str(loader.construct_scalar(node))
        if not FUNCTION_NAME.fullmatch(name):
            # A path would lead out of the folder.
            raise TaskFileError(f"{folder}: !function {shortened(name)} is not module.name")
        return FunctionRef(folder, name)

    Loader.add_constructor("!function", reference)
    return Loader


def _position(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _problem(error: yaml.YAMLError) -> str:
    parts = (getattr(error, "context", None), getattr(error, "problem", None))
    return "not valid YAML: " + (", ".join(part for part in parts if part) or str(error))


def _module_of(path: Path) -> ModuleType:
    # The name and the modification time are those under which lm_eval keeps the same file, so that both share one
    # module and what it has loaded is loaded once.
    name, modified_ns = str(path.with_suffix("")), path.stat().st_mtime_ns
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__mtime__", None) == modified_ns:
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    module.__mtime__ = modified_ns  # type: ignore[attr-defined]
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
