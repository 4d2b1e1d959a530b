"""Which judge a name means: `rules`, `none`, `hf:MODEL`, `classifier:FOLDER`, `remote:MODEL`, or another package's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from mmforget.errors import UnknownName, UserError
from mmforget.judges.base import JUDGES, Judge, Said
from mmforget.judges.rules import Rules
from mmforget.methods.arguments import from_arguments
from mmforget.plugins import running
from mmforget.types import Sample

KINDS = ("rules", "none", "hf:MODEL", "classifier:FOLDER", "remote:MODEL")


class Nobody:
    """The judge `none`: says nothing, so that what needs a judge is unscored and says so."""

    name = "none"
    is_free = True

    def judge(self, samples: Sequence[Sample], *, label: str) -> list[Said | None]:
        return [None] * len(samples)

    def describe(self) -> dict[str, Any]:
        return {"judge": self.name, "labels": {}}


def judge_from(text: str, *, local_only: bool, refusals: Collection[str] = (), device: str | None = None) -> Judge:
    """The judge that `--judge TEXT` names: one of `KINDS`, or one of another package with its arguments behind it,
    `mine:strict=true`. Loads and asks nothing yet.

    Args:
        local_only: the answers may not leave the machine, so a remote judge is refused.
        refusals: the benchmark's own, which rules know as refusals.
        device: where a local model goes; None takes a GPU where there is one.

    Raises UnknownName for another text, UserError for a judge that may not be used or has no model or key.
    """
    kind, _, model = text.partition(":")
    if text == "none":
        return Nobody()
    if text == "rules":
        return Rules(refusals=tuple(refusals))
    if kind not in ("hf", "classifier", "remote"):
        return _of_another_package(text, local_only=local_only)
    if not model.strip():
        raise UserError(f"--judge {text} names no model; write e.g. hf:Qwen/Qwen2.5-7B-Instruct or remote:gpt-4o")
    if kind == "hf":
        from mmforget.judges.local import local_judge

        return local_judge(model.strip(), refusals=tuple(refusals), device=device)
    if kind == "classifier":
        from mmforget.judges.classifier import classifier_judge

        return classifier_judge(model.strip())
    if local_only:
        raise _leaves_the_machine(text)
    from mmforget.judges.remote import remote_judge

    return remote_judge(model.strip())


def _of_another_package(text: str, *, local_only: bool) -> Judge:
    name, _, args = text.partition(":")
    if name not in (*JUDGES.entries, *JUDGES.clashes):
        raise UnknownName("judge", name=text, known=(*KINDS, *JUDGES.names()))
    kind = JUDGES.get(name)
    with running(kind, what=f"judge '{name}'"):
        found: Judge = from_arguments(kind, args, owner=f"judge '{name}'")
    if local_only and not getattr(found, "is_local", False):
        raise _leaves_the_machine(text)
    return found


def _leaves_the_machine(text: str) -> UserError:
    return UserError(
        f"--judge {text}: this benchmark's data may not leave the machine (its document says judges: local); "
        "use --judge rules or hf:MODEL"
    )
