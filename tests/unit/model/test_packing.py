"""What shares a row and where tokens go, worked by hand on a few tokens, and checked on random trees."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mmforget.model.encode import Encoded
from mmforget.model.packing import Layout, PackedRow, batches, lay_out, packed_rows, padded_batches, plain_rows

FIRST = Encoded((1, 9, 9, 5, 6, 7), 4, (), ("a",), (1, 2), (2,))
SECOND = Encoded((1, 9, 9, 5, 8), 4, (), ("a",), (1, 2), (2,))
OTHER = Encoded((1, 9, 9, 4, 8), 4, (), ("b",), (1, 2), (2,))


def text(*ids: int, num_context: int = 1) -> Encoded:
    return Encoded(ids, num_context)


def packed(encoded: list[Encoded], *, max_tokens: int = 100) -> Layout:
    """All rows of one batch, every token but the first scored."""
    width = max(len(one) for one in encoded)
    return lay_out(encoded, packed_rows(encoded, max_tokens=max_tokens), first=[1] * len(encoded), width=width)


def random_texts(seed: int) -> list[Encoded]:
    """30 sequences that branch off one another at random places, some equal, some the beginning of others."""
    rng = random.Random(seed)
    found = [[1, *(rng.randrange(5) for _ in range(rng.randrange(3, 12)))]]
    while len(found) < 30:
        base = rng.choice(found)
        tail = [rng.randrange(5) for _ in range(rng.randrange(0, 8))]
        made = [*base[: rng.randrange(1, len(base) + 1)], *tail]
        if len(made) > 1:
            found.append(made)
    return [text(*ids) for ids in found]


def test_what_shares_a_row() -> None:
    """FIRST and SECOND share image `a` and 1 9 9 5, so 6 + 1 tokens; OTHER begins alike but shows another image."""
    assert packed_rows([FIRST, OTHER, SECOND], max_tokens=100) == [
        PackedRow((0, 2), (0, 4), 7),
        PackedRow((1,), (0,), 5),
    ]
    assert plain_rows([FIRST, OTHER]) == [PackedRow((0,), (0,), 6), PackedRow((1,), (0,), 5)]


def test_one_packed_row_by_hand() -> None:
    """[1 9 9 5 | 6 7 | 8]: positions 0-3, 4-5, 4. The tokens at places 0-3 are seen by all up to place 7, those of
    branch 6 7 up to 6, 8 up to 7. Token 6 is predicted by the prefix's last token (place 3), 7 by 6 (place 4), 8 by
    place 3 again, which is one of two predictors. With T = 2 the slots are 0, 1 and 2, in the order of predictors."""
    layout = lay_out([FIRST, SECOND], packed_rows([FIRST, SECOND], max_tokens=10), first=[4, 4], width=2)
    assert layout.ids.tolist() == [[1, 9, 9, 5, 6, 7, 8]]
    assert layout.positions.tolist() == [[[0, 1, 2, 3, 4, 5, 4]]]
    assert layout.end.tolist() == [7, 7, 7, 7, 6, 6, 7]
    assert (layout.row_start.tolist(), layout.num_root.tolist()) == ([0, 7], [4])
    assert layout.predictor.tolist() == [3, 4]
    assert layout.scored_by.tolist() == [0, 0, 1]
    assert layout.target.tolist() == [6, 8, 7]
    assert layout.slot.tolist() == [0, 2, 1]
    assert layout.image_at.tolist() == [1, 2]
    assert (layout.image_key, layout.image_start, layout.image_count) == (["a"], [0], [2])


def test_a_tree_of_three_levels_by_hand() -> None:
    """1 2 3 4, 1 2 3 5, 1 6: [1 | 2 3 | 4 | 5 | 6]. Place 0 is seen up to 6, places 1 and 2 up to 5, 4 and 5 by
    themselves; 6 is at position 1."""
    layout = packed([text(1, 2, 3, 4), text(1, 6), text(1, 2, 3, 5)])
    assert layout.ids.tolist() == [[1, 2, 3, 4, 5, 6]]
    assert layout.positions.tolist() == [[[0, 1, 2, 3, 3, 1]]]
    assert layout.end.tolist() == [6, 5, 5, 4, 5, 6]
    assert layout.num_root.tolist() == [1]


def test_a_sequence_that_is_the_beginning_of_another_or_its_equal_adds_nothing() -> None:
    layout = packed([text(1, 2, 3), text(1, 2), text(1, 2, 3)])
    assert layout.ids.tolist() == [[1, 2, 3]]
    assert sorted(layout.slot.tolist()) == [0, 1, 3, 6, 7]


@pytest.mark.parametrize("seed", range(20))
def test_every_token_sees_its_own_sequence_and_nothing_else(seed: int) -> None:
    """Read back from the layout: the tokens that the predictor of a scored token sees, in the order of their places,
    are that sequence's tokens before it; every distinct beginning stands there once."""
    encoded = random_texts(seed)
    layout = packed(encoded)
    beginnings = {one.ids[: n + 1] for one in encoded for n in range(len(one))}
    # Rows that are cut between sequences with little in common repeat what these share.
    assert layout.ids.size >= len(beginnings)
    places = np.arange(layout.ids.size)
    width = max(len(one) for one in encoded)
    seen_slots = set()
    for index, target, slot in zip(layout.scored_by, layout.target, layout.slot, strict=True):
        place = layout.predictor[index]
        row = int(np.searchsorted(layout.row_start, place, side="right")) - 1
        visible = (places >= layout.row_start[row]) & (places <= place) & (place < layout.end)
        member, position = divmod(int(slot), width)
        assert (*layout.ids[0][visible].tolist(), int(target)) == encoded[member].ids[: position + 2]
        assert layout.positions[0, 0][visible].tolist() == list(range(position + 1))
        seen_slots.add(int(slot))
    assert len(seen_slots) == layout.slot.size == sum(len(one) - 1 for one in encoded)


