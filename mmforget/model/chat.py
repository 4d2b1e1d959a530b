"""Chat templates: `<image>` stays where the question has it, whichever token the model's own template writes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jinja2 import TemplateError

from mmforget.errors import UserError, one_line

PLACEHOLDER = "<image>"
"""What stands for an image in a text, whichever token the model has."""


def render_chat(
    history: Sequence[Mapping[str, Any]],
    *,
    tokenizer: Any,
    processor: Any | None,
    add_generation_prompt: bool,
    template: str | None = None,
) -> str:
    """A conversation as one prompt, with one `<image>` for each image of its messages, in order.

    Args:
        history: messages with `role` and `content`, the content a text that holds `<image>` for each image.
        template: which of the model's templates, by name; None takes its default.
        add_generation_prompt: end with the tag that opens the assistant's turn; False continues the last message.

    Raises UserError where the model brings no chat template, or one that does not take this conversation.
    """
    renderer, parted = template_owner(tokenizer=tokenizer, processor=processor)
    if renderer is None:
        raise UserError("the model has no chat template; leave out --apply_chat_template or name a chat model")
    messages = [
        {**message, "content": _parts(message["content"]) if parted else message["content"]} for message in history
    ]
    try:
        prompt: str = renderer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **({} if template is None else {"chat_template": template}),
        )
    # A template is a program of the checkpoint's, which may ask anything of what it is given.
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        roles = ", ".join(str(message["role"]) for message in history)
        raise UserError(
            f"the model's chat template does not take messages by {roles}: {type(error).__name__}: {one_line(error)}; "
            "leave out --apply_chat_template, or a system instruction that it does not know"
        ) from error
    own_token = getattr(processor, "image_token", None)
    return prompt.replace(own_token, PLACEHOLDER) if own_token else prompt


def template_owner(*, tokenizer: Any, processor: Any | None) -> tuple[Any | None, bool]:
    """Whose template to use, and whether it takes messages as parts: a processor's wins, since it knows images."""
    if getattr(processor, "chat_template", None):
        return processor, True
    if getattr(tokenizer, "chat_template", None):
        return tokenizer, False
    return None, False


def _parts(content: Any) -> list[dict[str, str]]:
    """`text <image> text` as the list of parts that processors' templates take."""
    if not isinstance(content, str):
        return list(content)
    parts: list[dict[str, str]] = []
    for index, text in enumerate(content.split(PLACEHOLDER)):
        if index:
            parts.append({"type": "image"})
        if text:
            parts.append({"type": "text", "text": text})
    return parts


def reply_opening(*, tokenizer: Any, processor: Any | None) -> str:
    """What the chat template writes between a user's message and the reply; empty where there is none to be had."""
    if template_owner(tokenizer=tokenizer, processor=processor)[0] is None:
        return ""
    said = [_said("user", "question")]
    try:
        rendered = render_chat(said, tokenizer=tokenizer, processor=processor, add_generation_prompt=True)
    except UserError:
        return ""  # whoever applies it is told
    before, found, opening = rendered.rpartition("question")
    return opening if found else ""


class Opening(NamedTuple):
    """What a chat template writes in front of what a user says first.

    Attributes:
        start: what a conversation begins with.
        between: what stands behind the system message that follows; empty where none does.
    """

    start: str
    between: str = ""


def openings(*, tokenizer: Any, processor: Any | None) -> tuple[Opening, ...]:
    """How conversations begin, those with a system message first; none where there is no template."""
    found = []
    for history in ([_said("system", "instruction"), _said("user", "question")], [_said("user", "question")]):
        try:
            text = render_chat(history, tokenizer=tokenizer, processor=processor, add_generation_prompt=True)
        except UserError:
            continue  # whoever applies it is told
        before = text.partition("question")[0]
        start, is_told, between = before.partition("instruction")
        # Where a system message is a part of what the user says, nothing but blanks stands between them.
        if is_told and between.strip():
            found.append(Opening(start, between))
        elif not is_told and before:
            found.append(Opening(before))
    return tuple(found)


def first_words(context: str, *, known: Sequence[Opening]) -> int:
    """Where in a context the user's first words stand: behind what the chat template writes, 0 without one."""
    for start, between in known:
        if not context.startswith(start):
            continue
        at = context.find(between, len(start)) if between else len(start)
        if at >= 0:
            return at + len(between)
    return 0


def last_words(context: str, *, reply: str) -> int:
    """Where in a context the last words of a user end: before what the chat template writes in front of the reply.

    Args:
        reply: that, as `reply_opening` gives it.
    """
    at = context.rfind(reply.rstrip()) if reply.strip() else -1
    return len(context) if at < 0 else at


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
