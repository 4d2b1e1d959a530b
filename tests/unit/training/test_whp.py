"""Who's Harry Potter: labels by hand and against plain forwards, translations side by side, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from mmforget.errors import UserError
from mmforget.methods.anchors import Piece, pieces
from mmforget.methods.base import Request, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.methods.whp import Generic, generic_names
from mmforget.model import head
from mmforget.model.encode import Encoded
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.training.aligned import Aligned, matched
from mmforget.training.batches import Batch
from mmforget.training.labelling import first_settings, row_labels
from mmforget.training.many import obstacle
from mmforget.training.objective import Scoring, Unlearn
from mmforget.training.settings import TrainSettings
from mmforget.training.sources import SourceRows, make_sources
from mmforget.types import Example
from tests.toy_steps import loss, scored
from tests.unit.training.test_training_preferences import assert_same, gradients, plain_logits

TERMS = {"positive": "negative too", "number": "figure"}
MET = [
    Piece(" so ", " so ", is_term=False),
    Piece("Ann", "Robin", is_term=True),
    Piece(" met ", " met ", is_term=False),
    Piece("Ann", "Robin", is_term=True),
    Piece(".", ".", is_term=False),
]
"""` so| Ann| met| Ann|.` beside ` so| Rob|in| met| Rob|in|.`"""
OWN, THEIRS = [0, 3, 7, 11, 15], [0, 3, 7, 9, 13, 17, 19]


def test_labels_by_hand() -> None:
    """With alpha 5: 1 - 5 against 0.9; as before; -1, -9 and -0.5."""
    before = torch.tensor([[1.0, 0.9, 0.0], [0.0, 2.0, 1.0], [0.0, 1.0, 2.0]])
    learnt = torch.tensor([[2.0, 0.5, 0.0], [0.0, 2.0, 1.0], [0.2, 3.0, 2.5]])
    assert Generic(5.0)(learnt, before).tolist() == [1, 1, 2]
    assert Generic(0.0)(learnt, before).tolist() == [0, 1, 2]


def test_the_loss_by_hand() -> None:
    """Log-probs of three labels: (1 + 2 + 6) / 3."""
    found: dict[Request, object] = {Scores("generic"): scored([-1.0, -2.0], [-6.0])}
    assert loss(build("whp"), Step(found)).terms == pytest.approx({"generic": 3.0})


def test_terms_are_whole_words_the_longest_first() -> None:
    found = pieces("<Ann> Ann Lee, Ann's Anna", {"Ann": "Kim", "Ann Lee": "Kim Fox"})
    assert [(one.text, one.other) for one in found if one.is_term] == [("Ann Lee", "Kim Fox"), ("Ann", "Kim")]
    assert "".join(one.text for one in found) == "<Ann> Ann Lee, Ann's Anna"
    assert pieces("", {"a": "b"}) == pieces("", {}) == []


def test_tokens_behind_the_same_words_go_together() -> None:
    """The second `Ann` has no partner, nor has the first one where it was said before; the end's is the end."""
    assert matched(OWN, THEIRS, parts=MET, said=()) == [(0, 0), (1, 1), (2, 3), (4, 6)]
    assert matched(OWN, THEIRS, parts=MET, said=("Ann",)) == [(0, 0), (2, 3), (4, 6)]
    assert matched([*OWN, 16], [*THEIRS, 20], parts=MET, said=())[-1] == (5, 7)


def test_tokens_inside_a_term_or_without_a_counterpart_have_no_partner() -> None:
    """` A|nn`: the second begins inside; a translation that joins ` met Rob` has no token that begins with the latter;
    bytes of one character begin where it does, so none of them does."""
    assert matched([0, 3, 5, 7], THEIRS, parts=MET[:3], said=()) == [(0, 0), (1, 1), (3, 3)]
    assert matched([0, 3, 7], [0, 3, 7], parts=MET[:3], said=()) == [(0, 0), (1, 1)]
    assert matched([0, 3, 3], [0, 3, 7], parts=MET[:3], said=()) == [(0, 0)]


def made(loaded: LoadedModel, rows: list[Example], folder: Path, *, append_eos: bool = False) -> Unlearn:
    (folder / "anchors.json").write_text(json.dumps(TERMS))
    method = build("whp", {"anchors": str(folder / "anchors.json")})
    sources = make_sources(loaded, Material(forget=rows), method=method, name="whp", append_eos=append_eos)
    return Unlearn(Scoring(loaded), method, sources.rows, has_adapters=True)


def aligned(rows: SourceRows) -> list[tuple[Encoded, Aligned]]:
    assert rows.translation is not None
    return list(zip(rows.encoded, rows.translation.aligned, strict=True))


def translated_by_hand(text: str) -> str:
    for term, other in TERMS.items():
        text = text.replace(term, other)
    return text


def wanted_pairs(loaded: LoadedModel, one: Encoded, other: Encoded) -> list[tuple[int, int]]:
    """By the decoded texts before each token: the translation of one is the other's; no term comes a second time."""
    said = loaded.tokenizer.decode
    behind = {said(other.ids[other.num_context : to]): to for to in reversed(range(other.num_context, len(other)))}
    found = []
    for at in range(one.num_context, len(one)):
        text, rest = said(one.ids[one.num_context : at]), said(one.ids[at:])
        again = any(rest.lstrip().startswith(term) and term in text for term in TERMS)
        to = behind.get(translated_by_hand(text))
        found += [] if again or to is None else [(at, to)]
    return found


