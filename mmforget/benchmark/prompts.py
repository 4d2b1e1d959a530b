"""How a task asks about a row: its `doc_to_text`, a template, a column or a function, as lm_eval reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mmforget.benchmark.task_files import FunctionRef, load_function
from mmforget.errors import PluginError, UserError


class Prompt(NamedTuple):
    """What one task shows of a row.

    Attributes:
        text: `doc_to_text`.
        delimiter: stands between context and answer.
    """

    task: str
    set: str
    kind: str
    modality: str
    text: str | FunctionRef
    delimiter: str = " "

    @property
    def shown(self) -> str:
        """`doc_to_text` as the task file has it."""
        return self.text if isinstance(self.text, str) else f"!function {self.text.name}"

    def context(self, doc: Mapping[str, Any]) -> str:
        """The context of a row, one `<image>` an image. Raises UserError where the template or function fails."""
        if not isinstance(self.text, FunctionRef):
            from mmforget.benchmark.templates import template

            return str(doc[self.text]) if self.text in doc else template(self.text).render(**doc)
        where = f"{self.text.folder}: doc_to_text {self.text.name} of row {doc['id']}"
        try:
            found = load_function(self.text)(doc)
        except UserError:
            raise
        except Exception as error:
            raise PluginError(f"{where}: {type(error).__name__}: {error}") from error
        if not isinstance(found, str):
            raise PluginError(f"{where}: gives a {type(found).__name__}, not a text")
        return found


def prompt_for(doc: Mapping[str, Any], prompts: Sequence[Prompt], *, set_name: str) -> Prompt:
    """The prompt that shows a row: of a task that takes such rows, of the row's own set where that has one."""
    has_images, has_choices, is_document = bool(doc["images"]), bool(doc["choices"]), bool(doc.get("text"))

    def misfit(prompt: Prompt) -> tuple[bool, ...]:
        return (
            (prompt.kind == "roll") != is_document,
            prompt.modality == ("text" if has_images else "image"),
            prompt.set != set_name,
            (prompt.kind == "mc") != has_choices,
        )

    return min(prompts, key=misfit)
