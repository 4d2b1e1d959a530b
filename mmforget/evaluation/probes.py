"""What a target model said when attacks asked it: once, and kept, so that every model is asked the same probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmforget import parallel
from mmforget.asking import Ask
from mmforget.attacks.base import Lacking
from mmforget.attacks.replies import Told
from mmforget.errors import UserError
from mmforget.lm.adapter import MMForgetLM
from mmforget.results.files import read_json, write_json

NO_TARGET = "no target model was asked for it; give --target_model"
NOT_ASKED = "the target model was not asked this"


class Probes:
    """Answers of the target model, by question.

    Args:
        file: where they are kept; None keeps them in memory. One that is there is read.

    Attributes:
        target: fingerprint of the model that answered; None as long as none has.

    Raises UserError for a file that cannot be read.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.target: str | None = None
        self._said: dict[str, str] = {}
        if file is not None and file.is_file():
            stored = read_json(file)
            try:
                self.target, self._said = str(stored["target"]), dict(stored["said"])
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(
                    f"{file} holds no answers of a target model; delete it, and they are made anew"
                ) from error

    def of(self, asks: Sequence[Ask]) -> list[Told] | Lacking:
        """What was said to these questions; none of it where one was not asked."""
        if self.target is None:
            return Lacking(NO_TARGET)
        said = [self._said.get(ask.key("")) for ask in asks]
        told = [Told.of(ask, text) for ask, text in zip(asks, said, strict=True) if text is not None]
        return told if len(told) == len(asks) else Lacking(NOT_ASKED)

    def keep(self, said: Sequence[tuple[Ask, str]], *, target: str) -> None:
        """Adds answers; those of another target are of no use any more."""
        if self.target != target:
            self.target, self._said = target, {}
        self._said |= {ask.key(""): text for ask, text in said}
        if self.file is not None:
            document, file = {"target": target, "said": self._said}, self.file
            parallel.on_main(lambda: write_json(file, document))


class Target(NamedTuple):
    """Where answers of the target model are, and whether the model that is asked is the target."""

    probes: Probes
    by_target: bool = False


def told_by_target(
    lm: MMForgetLM, queries: Sequence[list[Ask] | Lacking], *, target: Target | None, label: str
) -> list[list[Told] | Lacking]:
    """By row what the target model says to its questions: asked now where this is the target, else read."""
    if target is None:
        return [one if isinstance(one, Lacking) else Lacking(NO_TARGET) for one in queries]
    if target.by_target:
        asked = [ask for one in queries if not isinstance(one, Lacking) for ask in one]
        (answers,) = lm.tried([asked], label=f"{label}: the target is asked") if asked else ([],)
        said = [(ask, text) for ask, text in zip(asked, answers, strict=True) if isinstance(text, str)]
        target.probes.keep(said, target=lm.loaded.fingerprint)
    return [one if isinstance(one, Lacking) else target.probes.of(one) for one in queries]
