"""YAML of strangers: safe values only, with bounds on what a short text can stand for."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from mmforget.reading import MAX_DEPTH

MAX_VALUES = 1_000_000
"""Values of a text, each counted as often as it is named."""
# The C parser is ten times faster where PyYAML was built with it, and `mmforget ls` reads every task file.
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Size(NamedTuple):
    """How many values a part stands for, and how deep they are nested."""

    num_values: int
    depth: int


def parse_yaml(text: str, *, loader: Any = SafeLoader) -> Any:
    """The value of a text in YAML; `loader` is a safe loader class.

    Raises yaml.YAMLError, and ValueError for nesting deeper than `MAX_DEPTH`, more than `MAX_VALUES` values and what
    names a part of itself. What the loader's constructors raise goes through.
    """
    _require_bounded(text)
    reader = loader(text)
    try:
        return reader.get_single_data()
    finally:
        reader.dispose()


def _require_bounded(text: str) -> None:
    """Looks at the text piece by piece, since a parser recurses as deep as its text and cannot be stopped by Python."""
    open_parts: list[tuple[str | None, list[_Size]]] = [(None, [])]
    named: dict[str, _Size] = {}
    for event in yaml.parse(text, Loader=SafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, []))
            _require(_Size(0, len(open_parts) - 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, items = open_parts.pop()
            size = _Size(1 + sum(item.num_values for item in items), 1 + max((item.depth for item in items), default=0))
        elif isinstance(event, yaml.AliasEvent):
            anchor, size = None, _named(str(event.anchor), named=named, inside=[name for name, _ in open_parts])
        elif isinstance(event, yaml.ScalarEvent):
            anchor, size = event.anchor, _Size(1, 0)
        else:
            continue
        _require(size)
        open_parts[-1][1].append(size)
        if anchor is not None:
            named[anchor] = size


def _named(anchor: str, *, named: dict[str, _Size], inside: list[str | None]) -> _Size:
    if anchor in inside:
        raise ValueError(f"*{anchor} stands inside the part that it names")
    # An anchor that nobody set is told by the parser, with its line.
    return named.get(anchor, _Size(1, 0))


def _require(size: _Size) -> None:
    if size.depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    if size.num_values > MAX_VALUES:
        raise ValueError(f"stands for more than {MAX_VALUES:,} values")
