"""How a task asks about a row: `doc_to_text`, `description` and `gen_prefix`, templates or columns as in lm_eval."""

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
        description: stands before the context.
        gen_prefix: the answer begins behind it.
    """

    task: str
    set: str
    kind: str
    modality: str
    text: str | FunctionRef
    delimiter: str = " "
    description: str = ""
    gen_prefix: str = ""

    @property
    def shown(self) -> str:
        """Everything that it shows, as the task file has it."""
        text = self.text if isinstance(self.text, str) else f"!function {self.text.name}"
        return " | ".join(part for part in (self.description, text, self.gen_prefix) if part)

    def context(self, doc: Mapping[str, Any]) -> str:
        """The context of a row, one `<image>` an image. Raises UserError where the template or function fails."""
        if not isinstance(self.text, FunctionRef):
            return rendered(self.text, doc)
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


def rendered(text: str, doc: Mapping[str, Any]) -> str:
    """The column of this name, or what the template makes of the row; nothing of an empty one."""
    from mmforget.benchmark.templates import template

    if not text:
        return ""
    return str(doc[text]) if text in doc else template(text).render(**doc)


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
