"""Rows to forget that the model writes itself, round by round, and the files beside a training that keep them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from mmforget import parallel
from mmforget.errors import PluginError, UserError
from mmforget.methods.material import Material
from mmforget.methods.requests import ALTERNATE, Influence, Reference, Request
from mmforget.methods.revealing import Asking, Told
from mmforget.methods.rewriting import answered, asked
from mmforget.model.activations import evaluating
from mmforget.model.choosing import Sampling
from mmforget.model.encode import Encoded, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.loaded import LoadedModel
from mmforget.model.vision import FeatureCache
from mmforget.plugins import running
from mmforget.reading import read_text
from mmforget.results.files import write_text
from mmforget.results.fingerprint import hash_text
from mmforget.training import draws
from mmforget.training.report import PLAN
from mmforget.training.sources import SourceRows
from mmforget.types import Example

logger = logging.getLogger(__name__)

PLACEHOLDER = "<image>"
Remake = Callable[[Material], Mapping[str, SourceRows]]


class Asked(NamedTuple):
    """How a model is asked while it trains."""

    loaded: LoadedModel
    features: FeatureCache | None
    packed: bool
    batch_size: int


@dataclass
class Revealed:
    """What a method's part `reveal` gives, in its rounds.

    Attributes:
        name: of the method, for messages.
        material: with the rows to forget as the benchmark has them.
        model: that trains.
        remake: the rows of every source, where those to forget are others.
        folder: of the training.
        num_updates: planned.
        forget: the rows to forget by now.
        round: that they belong to; -1 before the first.
    """

    part: Any
    name: str
    material: Material
    model: Asked
    remake: Remake
    folder: Path
    seed: int
    num_updates: int
    forget: Sequence[Example] = ()
    round: int = -1

    def require(self, requests: Sequence[Request], *, has_adapters: bool) -> None:
        """Raises UserError for what would be lost when rows are written anew, and among several processes."""
        if parallel.world_size() > 1:
            raise UserError(f"method '{self.name}': the model writes the rows to forget, in one process; start one")
        if self.part.rounds == 1:
            return
        if any(isinstance(one, Influence) for one in requests):
            raise UserError(f"method '{self.name}' weighs rows once, before training; add rounds=1")
        if not has_adapters and any(isinstance(one, Reference) and one.source != ALTERNATE for one in requests):
            raise UserError(
                f"method '{self.name}' compares rows that are written anew with the model before training, which needs "
                "adapters to switch off; train with LoRA (--lora_r 8), or add rounds=1"
            )

    def at(self, update: int) -> dict[str, SourceRows] | None:
        """The rows of every source from this update on; None where they stay.

        Raises UserError where rows that were written before are gone, or the model writes none.
        """
        number = update * self.part.rounds // self.num_updates
        if number == self.round:
            return None
        told = self._kept(number)
        if told is None:
            first = -(-number * self.num_updates // self.part.rounds)
            if update != first:
                raise UserError(
                    f"{self._file(number)} has not the rows that this training forgets; delete {self.folder} to train "
                    "again"
                )
            told = self._write(number)
        self.forget = [_row(*pair) for pair in zip(self.material.forget, told, strict=True)]
        self.round = number
        return self._remade()

    def _remade(self) -> dict[str, SourceRows]:
        # What a retain model said is of other answers.
        made = self.remake(replace(self.material, forget=self.forget, retain_logprobs=None))
        return dict(made)

    def _write(self, number: int) -> list[Told]:
        """Asks the model, and keeps what it told. Raises UserError where it tells nothing in the first round."""
        with running(self.part, what=f"method '{self.name}': reveal"):
            seed = draws.reveal_seed(self.seed, round_=number)
            found = list(self.part.reveal(self.material, self._answers, seed=seed))
        if len(found) != len(self.material.forget) or not all(isinstance(one, Told) for one in found):
            raise PluginError(
                f"method '{self.name}': reveal: {len(found)} rows were told for {len(self.material.forget)} to forget, "
                "and has to be one Told for each"
            )
        silent = [at for at, one in enumerate(found) if not one.answer.strip()]
        if silent and not self.forget:
            raise UserError(
                f"method '{self.name}': the model answers nothing for {len(silent)} of {len(found)} rows to forget, "
                f"the first '{self.material.forget[silent[0]].id}'; give other instructions"
            )
        for at in silent:
            before = self.forget[at]
            found[at] = Told(str(before.extra["revealed"]), before.answer.strip())
        logger.info("%s: %d rows to forget were written, %d stay as they were", self.name, len(found), len(silent))
        self._keep(number, found)
        return found

    def _answers(self, questions: Sequence[Asking]) -> list[str]:
        """The model's answers as it is, without dropout."""
        rows = self.material.as_asked([asked(one.row, one.question) for one in questions])
        prompts = [encode_prompt(self.model.loaded, row.context, row.images) for row in rows]
        found: dict[int, str] = {}
        with evaluating(self.model.loaded.model):
            for places in _alike(questions, size=self.model.batch_size):
                texts = self._generated([questions[at] for at in places], [prompts[at] for at in places])
                found |= dict(zip(places, texts, strict=True))
        return [found[at].replace(PLACEHOLDER, "") for at in range(len(questions))]

    def _generated(self, questions: Sequence[Asking], prompts: Sequence[Encoded]) -> list[str]:
        decoding, loaded = questions[0].decoding, self.model.loaded
        # The text is read again behind its question, where it may take more tokens than it was written in.
        room = max(1, (loaded.max_length - max(map(len, prompts))) // 2)
        return generate(
            loaded, prompts, max_new_tokens=min(decoding.max_new_tokens, room), until=decoding.until,
            sampling=Sampling(decoding.temperature, decoding.top_p) if decoding.do_sample else None,
            seeds=[one.decoding.seed for one in questions], features=self.model.features, packed=self.model.packed,
        )  # fmt: skip

    def _file(self, number: int) -> Path:
        return self.folder / f"revealed_{number + 1}.jsonl"

    @property
    def _plan(self) -> str:
        """Names the training that the folder is of; empty where that is forgotten afterwards."""
        path = self.folder / PLAN
        return hash_text(read_text(path)) if path.is_file() else ""

    def _keep(self, number: int, found: Sequence[Told]) -> None:
        pairs = zip(self.material.forget, found, strict=True)
        lines = [{"id": row.id, "subject": row.subject, **one._asdict(), "plan": self._plan} for row, one in pairs]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self._file(number), "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _kept(self, number: int) -> list[Told] | None:
        """What the model told in an earlier start of this training; None where that is not there."""
        path = self._file(number)
        if not path.is_file():
            return None
        try:
            lines = [json.loads(line) for line in read_text(path).split("\n") if line]
            mine = [line["id"] for line in lines if line["plan"] == self._plan]
            told = [Told(str(line["question"]), str(line["answer"])) for line in lines]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: is no list of rows ({error}); delete {self.folder} to train again") from error
        return told if mine == [row.id for row in self.material.forget] else None


def _row(row: Example, told: Told) -> Example:
    """What is forgotten in the place of a row."""
    made = answered(asked(row, told.question), told.answer)
    return replace(made, extra={**row.extra, "revealed": told.question})


def _alike(questions: Sequence[Asking], *, size: int) -> Iterable[list[int]]:
    """Places of questions that can be answered together, at most `size`."""
    groups: dict[Any, list[int]] = {}
    for at, one in enumerate(questions):
        groups.setdefault((one.decoding.without_seed, one.decoding.seed is None), []).append(at)
    for places in groups.values():
        yield from (places[start : start + size] for start in range(0, len(places), size))
