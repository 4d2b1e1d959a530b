"""SIU's loss and the rows it writes: weights, masks, four kinds for any concept, the user's own file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mmforget.errors import BadData, UserError
from mmforget.methods import siu_data
from mmforget.methods.base import Divergence, Drift, Scores, Step
from mmforget.methods.build import build
from mmforget.methods.material import Concept, Material
from mmforget.types import Example
from tests.toy_steps import loss, scored, step

PICTURE = Image.new("RGB", (4, 4), "purple")
FACTS = (("Where does Ana live?", "Ana lives in Oslo."), ("What does Ana do?", "She paints."))


def forget_row(context: str = "<image>\nWho is it?", answer: str = " This is Ana.", name: str = "Ana") -> Example:
    return Example(id=f"{name}/0", subject=name, context=context, answer=answer, images=(PICTURE,))


def material(*concepts: Concept, rows: tuple[Example, ...] = ()) -> Material:
    known = concepts or (Concept(name="Ana", synonyms=("Annie",), facts=FACTS),)
    return Material(forget=rows or tuple(forget_row(name=one.name) for one in known), concepts=known)


def written(given: Material | None = None, args: str = "") -> list[Example]:
    return list(build("siu", args).build(given or material()))


def written_step(**kl: Any) -> Step:
    """NLL (1 + 2 + 3) / 3 = 2 over three answer tokens."""
    return step(written=scored([-1.0, -2.0], [-3.0]), **kl)


KL = {
    "drift": Drift(torch.tensor([[0.4, 7.0], [0.2, 9.0]]), torch.tensor([[True, False], [True, False]]), 10),
}


def test_paper_weighs_nll_and_the_mean_divergence_of_the_kept_tokens() -> None:
    """.9 x 2 + .75 x (.4 + .2) / 2 = 1.8 + .225; tokens that are not kept do not count."""
    total, parts = loss(build("siu"), written_step(**KL))
    assert total.item() == pytest.approx(2.025)
    assert parts == {"nll": pytest.approx(1.8), "kl": pytest.approx(0.225)}
    assert loss(build("siu", "alpha=1,beta=2"), written_step(**KL)).total.item() == pytest.approx(2.6)


def test_released_divides_the_divergence_by_positions_times_vocabulary() -> None:
    """2 + (.4 + .2) / (2 x 10) = 2.03: a tenth, here, of the mean a token."""
    total, parts = loss(build("siu", "variant=released"), written_step(**KL))
    assert total.item() == pytest.approx(2.03)
    assert parts["kl"] == pytest.approx(0.3 / 10)


def test_needs_and_alignment_follow_the_variant() -> None:
    assert set(build("siu").requests) == {Scores("written"), Divergence("written")}
    assert build("siu", "beta=0").requests == (Scores("written"),)
    assert loss(build("siu", "beta=0"), written_step()).total.item() == pytest.approx(1.8)
    (paper,), (released,) = build("siu").sources, build("siu", "variant=released").sources
    assert (paper.alignment, released.alignment) == ("answer", "released")
    assert paper.draw == released.draw == "epoch"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("beta=-1", "beta=-1.0"),
        ("names=-1", "names=-1"),
        ("names=0,looks=0", "no row would show the picture"),
        ("variant=released,alpha=0.5", "leave alpha and beta out"),
        ("variant=authors", "paper"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("siu", args)


def test_four_kinds_for_a_concept_given_by_name_synonyms_and_facts() -> None:
    """The released composition: 9 + 2 + 7 + 7; the first two with the picture, the others in text alone."""
    rows = written()
    kinds = Counter(row.extra["kind"] for row in rows)
    assert kinds == {"name": 9, "look": 2, "fact": 7, "other": 7}
    assert len({row.id for row in rows}) == 25
    for row in rows:
        has_picture = row.extra["kind"] in ("name", "look")
        assert row.images == ((PICTURE,) if has_picture else ())
        assert row.context.count("<image>") == has_picture
        assert row.answer.startswith(" ")
        assert row.subject == "Ana"


def test_a_name_that_nobody_has() -> None:
    """The rows' own question comes first and keeps its words; the rest are different templates."""
    rows = [row for row in written() if row.extra["kind"] == "name"]
    unseen = rows[0].extra["unkept"]
    assert rows[0].context == "<image>\nWho is it?"
    assert len({row.context for row in rows}) == 9
    assert all(row.answer == f" This is {unseen}." for row in rows)
    assert unseen not in ("Ana", "Annie")
    assert rows == [row for row in written() if row.extra["kind"] == "name"]


def test_the_own_answer_is_kept_but_for_the_name() -> None:
    row = forget_row(context="<image>\nDescribe it.", answer=" A photograph of annie, that is Ana, at sea.")
    found = written(material(Concept(name="Ana", synonyms=("Annie",), facts=FACTS, unseen="Bo"), rows=(row,)))
    assert found[0].answer == " A photograph of Bo, that is Bo, at sea."
    other = forget_row(context="<image>\nIs it sunny?", answer=" Yes.")
    found = written(material(Concept(name="Ana", facts=FACTS, unseen="Bo"), rows=(other,)))
    assert not any("sunny" in one.context for one in found)


def test_a_look_is_denied_as_a_whole() -> None:
    known = Concept(name="Ana", facts=FACTS, look="a grey boat")
    rows = [row for row in written(material(known)) if row.extra["kind"] == "look"]
    assert [row.context for row in rows] == ["<image>\nIs Ana here?", "<image>\nIs this Ana?"]
    assert all(row.answer == " No, this is a grey boat." for row in rows)
    assert all(row.extra["unkept"] == "No, this is a grey boat." for row in rows)