def test_every_distinct_token_stands_once() -> None:
    """One image of 576 tokens, 20 questions of 15, 6 answers of 12: 576 + 300 + 1,440 tokens, less what answers and
    questions happen to begin with."""
    rng = random.Random(0)
    encoded = []
    for question in range(20):
        asked = (1, *[9] * 575, 100 + question, *(rng.randrange(10, 60) for _ in range(14)))
        for answer in range(6):
            said = (200 + answer, *(rng.randrange(10, 60) for _ in range(11)))
            encoded.append(Encoded((*asked, *said), len(asked), (), ("a",), tuple(range(1, 576)), (575,)))
    rows = packed_rows(encoded, max_tokens=4096)
    assert [row.num_tokens for row in rows] == [576 + 20 * 15 + 120 * 12]


def test_a_beginning_that_ends_inside_an_image() -> None:
    """Two images in one prompt, the second a token shorter: the tokens of both rows take the right features."""
    one = Encoded((1, 9, 9, 9, 5, 6), 5, (), ("a", "b"), (1, 2, 3), (2, 1))
    two = Encoded((1, 9, 9, 4, 9, 7), 5, (), ("a", "b"), (1, 2, 4), (2, 1))
    layout = packed([one, two])
    assert layout.ids.tolist() == [[1, 9, 9, 4, 9, 7, 9, 5, 6]]
    assert layout.image_at.tolist() == [1, 2, 4, 6]
    assert (layout.image_key, layout.image_start) == (["a", "b", "b"], [0, 0, 0])
    assert layout.image_count == [2, 1, 1]


def test_plain_rows_are_padded_on_the_right() -> None:
    layout = lay_out([FIRST, OTHER], plain_rows([FIRST, OTHER]), first=[4, 4], width=2, flat=False)
    assert layout.ids.tolist() == [[1, 9, 9, 5, 6, 7], [1, 9, 9, 4, 8, 0]]
    assert layout.is_token.tolist() == [[True] * 6, [True] * 5 + [False]]
    assert layout.predictor.tolist() == [3, 4, 9]
    assert layout.slot.tolist() == [0, 1, 2]
    assert layout.image_at.tolist() == [1, 2, 7, 8]


def test_rows_are_cut_at_the_token_budget() -> None:
    """Prefix 100 and branches of 300: (2048 - 100) // 300 = 6 branches a row, so 20 make 6 + 6 + 6 + 2."""
    long = [Encoded((*range(100), *[k] * 300), 100, (), ("a",), (), ()) for k in range(200, 220)]
    rows = packed_rows(long, max_tokens=2048)
    assert [len(row.members) for row in rows] == [6, 6, 6, 2]
    assert [row.num_tokens for row in rows] == [1900, 1900, 1900, 700]
    assert sorted(member for row in rows for member in row.members) == list(range(20))


def test_little_in_common_is_not_packed() -> None:
    """1 token of 31 is less than a twentieth."""
    alone = [Encoded((1, *[k] * 30), 5, (), ("a",), (), ()) for k in range(2, 5)]
    assert [row.num_tokens for row in packed_rows(alone, max_tokens=100)] == [31, 31, 31]


@pytest.mark.parametrize(("max_tokens", "wanted"), [(10, [[6], [5]]), (11, [[6, 5]]), (1, [[6], [5]])])
def test_batches_count_distinct_tokens(max_tokens: int, wanted: list[list[int]]) -> None:
    found = batches(plain_rows([FIRST, OTHER]), max_tokens=max_tokens)
    assert [[row.num_tokens for row in batch] for batch in found] == wanted


@pytest.mark.parametrize(("max_tokens", "wanted"), [(11, [[6], [5]]), (12, [[6, 5]]), (1, [[6], [5]])])
def test_padded_batches_count_padding(max_tokens: int, wanted: list[list[int]]) -> None:
    found = padded_batches(plain_rows([OTHER, FIRST]), max_tokens=max_tokens)
    assert [[row.num_tokens for row in batch] for batch in found] == wanted
