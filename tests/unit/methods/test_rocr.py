"""ROCR by hand and beside numpy: the update, the null space, whom it redirects, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material, lacking
from mmforget.methods.rocr import refusing
from mmforget.methods.rocr_math import Means, Moments, update
from mmforget.methods.rocr_targets import Side, targets_of
from mmforget.types import Example, Spot, Steered
from tests.helpers import tiny_image

NOTHING = torch.zeros(2, 0, dtype=torch.float64)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_an_update_by_hand() -> None:
    """k = (1, 1), the first axis kept: P k = (0, 1). (P k k^T + 1)^-1 P k = (0, 1 / 2), so D = R (0, 1 / 2)."""
    found = update(column(1, 1), residuals=column(4, -2), earlier=NOTHING, kept=column(1, 0), ridge=1.0)
    assert found.tolist() == [[0, 2], [0, -1]]


def test_what_was_redirected_before_stands_in_the_way() -> None:
    """Nothing kept, the same key before: (2 k k^T + 1)^-1 k = k / (1 + 2 * 2) in place of k / 3."""
    given = {"residuals": column(15), "kept": NOTHING, "ridge": 1.0}
    assert update(column(1, 1), earlier=NOTHING, **given).tolist() == [[pytest.approx(5), pytest.approx(5)]]
    assert update(column(1, 1), earlier=column(1, 1), **given).tolist() == [[pytest.approx(3), pytest.approx(3)]]


def test_an_update_is_that_of_the_whole_system_in_numpy() -> None:
    rng = np.random.default_rng(0)
    size, keys, residuals, earlier = 9, rng.normal(size=(9, 2)), rng.normal(size=(5, 2)), rng.normal(size=(9, 3))
    kept = np.linalg.qr(rng.normal(size=(9, 4)))[0]
    project = np.eye(size) - kept @ kept.T
    wanted = np.linalg.solve(
        project @ (keys @ keys.T + earlier @ earlier.T) + 0.7 * np.eye(size), project @ keys @ residuals.T
    ).T
    given = (torch.from_numpy(one) for one in (residuals, earlier, kept))
    names = ("residuals", "earlier", "kept")
    found = update(torch.from_numpy(keys), ridge=0.7, **dict(zip(names, given, strict=True)))
    assert np.allclose(found.numpy(), wanted)
    assert np.allclose(found.numpy() @ kept, 0, atol=1e-12)


def test_directions_of_the_rows_to_keep_are_those_of_their_mean_square() -> None:
    """Inputs (2, 0) and (0, .1), the second at three places of four: 4 / 4 = 1 and .03 / 4 < .02."""
    found = Moments()
    found.take("a", torch.tensor([[2.0, 0.0], [0.0, 0.1]]), torch.tensor([1.0, 3.0]))
    assert found.kept("a", threshold=0.02).abs().tolist() == [[1], [0]]
    assert found.kept("a", threshold=0.001).shape == (2, 2)
    means = Means()
    means.take("a", torch.tensor([[2.0], [0.0]]), torch.tensor([1.0, 3.0]))
    assert means.mean("a").tolist() == [0.5]


def row(question: str, *, subject: str = "author_003", answer: str = " x.", image: int | None = None) -> Example:
    images = () if image is None else (tiny_image(image),)
    return Example(question, subject, f"{'<image>' * len(images)}{question}", answer, images=images, path=(subject,))


ANN = [row("Where does Ann Lee live?"), row("Who is the father of Ann Lee?"), row("What is Ann Lee's job?")]


def test_a_name_stands_behind_openings_and_in_its_own_questions() -> None:
    (target,) = targets_of(ANN, names=(), unrelated="nobody")
    (side,) = target.sides
    assert (target.name, side.at, side.kind) == ("Ann Lee", "context_end", "name")
    contexts = [one.context for one in side.rows]
    assert contexts[:2] == ["Ann Lee", "Tell me about Ann Lee"]
    assert contexts[-3:] == ["Where does Ann Lee", "Who is the father of Ann Lee", "What is Ann Lee"]
    assert [one.context for one in side.null][-1] == "What is nobody"


def test_who_is_only_in_images_has_a_face_and_both_where_both_are() -> None:
    """A picture that is shown twice counts once; the one in its place is grey, and as large."""
    shown = [row("Who is this?", image=1), row("Where?", image=1), row("Who?", image=2)]
    (target,) = targets_of(shown, names=(), unrelated="nobody")
    (side,) = target.sides
    assert (target.name, side.kind, side.at, len(side.rows)) == ("author_003", "image", "image", 2)
    assert {one.images[0].getpixel((0, 0)) for one in side.null} == {(128, 128, 128)}
    assert side.null[0].images[0].size == shown[0].images[0].size
    (both,) = targets_of([*ANN, shown[0]], names=(), unrelated="nobody")
    assert [one.kind for one in both.sides] == ["name", "image"]


def test_given_names_go_where_rows_mention_them() -> None:
    rows = [row("Who is it?", answer=" Bo Ray."), *ANN]
    found = targets_of(rows, names=("Bo Ray", "Cy Day", "ann lee"), unrelated="nobody")
    assert [target.name for target in found] == ["Bo Ray", "ann lee"]
    assert found[1].sides[0].rows[-1].context == "What is ann lee"


def test_whom_nothing_names_or_shows_is_refused_or_left_out() -> None:
    method = build("rocr")
    rows = [*ANN, row("Who is it?", subject="author_004"), row("Where?", subject="author_004")]
    assert lacking(method, Material(forget=rows), name="rocr") == {
        "author_004": "rocr redirects a name or a face, and 1 subject has none in the questions ('author_004'); "
        "give names=Ann Lee;Bo Ray"
    }
    with pytest.raises(UserError, match="can unlearn none of the 1 subjects"):
        lacking(method, Material(forget=rows[3:]), name="rocr")
    with pytest.raises(UserError, match=r"1 subject has none in the questions \('author_004'\)"):
        method.edit(None, forget=rows, retain=ANN, level=None)
    assert build("rocr", "names=x").lacks(Material(forget=rows)) == ""
    document = Example("d", "d", "", "New York is large. New York is old.", is_document=True)
    assert method.lacks(Material(forget=[document]))


@pytest.mark.parametrize(
    "args, said",
    [
        ("ridge=0", "ridge=0.0 is not allowed"),
        ("threshold=0", "threshold=0.0 is not allowed"),
        ("names=Ann Lee;", "holds an empty name"),
        ("refusal= ", "refusal is empty"),
        ("target=somebody", "somebody"),
    ],
)
def test_arguments_that_make_no_sense_are_said_in_a_line(args: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("rocr", args)


def test_nothing_that_has_to_stay_and_a_corpus_that_is_none_are_refused(tmp_path: Path) -> None:
    given = {"forget": [("a",)], "retain": [], "level": None}
    with pytest.raises(UserError, match="there are none; give some, or a text as corpus=FILE"):
        build("rocr").check(**given)
    with pytest.raises(UserError, match=r"^corpus=\S*none.txt: cannot be read"):
        build("rocr", {"corpus": str(tmp_path / "none.txt")}).check(**given)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(UserError, match="holds no word"):
        build("rocr", {"corpus": str(tmp_path / "empty.txt")}).check(**given)
    (tmp_path / "some.txt").write_text("word " * 450)
    build("rocr", {"corpus": str(tmp_path / "some.txt")}).check(**given)


class Linear:
    """Says a refusal of one token with the log-odds that the shift's first number gives it, at first -3."""

    def steered(self, example: Example, *, name: str, shift: Tensor, at: Spot) -> Steered:
        assert (example.answer, name, at) == (" No.", "block", "context_end")
        first = torch.stack([shift[0] - 3, torch.zeros(())]).log_softmax(-1)
        return Steered(first[:1], first)


def test_a_refusal_is_found_within_the_length_of_the_state() -> None:
    """25 steps of .1 come near 2.5 where the state is long; one of length 1.5 is the bound of its shift; a short one
    weighs so much that it hardly moves.
    """
    side = Side("name", "context_end", (row("Ann"),), ())
    for length, reached, off in ((10.0, 2.3, 0.25), (1.5, 1.5, 1e-5), (0.5, 0.0, 0.1)):
        now = torch.tensor([0.0, length], dtype=torch.float64)
        shift = refusing(Linear(), side, block="block", now=now, refusal="No.")  # type: ignore[arg-type]
        assert float(shift.norm()) == pytest.approx(reached, abs=off)
        assert shift[0] > 0 or length < 1
        assert shift[1] == 0