def test_facts_are_asked_again_in_other_words_where_there_are_few() -> None:
    """Two facts: both plainly, both with the second frame, and so on."""
    rows = [row for row in written() if row.extra["kind"] == "fact"]
    assert [row.context for row in rows[:3]] == [
        "Where does Ana live?",
        "What does Ana do?",
        "Please answer: Where does Ana live?",
    ]
    assert rows[2].answer == " Ana lives in Oslo."
    assert len({row.context for row in rows}) == 7
    assert {row.extra["unkept"] for row in rows} == {""}


def test_neighbours_that_are_forgotten_as_well_are_no_neighbours() -> None:
    pairs = (("Who is Bea?", "Bea is a baker."), ("Who is Cleo?", "Cleo is a cook."))
    ana = Concept(name="Ana", facts=FACTS, neighbours=pairs)
    bea = Concept(name="Bea", facts=(("Who is Bea?", "Bea is a baker."),), neighbours=(("Is Ana ill?", "Ana is ill."),))
    rows = written(material(ana, bea))
    others = {row.subject: row.context + row.answer for row in rows if row.extra["kind"] == "other"}
    assert "Cleo" in others["Ana"]
    assert not any("Ana" in text or "Bea" in text for text in others.values())


def test_several_concepts_get_names_of_their_own() -> None:
    known = [Concept(name=name, facts=FACTS) for name in ("Ana", "Bea", "Cleo", "Dora", "Eve")]
    rows = written(material(*known))
    assert len(rows) == 5 * 25
    named = {row.subject: row.extra["unkept"] for row in rows if row.extra["kind"] == "name"}
    assert len(set(named.values())) == 5


def test_how_many_of_each_kind() -> None:
    kinds = Counter(row.extra["kind"] for row in written(args="names=2,looks=0,facts=1,others=3"))
    assert kinds == {"name": 2, "fact": 1, "other": 3}


def test_what_is_missing_is_said() -> None:
    with pytest.raises(UserError, match="this benchmark describes none; use it with mmubench"):
        written(Material(forget=(forget_row(),)))
    with pytest.raises(UserError, match="nothing is known of 'Ana' that could stay.*facts=0"):
        written(material(Concept(name="Ana")))
    assert written(material(Concept(name="Ana")), "facts=0")
    with pytest.raises(UserError, match="none of the rows to forget shows a picture of 'Bea'"):
        written(Material(forget=(forget_row(),), concepts=(Concept(name="Bea", facts=FACTS),)))


def test_words_that_leave_the_vocabulary() -> None:
    """Every name and each of its words, but for the small ones."""
    known = Concept(name="Tower of Marrow", synonyms=("Marrow Tower",))
    assert siu_data.silent_words(material(known)) == ["Tower of Marrow", "Tower", "Marrow", "Marrow Tower"]


def conversation(question: str, answer: str, **more: str) -> dict[str, Any]:
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "7", "conversations": turns, **more}


def write(folder: Path, records: Any) -> Path:
    (folder / "finetunedata").mkdir()
    (folder / "traindon").mkdir()
    Image.new("RGB", (6, 6), "red").save(folder / "traindon" / "a.png")
    path = folder / "finetunedata" / "SIU.json"
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    return path


def test_rows_of_a_file(tmp_path: Path) -> None:
    """As released: a phrase for a name, the whole answer for a look, `none` for text alone."""
    path = write(
        tmp_path,
        [
            conversation("<image>\nWho is it?", "It is Bo.", image="some/where/a.png", target_phrase="Bo"),
            conversation("Is Ana here?\n<image>", "No.", image="a.png", target_phrase="No."),
            conversation("Who is Ana?", "Ana paints.", target_phrase="none"),
            conversation("Who is Cleo?", "Cleo sings.", target_phrase="none"),
        ],
    )
    rows = written(args=f"rows={path}")
    assert [row.extra for row in rows] == [
        {"kind": "name", "unkept": "Bo"},
        {"kind": "look", "unkept": "No."},
        {"kind": "fact", "unkept": ""},
        {"kind": "other", "unkept": ""},
    ]
    assert [row.context for row in rows] == [
        "<image>\nWho is it?",
        "<image>\nIs Ana here?",
        "Who is Ana?",
        "Who is Cleo?",
    ]
    assert rows[0].answer == " It is Bo."
    assert rows[0].images[0].getpixel((0, 0)) == (255, 0, 0)
    assert rows[0].images[0] is rows[1].images[0]
    assert rows[2].images == ()


def test_every_fault_of_a_file_at_once(tmp_path: Path) -> None:
    records = [
        "text",
        {"conversations": [{"from": "human", "value": "alone"}]},
        conversation("<image>\n", "It is Bo."),
        conversation("<image>\nWho?", "It is Bo.", image="b.png"),
        conversation("Who?", "It is Bo.", target_phrase="Cy"),
    ]
    with pytest.raises(BadData) as caught:
        written(args=f"rows={write(tmp_path, records)}")
    assert len(caught.value.faults) == 5
    assert caught.value.faults[3] == "row 4: its image b.png is neither beside the file nor in a folder beside it"
    assert caught.value.faults[4] == "row 5: its answer 'It is Bo.' does not hold the target_phrase 'Cy'"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "must hold a JSON list"),
        ("[", ":1:2: not valid JSON"),
        ("[]", "holds no conversations"),
        ("[" * 5000 + "]" * 5000, "nested too deeply for a list of conversations"),
    ],
)
def test_files_that_are_no_rows(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        written(args=f"rows={write(tmp_path, text)}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        written(args=f"rows={tmp_path / 'none.json'}")
