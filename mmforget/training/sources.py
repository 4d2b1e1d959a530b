"""The rows that a method asks about, ready for the model, and how their partners are drawn."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from mmforget.errors import BadData, PluginError, UserError
from mmforget.methods.base import hook
from mmforget.methods.material import Material, RetainLogprobs
from mmforget.methods.requests import (
    ALTERNATE,
    BENIGN,
    FORGET,
    RETAIN,
    SUPPLIED,
    Labels,
    Reference,
    Source,
    asked_sources,
    asks_retain_model,
    sources_of,
)
from mmforget.model.encode import Encoded
from mmforget.model.examples import encode_all
from mmforget.model.loaded import LoadedModel
from mmforget.plugins import running
from mmforget.results.fingerprint import hash_json
from mmforget.training import draws
from mmforget.training.aligned import Aligned, aligned_rows
from mmforget.training.batches import Batch, Drawn, Fixed, Partners, Retained
from mmforget.training.data import Refusals, data_hash
from mmforget.training.written import Written, vocabulary_without, written_rows
from mmforget.types import Example

logger = logging.getLogger(__name__)

NUM_WORDS_SHOWN = 3
"""Words that a message names at most."""

MISSING = {
    RETAIN: "needs rows to keep, and there are none; give a benchmark with a retain set",
    BENIGN: "needs the questions to forget asked of harmless images, and there are none; give a benchmark whose `sets` "
    "name a `benign` one, such as safe_eraser",
    ALTERNATE: "needs refusals, and the benchmark lists none; add `refusals` to its metadata.unlearning",
}


class Translation(NamedTuple):
    """What labels of a source's rows are made of.

    Attributes:
        labels: how.
        subjects: of the rows.
        aligned: each row's translation.
    """

    labels: Labels
    subjects: Sequence[str]
    aligned: Sequence[Aligned]


@dataclass(frozen=True)
class SourceRows:
    """The rows of one source, and of which of them a batch holds which.

    Attributes:
        name: of the source.
        encoded: in their own order; empty for `alternate`, whose rows are made when they are drawn.
        written: more on rows that a method wrote.
        refusals: makes the rows of `alternate`.
        is_epoch: epochs run over these rows.
        retain_logprobs: float32 [T] for each, under a retain model; None where nobody asks or there is none.
        edit: the edit that they are computed under, where a model has several.
        silent: bool [V], the tokens that the source's silent words are written with; None where it has none.
        translation: what labels are made of; None where answers are scored against their own tokens.
    """

    name: str
    encoded: Sequence[Encoded] = ()
    written: Written | None = None
    refusals: Refusals | None = None
    is_epoch: bool = False
    retain_logprobs: Sequence[Tensor] | None = None
    edit: int | None = None
    silent: Tensor | None = None
    translation: Translation | None = None

    def places(self, batch: Batch) -> tuple[int, ...]:
        """Positions among the rows."""
        return batch.rows if self.is_epoch else batch.partners[self.name]

    def of(self, batch: Batch) -> list[Encoded]:
        """The batch's rows."""
        if self.refusals is not None:
            pairs = zip(batch.rows, batch.partners[self.name], strict=True)
            return [self.refusals.get(*pair).under(self.edit) for pair in pairs]
        return [self.encoded[place].under(self.edit) for place in self.places(batch)]


@dataclass(frozen=True)
class Sources:
    """All rows that a training draws on.

    Attributes:
        rows: by source.
        subjects: of the rows that epochs run over.
        partners: how the other sources' rows are drawn.
        hashes: what tells these rows from others, for the plan.
    """

    rows: dict[str, SourceRows]
    subjects: Sequence[str]
    partners: Mapping[str, Partners]
    hashes: Mapping[str, str | None]


def require_sources(method: Any, *, name: str, given: Mapping[str, bool]) -> None:
    """Raises UserError where there are no rows of a kind that the method asks about.

    Args:
        given: which of the benchmark's sources there are.

    Raises PluginError for a source that nobody brings, and for rows to forget beside others that epochs run over.
    """
    own, asked = sources_of(method), asked_sources(method)
    for source in SUPPLIED:
        if source in asked and source in MISSING and not given.get(source, False):
            raise UserError(f"method '{name}' {MISSING[source]}")
    for source in sorted(asked):
        if source not in SUPPLIED and (source not in own or own[source].rows is None):
            raise PluginError(f"method '{name}' asks about '{source}', and none of its `sources` writes these rows")
    _require_labels(method, name=name)
    epoch = _epoch_source(own)
    if epoch != FORGET and asked & {FORGET, ALTERNATE, BENIGN}:
        raise PluginError(
            f"method '{name}': epochs run over '{epoch}', so rows to forget cannot be asked about beside it"
        )


def _require_labels(method: Any, *, name: str) -> None:
    """Raises PluginError for labels of rows that the method does not write, or that it asks a reference of."""
    for source in sources_of(method).values():
        if source.labels is not None and source.rows is None:
            raise PluginError(
                f"method '{name}': labels of '{source.name}' are for rows that the method writes (`rows`)"
            )
        if source.labels is not None and any(
            isinstance(one, Reference) and one.source == source.name for one in method.requests
        ):
            raise PluginError(f"method '{name}': of '{source.name}', which has labels, there is no Reference")


