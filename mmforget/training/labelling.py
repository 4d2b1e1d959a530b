"""Labels of a source's answers: the model learns the rows in an adapter, says what it says, and is what it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmforget import parallel
from mmforget.errors import RunFailed, UserError
from mmforget.methods.requests import Choose, Labels
from mmforget.model import head
from mmforget.model.activations import evaluating
from mmforget.model.encode import Encoded
from mmforget.model.head import LogitRead
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, detach, load_adapter
from mmforget.model.scoring import Wanted
from mmforget.model.vision import FeatureCache
from mmforget.training.aligned import Aligned
from mmforget.training.batches import Batches
from mmforget.training.data import data_hash
from mmforget.training.objective import Memorise, Scoring
from mmforget.training.reference import before_training
from mmforget.training.report import TrainReport
from mmforget.training.session import FIRST, Training, train_in
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import SourceRows, Translation

logger = logging.getLogger(__name__)


class Labelled(NamedTuple):
    """Rows with their labels, by source, and how long what was learnt before them took."""

    rows: Mapping[str, SourceRows]
    wall_s: float


def labelled(
    loaded: LoadedModel,
    rows: Mapping[str, SourceRows],
    *,
    folder: Path,
    settings: TrainSettings,
    features: FeatureCache | None,
) -> Labelled:
    """The rows, of which those with translations have labels; the same call continues what was killed.

    Raises UserError among several processes and where no token has a label, RunFailed where learning diverges.
    """
    if parallel.world_size() > 1:
        raise UserError("this method learns rows before it trains to label their tokens, in one process; start one")
    found, wall_s = dict(rows), 0.0
    score = Scoring(loaded, packed=settings.packed, bf16=settings.bf16, features=features)
    for name, one in rows.items():
        if one.translation is None:
            continue
        report = _learnt(
            loaded, one, translation=one.translation, folder=folder, settings=settings, features=features
        )  # fmt: skip
        labels = _labels(score, one, translation=one.translation, adapter=report.output)
        _say(one, labels)
        pairs = zip(one.encoded, labels, strict=True)
        found[name] = replace(one, encoded=[replace(row, labels=own) for row, own in pairs])
        wall_s += report.wall_s
    return Labelled(found, wall_s)


def first_settings(settings: TrainSettings, labels: Labels) -> TrainSettings:
    """How rows are learnt for labels: as the training is, with its own rate and length, to the end.

    Where the training has no adapter this one has the usual size, and the projector stays.
    """
    max_steps = settings.max_steps
    return replace(
        settings,
        lr=settings.lr * labels.lr_times,
        epochs=settings.epochs * labels.updates_times,
        max_steps=None if max_steps is None else max(1, round(max_steps * labels.updates_times)),
        lora=settings.lora or LoraSettings(),
        train_projector=settings.train_projector and settings.lora is not None,
        stop_loss=None,
        stop_retain_nll=None,
        stop="",
        keep="last",
        eval_steps=None,
        report_to="none",
    )


def _learnt(
    loaded: LoadedModel,
    rows: SourceRows,
    *,
    translation: Translation,
    folder: Path,
    settings: TrainSettings,
    features: FeatureCache | None,
) -> TrainReport:
    """The training of the adapter that has learnt a source's rows, which stays until the whole is done."""
    own = first_settings(settings, translation.labels)
    plan = {"label": f"learning '{rows.name}'", "data": data_hash(rows.encoded)}
    training = Training(
        plan["label"], plan, lambda prepared, scoring, folder: Memorise(scoring, rows.encoded),
        Batches(translation.subjects, settings=own),
    )  # fmt: skip
    # Told of nothing: whoever counts updates counts those of the training itself.
    report = train_in(folder / FIRST / rows.name, training, loaded=loaded, settings=own, features=features)
    if report.diverged:
        raise RunFailed(
            f"{training.label} for its labels diverged at update {report.num_steps} with lr {own.lr:g}; lower --lr, or "
            "the method's lr_times"
        )
    return report


def _labels(score: Scoring, rows: SourceRows, *, translation: Translation, adapter: Path) -> list[tuple[int, ...]]:
    """The labels of each row's answer, -1 where there is none; `score` is of the model without the adapter."""
    fitted = load_adapter(score.loaded, adapter, trainable=True)
    try:
        fitted_score = replace(score, loaded=fitted)
        return [
            row_labels(fitted_score, row, aligned=aligned, choose=translation.labels.choose)
            for row, aligned in zip(rows.encoded, translation.aligned, strict=True)
        ]
    finally:
        detach(fitted)


def row_labels(score: Scoring, row: Encoded, *, aligned: Aligned, choose: Choose) -> tuple[int, ...]:
    """The labels of a row's answer, of a model whose adapter has learnt it, -1 where there is none."""
    vocabulary = int(score.loaded.core.config.get_text_config().vocab_size)
    size = max(1, head.MAX_LOGITS_BYTES // (4 * vocabulary))
    found = [-1] * len(row)
    for part in _parts(aligned.pairs, size=size):
        own, other = ([pair[side] for pair in part] for side in (0, 1))
        with torch.no_grad(), evaluating(score.loaded.model):
            learnt = _logits(score, row, places=own)
        with before_training(score.loaded, has_adapters=True):
            before = _logits(score, aligned.other, places=other)
        for place, label in zip(own, choose(learnt, before).tolist(), strict=True):
            found[place] = label
    return tuple(found[row.num_context :])


def _parts(pairs: Sequence[tuple[int, int]], *, size: int) -> Iterator[list[tuple[int, int]]]:
    """Pairs in order, in parts that reach over at most `size` places on either side."""
    part: list[tuple[int, int]] = []
    for pair in pairs:
        if part and max(pair[0] - part[0][0], pair[1] - part[0][1]) >= size:
            yield part
            part = []
        part.append(pair)
    if part:
        yield part


def _logits(score: Scoring, one: Encoded, *, places: Sequence[int]) -> Tensor:
    """The raw logits of the tokens at ascending places, float32 [n, V]."""
    start, stop = places[0], places[-1] + 1
    looked = score.look([_cut(one, start=start, stop=stop)], wanted=Wanted(reads=[LogitRead(_all, compared=False)]))
    logits: Tensor = looked.values[0][0][[place - start for place in places]]
    return logits


def _all(logits: Tensor) -> Tensor:
    return logits


def _cut(one: Encoded, *, start: int, stop: int) -> Encoded:
    """The sequence up to a place, of which the tokens from another one on are the answer."""
    grid = one.grid_positions
    return replace(
        one, ids=one.ids[:stop], num_context=start, grid_positions=None if grid is None else grid[:, :stop], labels=None
    )


def _say(rows: SourceRows, labels: Sequence[Sequence[int]]) -> None:
    """How many tokens have labels, and how many of these are others than the tokens themselves."""
    own = [
        (token, label) for row, found in zip(rows.encoded, labels, strict=True) for token, label in _named(row, found)
    ]
    with_label = [pair for pair in own if pair[1] >= 0]
    if not with_label:
        raise UserError(f"none of the {len(own)} answer tokens of '{rows.name}' has a label; see the dictionary")
    num_others = sum(token != label for token, label in with_label)
    logger.info(
        "'%s': %d of %d answer tokens have a label, %d another than themselves", rows.name, len(with_label), len(own),
        num_others,
    )  # fmt: skip


def _named(row: Encoded, labels: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(row.ids[row.num_context :], labels, strict=True))
