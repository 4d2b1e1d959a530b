"""Attempts that another model writes, round by round: it proposes, the model is asked, rules judge, it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.helped import Rewritten
from mmforget.attacks.replies import Reply
from mmforget.benchmark.document import TaskLabel
from mmforget.errors import PluginError, UserError
from mmforget.evaluation.samples import unasked_sample
from mmforget.lm.adapter import MMForgetLM
from mmforget.metrics.answer_states import state_of
from mmforget.model.chat import template_owner
from mmforget.plugins import running
from mmforget.types import why_unanswered

TRIES = 3
"""How often the attacker writes until a rewrite can be asked."""
NOTHING_WRITTEN = "the attacker model wrote nothing that can be asked"


@dataclass(frozen=True)
class Rewriting:
    """An attack on a task whose attempts `attacker` writes.

    Attributes:
        lm: the model that is attacked.
        refusals: the benchmark's own, which the judge knows as refusals.
    """

    lm: MMForgetLM
    attacker: MMForgetLM
    attack: Rewritten
    key: str
    label: TaskLabel
    refusals: Sequence[str] = ()

    def carried_out(self, asks: Sequence[Ask | None]) -> list[list[Reply]]:
        """By question what was tried, in order; nothing where there is none, or the attacker wrote nothing of use."""
        tried: list[list[Reply]] = [[] for _ in asks]
        going = [at for at, ask in enumerate(asks) if ask is not None]
        for number in range(self.attack.budget):
            attempts = self._written({at: asks[at] for at in going}, tried=tried, number=number)
            going = list(attempts)
            answers = self.lm.tried([[attempts[at]] for at in going], label=self.attack.label) if going else []
            for at, (said,) in zip(going, answers, strict=True):
                tried[at].append(Reply(attempts[at], said, self._state(attempts[at], said)))
            going = [at for at in going if tried[at][-1].state not in ("right", "")]
        return tried

    def _written(self, asks: dict[int, Any], *, tried: Sequence[Sequence[Reply]], number: int) -> dict[int, Ask]:
        """The rewrites of a round: the attacker writes for all at once, and again for those that cannot be asked."""
        found: dict[int, Ask] = {}
        for again in range(TRIES):
            left = [at for at in asks if at not in found]
            prompts = [self._prompt(asks[at], tried=tried[at], number=number, again=again) for at in left]
            texts = self.attacker.tried([[one] for one in prompts], label=f"{self.attack.label}: it writes")
            for at, (text,) in zip(left, texts if left else [], strict=True):
                attempt = self._attempt(asks[at], text, tried=tried[at])
                found |= {} if attempt is None else {at: attempt}
        return {at: found[at] for at in asks if at in found}

    def _prompt(self, ask: Ask, *, tried: Sequence[Reply], number: int, again: int) -> Ask:
        with running(self.attack, what=f"attack '{self.key}': prompt"):
            text = self.attack.prompt(ask, tried)
            decoding = self.attack.decoding(ask, number=number, again=again)
        loaded = self.attacker.loaded
        if template_owner(tokenizer=loaded.tokenizer, processor=loaded.processor)[0] is not None:
            text = self.attacker.apply_chat_template([{"role": "user", "content": text}])
        return Ask("generate", ask.task, text, None, (), (), decoding, where=f"attack '{self.key}', {ask.where}")

    def _attempt(self, ask: Ask, text: Any, *, tried: Sequence[Reply]) -> Ask | None:
        if not isinstance(text, str):
            return None
        with running(self.attack, what=f"attack '{self.key}': attempt"):
            found = self.attack.attempt(ask, text, tried)
        if found is not None and not (isinstance(found, Ask) and found.kind == ask.kind):
            raise PluginError(
                f"attack '{self.key}': attempt has to give a question (Ask) of kind '{ask.kind}', or None"
            )
        return found

    def _state(self, ask: Ask, said: Any) -> str:
        """What the judge says; empty for what a guard has no answer to."""
        if why_unanswered(said):
            return ""
        sample = unasked_sample(ask.task, label=self.label, doc=ask.row or {}, attack=self.key)
        return state_of(replace(sample, response=str(said)), refusals=self.refusals)


def require_attacker(key: str, attack: Any, *, is_there: bool) -> None:
    """Raises UserError where an attack needs a model that writes its questions, and none is named."""
    if getattr(attack, "knows", "") == "attacker" and not is_there:
        raise UserError(
            f"attack '{key}' needs a model that rewrites questions; give --attacker FOLDER, a Hugging Face model on "
            "this machine, or --attacker micro"
        )


def or_lacking(tried: Sequence[Reply]) -> list[Ask] | Lacking:
    """The attempts at a question."""
    return [one.ask for one in tried] or Lacking(NOTHING_WRITTEN)
