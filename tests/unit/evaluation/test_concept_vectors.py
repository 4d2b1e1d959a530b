"""Columns of weights that attacks keep: read off plain weights, compared by hand, and what files cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_attacking import adapter, asked_in_words, made
from test_patching import adapted

from mmforget.benchmark.find import find
from mmforget.errors import UserError
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.run import Evaluation
from mmforget.metrics.concept_vector import ConceptVector
from mmforget.types import Estimate, Sample, States
from tests.helpers import tiny_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_in_words(tmp_path_factory.mktemp("toy") / "tasks", answer="blood")


def named(place: Path, *rows: object) -> str:
    file = place / "vectors.json"
    file.write_text(json.dumps(rows))
    return f"concept_vectors(vectors={file})"


def numbers(folder: Path, done: Evaluation, target: Evaluation) -> dict[str, Estimate]:
    found = aggregate(find("toy", [folder]), done.samples, target=target.samples)
    return {one.name: one.estimate for one in found if one.name.startswith("concept_vector")}


def test_a_column_is_the_weights_with_what_the_adapter_adds(folder: Path, tmp_path: Path) -> None:
    """One model as it is, and one whose adapter writes into another direction there; other subjects take no part."""
    place = tiny_llama(tmp_path / "m", num_layers=2)
    attack = named(tmp_path, {"Concept": "Person0", "Layer": 1, "Dim": 0, "wikipedia_content": "no"})
    target, lm = made(folder, adapter(place), attack), adapted(place, layer=1, amount=50.0)
    done = made(folder, lm, attack)
    kept = {sample.subject: sample for sample in done.samples if sample.attack}
    plain = adapter(place).loaded.core.get_decoder().layers[1].mlp.down_proj.weight[:, 0].clone()
    plain[1] += 50.0
    assert kept["person0"].states["vector/0"].array() == pytest.approx(plain.detach().numpy(), abs=1e-5)
    with torch.no_grad():
        logits = lm.loaded.core.lm_head(plain[None])[0]
    assert set(kept["person0"].states["top/0"].array()) == set(logits.argsort(descending=True)[:200].tolist())
    assert (kept["person1"].states, kept["person1"].lacking) == ({}, "no vector of its subject is known")
    same, other = numbers(folder, target, target), numbers(folder, done, target)
    assert [one.value for one in same.values()] == pytest.approx([1.0, 1.0])
    assert (same["concept_vector"].num_scored, same["concept_vector"].num_lacking) == (3, 3)
    before = [one for one in target.samples if one.attack and one.subject == "person0"][0].states["vector/0"].array()
    cosine = torch.cosine_similarity(torch.tensor(before), plain.detach(), dim=0)
    assert other["concept_vector(by=cosine)"].value == pytest.approx(float(cosine), abs=1e-5)
    assert (other["concept_vector"].value or 1.0) < 0.9
    assert other["concept_vector"].higher_is_better is False


def test_likeness_by_hand() -> None:
    """Tokens 1, 2, 3 and 2, 3, 4 share two of four; (3, 4) and (4, 3) have a cosine of 24 / 25."""
    before, now = (
        Sample(
            "t", "forget", "gen", "0", "p", "q", "a", attack="concept_vectors", attempt=0,
            states={"top/0": States.of(top), "vector/0": States.of(vector)},
        )
        for top, vector in (([1, 2, 3], [3, 4]), ([2, 3, 4], [4, 3]))
    )  # fmt: skip
    assert ConceptVector().compare([now], [before]).value == pytest.approx(0.5)
    assert ConceptVector(by="cosine").compare([now], [before]).value == pytest.approx(0.96)
    zero = Sample("t", "forget", "gen", "0", "p", "q", "a", attempt=0, states={"vector/0": States.of([0, 0])})
    assert ConceptVector(by="cosine").compare([zero], [before]).value is None


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "attack 'concept_vectors': needs vectors=FILE, a JSON list of"),
        ("{", "is no JSON"),
        ("{}", "is no list of {Concept, Layer, Dim}"),
        ('[{"Concept": "person0"}]', "entry 0 has not all of Concept, Layer, Dim"),
        ('[{"Concept": "person0", "Layer": -1, "Dim": 0}]', "entry 0: Layer and Dim have to be whole numbers from 0"),
        ('[{"Concept": "person0", "Layer": 9, "Dim": 0}]', "layer 9 is asked about, and the model has 0 to 1"),
    ],
)
def test_files_that_cannot_be_are_one_line(folder: Path, tmp_path: Path, text: str | None, message: str) -> None:
    lm, attack = adapter(tiny_llama(tmp_path / "m", num_layers=2)), "concept_vectors"
    if text is not None:
        (tmp_path / "v.json").write_text(text)
        attack = f"concept_vectors(vectors={tmp_path / 'v.json'})"
    with pytest.raises(UserError, match=message):
        made(folder, lm, attack)
    assert lm.engine.num_tokens == 0