@pytest.mark.parametrize("append_eos", [True, False])
def test_pairs_are_those_of_decoded_texts(
    adapted: LoadedModel, examples: list[Example], append_eos: bool, tmp_path: Path
) -> None:
    rows = made(adapted, examples[6:12], tmp_path, append_eos=append_eos).rows["generic"]
    for one, its in aligned(rows):
        assert list(its.pairs) == wanted_pairs(adapted, one, its.other)
        assert len(its.pairs) < one.num_answer


def test_a_document_is_translated_window_by_window(llama: LoadedModel, tmp_path: Path) -> None:
    """Behind each window's first token the same text stands as far as both go; a term counts anew in each."""
    text = " the name is o positive number 1." * (3 * llama.max_length // 8)
    document = Example("0", "book", "", text, is_document=True)
    windows = [replace(document, window=number) for number in range(len(_windows(llama, document)))]
    rows = made(llama, windows, tmp_path).rows["generic"]
    assert len(rows.encoded) > 1
    for one, its in aligned(rows):
        assert len(its.other) <= llama.max_length + 1
        assert its.pairs
        for at, to in its.pairs:
            own, theirs = (llama.tokenizer.decode(x.ids[1:p]) for x, p in ((one, at), (its.other, to)))
            assert translated_by_hand(own) == theirs


def _windows(loaded: LoadedModel, row: Example) -> list[Encoded]:
    from mmforget.model.encode import document_windows

    return document_windows(loaded, row.answer)


def test_labels_and_loss_are_those_of_plain_forwards(
    adapted: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter stands for what has learnt the rows, and off for the model before; logits are read in parts."""
    objective = made(adapted, examples[8:10], tmp_path)
    rows, means = objective.rows["generic"], []
    monkeypatch.setattr(head, "MAX_LOGITS_BYTES", 12 * adapted.core.config.get_text_config().vocab_size)
    labels = [row_labels(objective.score, one, aligned=its, choose=Generic(5.0)) for one, its in aligned(rows)]
    monkeypatch.undo()
    for key, weight in adapted.model.named_parameters():
        weight.requires_grad_("lora_" in key)
    for (one, its), found in zip(aligned(rows), labels, strict=True):
        own, theirs = (torch.tensor(side) for side in zip(*wanted_pairs(adapted, one, its.other), strict=True))
        logits = plain_logits(adapted, one)[own - 1]
        with torch.no_grad(), adapted.model.disable_adapter():
            before = plain_logits(adapted, its.other)[theirs - 1]
        goal = (before - 5 * (logits.detach() - before).clamp(min=0)).argmax(-1)
        wanted = torch.full((len(one),), -1).index_copy(0, own, goal)[one.num_context :]
        assert list(found) == wanted.tolist()
        means.append(functional.cross_entropy(logits, goal, reduction="none"))
    expected = torch.cat(means).mean()
    named = [replace(one, labels=found) for one, found in zip(rows.encoded, labels, strict=True)]
    objective = replace(objective, rows={**objective.rows, "generic": replace(rows, encoded=named)})
    found = objective.loss(Batch(rows=(0, 1), partners={"generic": (0, 1)})).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    assert_same(gradients(adapted, found), gradients(adapted, expected))


def test_rows_are_learnt_at_a_rate_and_length_of_their_own() -> None:
    """And to the end; where the training has no adapter, in one of the usual size."""
    rows, (source,) = TrainSettings(lr=1e-6, epochs=2, stop_loss=-10.0), build("whp").sources
    assert source.labels is not None
    found = first_settings(rows, source.labels)
    assert (found.lr, found.epochs, found.max_steps) == (pytest.approx(3e-6), 3, None)
    assert (found.stop_loss, found.lora, found.train_projector) == (None, LoraSettings(), False)
    assert first_settings(replace(rows, max_steps=3), source.labels).max_steps == 4


def test_names_stand_in_for_names() -> None:
    """A word that is written in small letters, too, is none."""
    rows = [Example("0", "The Ann Lee", "Who?", " the Lee."), Example("1", "Bo", "Who?", " Bo.")]
    assert generic_names(Material(forget=rows)) == {"The Ann Lee": "Robin Smith", "Lee": "Smith", "Bo": "Alex"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no"),
        ('{"Ann": 1}', "holds no"),
        ('{"Ann": " "}', "holds no"),
        ("{", "not valid JSON"),
        ('{"Ann": "Kim"}', "none of its 1 terms stands in a row to forget"),
    ],
)
def test_a_file_without_terms_is_refused(text: str, said: str, examples: list[Example], tmp_path: Path) -> None:
    (tmp_path / "terms.json").write_text(text)
    method = build("whp", {"anchors": str(tmp_path / "terms.json")})
    with pytest.raises(UserError, match=rf"anchors=[^\n]*{said}"):
        method.dictionary(Material(forget=examples[:2]))


def test_whom_nothing_names_needs_a_file() -> None:
    with pytest.raises(UserError, match=r"give anchors=FILE"):
        build("whp").dictionary(Material(forget=[Example("0", "3", "who is that?", " nobody.")]))


def test_edits_of_it_are_made_one_by_one(llama: LoadedModel) -> None:
    settings = TrainSettings(lora=LoraSettings(r=2), train_projector=False)
    assert "learns rows before it trains" in str(obstacle(llama, method=build("whp"), settings=settings))