def refuse_documents(name: str, ids: Iterable[str]) -> None:
    """Raises UserError where rows to forget are whole documents, which no refusal answers."""
    first = next(iter(ids), None)
    if first is not None:
        raise UserError(f"method '{name}' answers questions by refusals, and the row to forget '{first}' is a document")


def written_examples(method: Any, *, material: Material, name: str) -> dict[str, list[Example]]:
    """The rows that a method writes, by source. Raises what its code raises, and PluginError for what are no rows."""
    found = {}
    for source in sources_of(method).values():
        if source.rows is None:
            continue
        what = f"method '{name}': rows of '{source.name}'"
        with running(method, what=what):
            rows = list(source.rows(material))
        if not rows or not all(isinstance(row, Example) for row in rows):
            raise PluginError(f"{what}: gives {len(rows)} rows, and has to give at least one, each an Example")
        found[source.name] = rows
    return found


def make_sources(loaded: LoadedModel, material: Material, *, method: Any, name: str, append_eos: bool) -> Sources:
    """Everything that the method asks about, encoded.

    Raises UserError where rows are missing, BadData naming rows that cannot be encoded or that have no partner.
    """
    given = {RETAIN: bool(material.retain), BENIGN: bool(material.benign), ALTERNATE: bool(material.refusals)}
    require_sources(method, name=name, given=given)
    if ALTERNATE in asked_sources(method):
        refuse_documents(name, (row.id for row in material.forget if row.is_document))
    asked = replace(
        material,
        forget=material.as_asked(material.forget),
        retain=material.as_asked(material.retain),
        benign=material.as_asked(material.benign),
    )
    epoch = _epoch_source(sources_of(method))
    rows = _supplied(loaded, asked, sources=asked_sources(method), append_eos=append_eos)
    if asks_retain_model(method):
        rows[FORGET] = _with_retain_model(rows[FORGET], material.retain_logprobs, name=name)
    written = written_examples(method, material=material, name=name)
    examples = {source: material.as_asked(found) for source, found in written.items()}
    for source, shown in examples.items():
        own = _answered_for(method, sources_of(method)[source])
        ready = written_rows(loaded, shown, source=own, material=material, append_eos=append_eos)
        made = _translation(
            loaded, shown, labels=own.labels, encoded=ready.encoded, material=material, append_eos=append_eos
        )  # fmt: skip
        rows[source] = SourceRows(source, ready.encoded, written=ready, silent=~ready.vocabulary, translation=made)
    rows |= _silenced(loaded, rows, method=method, material=material)
    rows[epoch] = replace(rows[epoch], is_epoch=True)
    subjects = _subjects(epoch, asked=asked, written=examples)
    drawn = [source for source in rows if source not in (FORGET, epoch)]
    partners = _partners(asked, own=sources_of(method), written=examples, names=drawn)
    return Sources(rows, subjects, partners, _hashes(rows, material=material))


def _answered_for(method: Any, source: Source) -> Source:
    """A source of which the method's package answers for its own code."""

    def own(function: Any, what: str) -> Any:
        return None if function is None else hook(method, function, what=f"{what} of '{source.name}'")

    labels = source.labels
    if labels is not None:
        labels = replace(labels, dictionary=own(labels.dictionary, "dictionary"), choose=own(labels.choose, "choose"))
    return replace(source, labels=labels, silent_words=own(source.silent_words, "silent_words"))


def _translation(
    loaded: LoadedModel,
    shown: Sequence[Example],
    *,
    labels: Labels | None,
    encoded: Sequence[Encoded],
    material: Material,
    append_eos: bool,
) -> Translation | None:
    """Rows as the model is asked with their translations, where there are labels."""
    if labels is None:
        return None
    dictionary = labels.dictionary(material)
    aligned = aligned_rows(loaded, shown, encoded=encoded, dictionary=dictionary, append_eos=append_eos)
    return Translation(labels, [row.subject for row in shown], aligned)


def _silenced(
    loaded: LoadedModel, rows: Mapping[str, SourceRows], *, method: Any, material: Material
) -> dict[str, SourceRows]:
    """The benchmark's sources of which a method says what words are silent. Raises UserError where no row has any."""
    found = {}
    for name, one in sources_of(method).items():
        source = _answered_for(method, one)
        if source.rows is None and source.silent_words is not None and name in rows:
            words = source.silent_words(material)
            silent = ~vocabulary_without(loaded, words=words)
            # A tokenizer that knows no word may write the blank before it as a token of its own, as before any other.
            silent[list(loaded.token_ids(" "))] = False
            if not any(bool(silent[list(row.ids[row.num_context :])].any()) for row in rows[name].encoded):
                raise UserError(_nowhere(words, name=name))
            found[name] = replace(rows[name], silent=silent)
    return found


