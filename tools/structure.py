"""The structure of a checkout of mmforget in figures, read from its source alone: nothing of it is imported or run.

    tools/structure.py                 # this checkout
    tools/structure.py /path/to/other --json

Rooms are the packages below `mmforget`, and its modules; their order is `LAYERS` of the checkout's own architecture
test. An arrow is an import that is carried out, at the top of a module or inside a function; it points back up where it
goes from an earlier room to a later one. A circle is a set of modules, or of rooms, each of which reaches the others.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_PARAMETERS = 8
NAME = "mmforget"
Graph = Mapping[str, set[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def figures(root: Path) -> dict[str, Any]:
    """Everything that is printed."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((root / NAME).rglob("*.py"))}
    modules = imported_modules(trees, root=root)
    rooms = _rooms(modules)
    functions = [one for tree in trees.values() for one in ast.walk(tree) if isinstance(one, Function)]
    lengths = [int(one.end_lineno or one.lineno) - one.lineno + 1 for one in functions]
    wide = sorted(f"{one.name} ({_num_parameters(one)})" for one in functions if _num_parameters(one) > MAX_PARAMETERS)
    return {
        "files": len(trees),
        "lines": sum(map(_num_lines, trees)),
        "rooms": {room: sum(_room(name) == room for name in modules) for room in sorted(rooms)},
        "arrows between modules": sum(map(len, modules.values())),
        "arrows between rooms": sum(map(len, rooms.values())),
        "arrows back up": _back_up(rooms, order=_order(root)),
        "circles of modules": circles(modules),
        "circles of rooms": circles(rooms),
        "rooms that most rooms need": _most_needed(rooms),
        "functions": len(functions),
        "median lines of a function": statistics.median(lengths),
        "longest function, in lines": max(lengths),
        f"functions of over {MAX_PARAMETERS} parameters": wide,
        "lines of the smallest": _smallest(root, trees),
    }


def imported_modules(trees: Mapping[Path, ast.Module], *, root: Path) -> dict[str, set[str]]:
    """Which modules each module imports when it, or something in it, runs, among those of `trees`."""
    names = {path: _module(path, root=root) for path in trees}
    return {names[path]: _imports(tree, names[path], known=set(names.values())) for path, tree in trees.items()}


def circles(graph: Graph) -> list[list[str]]:
    """The sets of two nodes and more that reach one another, largest first."""
    reached = {node: _reachable(graph, node) for node in graph}
    found = {tuple(sorted(other for other in reached[node] if node in reached.get(other, ()))) for node in graph}
    return sorted((list(one) for one in found if len(one) > 1), key=lambda one: (-len(one), one))


def _reachable(graph: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def _module(path: Path, *, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.Module, name: str, *, known: set[str]) -> set[str]:
    """The modules that one imports when it, or something in it, runs; what only type checkers read is left out."""
    found: set[str] = set()
    for node in _carried_out(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif node.level:
            raise SystemExit(f"{name}: a relative import, which is not read here")
        else:
            wanted = [_target(str(node.module), alias.name, known=known) for alias in node.names]
        found |= {one for one in wanted if one in known}
    return found - {name}


def _target(module: str, attribute: str, *, known: set[str]) -> str:
    return f"{module}.{attribute}" if f"{module}.{attribute}" in known else module


def _carried_out(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield node
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    for child in ast.iter_child_nodes(node):
        yield from _carried_out(child)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def _rooms(modules: Graph) -> dict[str, set[str]]:
    """Which room needs which; the package's own `__init__` is none."""
    found: dict[str, set[str]] = {_room(name): set() for name in modules if name != NAME}
    for name, wanted in modules.items():
        if name != NAME:
            found[_room(name)] |= {_room(one) for one in wanted if one != NAME} - {_room(name)}
    return found


def _order(root: Path) -> dict[str, int]:
    tree = ast.parse((root / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "LAYERS" for t in node.targets):
            return {name: rank for rank, names in enumerate(ast.literal_eval(node.value)) for name in names}
    raise SystemExit(f"{root}: tests/test_architecture.py has no LAYERS")


def _back_up(rooms: Graph, *, order: Mapping[str, int]) -> list[str]:
    pairs = [(room, other) for room, wanted in rooms.items() for other in wanted]
    known = [(room, other) for room, other in pairs if room in order and other in order]
    return sorted(f"{room} -> {other}" for room, other in known if order[other] > order[room])


def _most_needed(rooms: Graph) -> dict[str, int]:
    """By how many rooms those are needed that over half of them need."""
    counts = {room: sum(room in wanted for wanted in rooms.values()) for room in rooms}
    common = {room: count for room, count in counts.items() if count > len(rooms) / 2}
    return dict(sorted(common.items(), key=lambda item: -item[1]))


def _num_parameters(function: Function) -> int:
    """All but the object itself."""
    named = [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len(named) - (named[:1] in (["self"], ["cls"])) + (function.args.vararg is not None)


def _num_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _smallest(root: Path, trees: Mapping[Path, ast.Module]) -> dict[str, str]:
    """The benchmark, method and metric that need the fewest lines, wherever they lie."""
    found = {
        kind: min(_defining(trees, attribute), key=lambda item: (item[1], item[0]))
        for kind, attribute in (("method", "METHOD"), ("metric", "METRIC"))
    }
    found["benchmark"] = min(_benchmarks(root), key=lambda item: (item[1], item[0]))
    return {kind: f"{lines} ({name})" for kind, (name, lines) in sorted(found.items())}


def _defining(trees: Mapping[Path, ast.Module], attribute: str) -> Iterable[tuple[str, int]]:
    for path, tree in trees.items():
        targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
        if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
            yield path.stem, _num_lines(path)


def _benchmarks(root: Path) -> Iterable[tuple[str, int]]:
    """Python of a benchmark's task folder and of its package of protocols, where there is one; YAML apart."""
    for folder in sorted(path for path in (root / "tasks").iterdir() if path.is_dir()):
        files = [*folder.glob("*.py"), *(root / NAME / "protocols" / folder.name).rglob("*.py")]
        yield folder.name, sum(map(_num_lines, files))


def _text(found: Mapping[str, Any]) -> str:
    lines = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items()) or "none"
        elif isinstance(value, list):
            inner = [one if isinstance(one, str) else " <-> ".join(one) for one in value]
            value = f"{len(value)}" + (f": {'; '.join(inner)}" if inner else "")
        lines.append(f"{name}: {value}")
    return "\n".join(lines)


def main() -> None:
    """Prints the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1], help="a checkout")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    found = figures(args.root)
    print(json.dumps(found, indent=2) if args.json else _text(found))


if __name__ == "__main__":
    main()
