"""Templates of task files, which may be a stranger's: rendered as lm_eval renders them, in a sandbox, within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mmforget.errors import UserError, one_line

MAX_ROUNDS, MAX_NESTED = 1000, 2
"""Rounds of a loop, and loops within loops."""
MAX_LENGTH = 1_000_000
"""Characters or items that a template may multiply a text or list to."""


class _Environment(ImmutableSandboxedEnvironment):
    """The settings of lm_eval's own environment, so that training shows the very text that evaluation asks."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(side) for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
        counts = [side for side in (left, right) if isinstance(side, int)]
        if operator == "**" or (sizes and counts and sizes[0] * counts[0] > MAX_LENGTH):
            raise SecurityError(f"{operator} of this size is not allowed in a template")
        return super().call_binop(context, operator, left, right)


def _bounded(items: Iterable[Any]) -> list[Any]:
    found = list(islice(items, MAX_ROUNDS + 1))
    if len(found) > MAX_ROUNDS:
        raise SecurityError(f"a loop of more than {MAX_ROUNDS} rounds")
    return found


@lru_cache(maxsize=64)
def template(text: str) -> Template:
    """The template in a text. Raises UserError where it is none or asks for what no prompt needs."""
    environment = _Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters["bounded"] = _bounded
    try:
        tree = environment.parse(text)
        _check(tree)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, "bounded", [], [], None, None)
        return environment.from_string(tree)
    except TemplateError as error:
        raise UserError(f"doc_to_text {text!r:.200}: {one_line(error)}") from error


def _check(tree: nodes.Template) -> None:
    """Loops are bounded by their rounds and depth; what calls itself is not allowed."""
    if any(True for _ in tree.find_all((nodes.Macro, nodes.CallBlock, nodes.Include, nodes.Extends, nodes.Import))):
        raise SecurityError("macros, calls and includes are not allowed in a template")
    if any(loop.recursive for loop in tree.find_all(nodes.For)) or _depth(tree) > MAX_NESTED:
        raise SecurityError(f"loops may be nested {MAX_NESTED} deep and not call themselves")


def _depth(node: nodes.Node) -> int:
    below = max((_depth(child) for child in node.iter_child_nodes()), default=0)
    return below + isinstance(node, nodes.For)