def refuse_words_nowhere(method: Any, *, material: Material) -> None:
    """Raises UserError where no answer to forget has a word that the method silences there; needs no tokenizer."""
    source = sources_of(method).get(FORGET)
    if source is None or source.silent_words is None:
        return
    words = source.silent_words(material)
    answers = [row.answer.casefold() for row in material.forget]
    if not any(word.casefold() in answer for word in words for answer in answers):
        raise UserError(_nowhere(words, name=FORGET))


def _nowhere(words: Sequence[str], *, name: str) -> str:
    shown = ", ".join(words[:NUM_WORDS_SHOWN]) + (", ..." if len(words) > NUM_WORDS_SHOWN else "")
    return f"none of the words to silence ({len(words)}: {shown}) stands in an answer to {name}; give others"


def _with_retain_model(rows: SourceRows, given: RetainLogprobs | None, *, name: str) -> SourceRows:
    """The rows with what a retain model says of them. Raises UserError where that one has other tokens."""
    if given is None:
        logger.warning("%s: no retain model to compare with; the model before training stands in", name)
        return rows
    if [len(one) for one in given.values] != [one.num_answer for one in rows.encoded]:
        raise UserError(
            f"method '{name}': the retain model writes the answers to forget in other tokens than the model that "
            "trains; give one of its family"
        )
    return replace(rows, retain_logprobs=given.values)


def _supplied(loaded: LoadedModel, material: Material, *, sources: set[str], append_eos: bool) -> dict[str, SourceRows]:
    """The benchmark's rows: those to forget and to keep, and the others that are asked about."""

    def encoded(examples: Sequence[Example], *, what: str) -> list[Encoded]:
        return encode_all(loaded, examples, append_eos=append_eos, source=what)

    rows = {FORGET: SourceRows(FORGET, encoded(material.forget, what="rows to forget"))}
    if material.retain:
        rows[RETAIN] = SourceRows(RETAIN, encoded(material.retain, what="rows to keep"))
    if BENIGN in sources:
        rows[BENIGN] = SourceRows(BENIGN, encoded(material.benign, what="benign rows"))
    if ALTERNATE in sources:
        refusals = Refusals(loaded, material.forget, refusals=material.refusals, append_eos=append_eos)
        rows[ALTERNATE] = SourceRows(ALTERNATE, refusals=refusals)
    return rows


def _epoch_source(own: Mapping[str, Source]) -> str:
    return next((name for name, source in own.items() if source.draw == "epoch"), FORGET)


def _subjects(epoch: str, *, asked: Material, written: Mapping[str, list[Example]]) -> list[str]:
    """Of the rows that epochs run over; those that a method wrote count each as one of its own."""
    if epoch in (FORGET, RETAIN):
        return [row.subject for row in (asked.forget if epoch == FORGET else asked.retain)]
    return list(map(str, range(len(written[epoch]))))


def _partners(
    material: Material, *, own: Mapping[str, Source], written: Mapping[str, list[Example]], names: Sequence[str]
) -> dict[str, Partners]:
    found: dict[str, Partners] = {}
    for name in names:
        if name == RETAIN:
            found[name] = Retained(tuple(row.subject for row in material.retain))
        elif name == ALTERNATE:
            found[name] = Drawn(len(material.refusals), (draws.REFUSAL,))
        else:
            examples = material.benign if name == BENIGN else written[name]
            draw = own[name].draw if name in own else "paired"
            stream = (draws.BENIGN,) if name == BENIGN else draws.own_stream(name)
            if draw == "random":
                found[name] = Drawn(len(examples), stream)
            elif draw == "each":
                found[name] = _each(material.forget, examples, name=name)
            else:
                found[name] = _paired(material.forget, examples, name=name)
    return found


def _each(forget: Sequence[Example], others: Sequence[Example], *, name: str) -> Fixed:
    """Row k for row k. Raises PluginError where there are not as many."""
    if len(others) != len(forget):
        raise PluginError(f"source '{name}': {len(others)} rows were written for {len(forget)} to forget, one for each")
    return Fixed(tuple(range(len(forget))))


def _paired(forget: Sequence[Example], others: Sequence[Example], *, name: str) -> Fixed:
    """The partner of each row to forget: the one of the same pair. Raises BadData naming the rows without one."""
    by_pair = {example.extra.get("pair"): position for position, example in enumerate(others)}
    missing = [example.id for example in forget if example.extra.get("pair") not in by_pair]
    if missing:
        faults = [f"row '{row}': no {name} row has the same `pair`; give one, or pairing=random" for row in missing]
        raise BadData("rows to forget", faults=faults)
    return Fixed(tuple(by_pair[example.extra.get("pair")] for example in forget))


def _hashes(rows: Mapping[str, SourceRows], *, material: Material) -> dict[str, str | None]:
    found: dict[str, str | None] = {"refusals": None, RETAIN: data_hash([])}
    for name, one in rows.items():
        if one.refusals is not None:
            found["refusals"] = hash_json(list(material.refusals))
        else:
            found[name] = data_hash(one.encoded)
        if one.translation is not None:
            found[f"{name} translated"] = data_hash([row.other for row in one.translation.aligned])
        if one.retain_logprobs is not None and material.retain_logprobs is not None:
            found["retain model"] = material.retain_logprobs.fingerprint
    return found
