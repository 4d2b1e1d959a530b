"""What shares a row, where tokens go, and what a token may see, worked by hand on a few tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmforget.model.encode import Encoded
from mmforget.model.packing import MAX_ROW_TOKENS, Row, batches, lay_out, packed_rows, plain_rows
from mmforget.model.scoring import attention_mask

FIRST = Encoded((1, 9, 9, 5, 6, 7), 4, (), ("a",), (1, 2), (2,))
SECOND = Encoded((1, 9, 9, 5, 8), 4, (), ("a",), (1, 2), (2,))
OTHER = Encoded((1, 9, 9, 4, 8), 4, (), ("b",), (1, 2), (2,))


def test_what_shares_a_row() -> None:
    """FIRST and SECOND share image `a` and the prefix 1 9 9 5; OTHER begins alike but shows another image."""
    assert packed_rows([FIRST, OTHER, SECOND]) == [Row(4, (0, 2), 7), Row(0, (1,), 5)]
    assert plain_rows([FIRST, OTHER]) == [Row(0, (0,), 6), Row(0, (1,), 5)]


def test_one_packed_row_by_hand() -> None:
    """[1 9 9 5 | 6 7 | 8]: positions 0-3, 4-5, 4. Token 6 is predicted by the prefix's last token (place 3), 7 by 6
    (place 4), 8 by the prefix's last token. With T = 2 the slots are 0, 1 and 2."""
    layout = lay_out([FIRST, SECOND], [Row(4, (0, 1), 7)], first=[4, 4], width=2)
    assert layout.ids.tolist() == [[1, 9, 9, 5, 6, 7, 8]]
    assert layout.positions.tolist() == [[0, 1, 2, 3, 4, 5, 4]]
    assert layout.branch.tolist() == [[0, 0, 0, 0, 1, 1, 2]]
    assert layout.predictor.tolist() == [3, 4, 3]
    assert layout.target.tolist() == [6, 7, 8]
    assert layout.slot.tolist() == [0, 1, 2]
    assert layout.image_at.tolist() == [1, 2]
    assert (layout.image_key, layout.image_start, layout.image_count) == (["a"], [0], [2])


def test_images_behind_the_shared_prefix() -> None:
    """With a prefix of 2 tokens that ends inside the image, each branch brings the second half of it."""
    layout = lay_out([FIRST, SECOND], [Row(2, (0, 1), 9)], first=[4, 4], width=2)
    assert layout.ids.tolist() == [[1, 9, 9, 5, 6, 7, 9, 5, 8]]
    assert layout.image_at.tolist() == [1, 2, 6]
    assert (layout.image_start, layout.image_count) == ([0, 1, 1], [1, 1, 1])
    assert layout.predictor.tolist() == [3, 4, 7]


def test_plain_rows_are_padded_on_the_right() -> None:
    layout = lay_out([FIRST, OTHER], plain_rows([FIRST, OTHER]), first=[4, 4], width=2)
    assert layout.ids.tolist() == [[1, 9, 9, 5, 6, 7], [1, 9, 9, 4, 8, 0]]
    assert layout.predictor.tolist() == [3, 4, 9]
    assert layout.slot.tolist() == [0, 1, 2]
    assert not layout.is_packed
    mask = attention_mask(torch.from_numpy(layout.branch), packed=False, dtype=torch.float32)
    assert mask is not None
    assert mask.tolist() == [[True] * 6, [True] * 5 + [False]]


def test_the_mask_by_hand() -> None:
    """Row: prefix, branch 1 (2 tokens), branch 2, padding. Padding sees itself, so that no row is empty."""
    mask = attention_mask(torch.tensor([[0, 1, 1, 2, -1]]), packed=True, dtype=torch.float32)
    assert mask is not None
    assert (mask[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 0, 0, 0, 1],
    ]
    assert float(mask.min()) == torch.finfo(torch.float32).min


def test_no_mask_where_nothing_is_padded() -> None:
    assert attention_mask(torch.ones(2, 3, dtype=torch.int64), packed=False, dtype=torch.float32) is None


def test_rows_are_cut_at_the_token_budget() -> None:
    """Prefix 100 and branches of 300: (2048 - 100) // 300 = 6 branches a row, so 20 make 6 + 6 + 6 + 2."""
    long = [Encoded((*range(100), *[k] * 300), 100, (), ("a",), (), ()) for k in range(200, 220)]
    rows = packed_rows(long)
    assert [len(row.members) for row in rows] == [6, 6, 6, 2]
    assert max(row.length for row in rows) <= MAX_ROW_TOKENS
    assert sorted(member for row in rows for member in row.members) == list(range(20))


def test_little_in_common_is_not_packed() -> None:
    """Sharing 1 token of 31 would pay for a dense mask with nothing."""
    alone = [Encoded((1, *[k] * 30), 5, (), ("a",), (), ()) for k in range(2, 5)]
    assert all(row.num_prefix == 0 for row in packed_rows(alone))


def test_text_shares_equal_contexts_only() -> None:
    """Two answers to one question share it; another question stands alone."""
    texts = [Encoded((1, 2, 3, 4, 5), 4), Encoded((1, 2, 3, 4, 6, 7), 4), Encoded((1, 2, 3, 8, 6, 7), 4)]
    assert packed_rows(texts) == [Row(4, (0, 1), 7), Row(0, (2,), 6)]


@pytest.mark.parametrize(("max_tokens", "wanted"), [(10, [[6], [5]]), (12, [[6, 5]]), (1, [[6], [5]])])
def test_batches_count_padding(max_tokens: int, wanted: list[list[int]]) -> None:
    rows = plain_rows([OTHER, FIRST])
    assert [[row.length for row in batch] for batch in batches(rows, max_tokens=max_tokens)] == wanted


def test_every_scored_token_appears_once() -> None:
    encoded = [FIRST, SECOND, OTHER]
    layout = lay_out(encoded, packed_rows(encoded), first=[1, 1, 1], width=5)
    assert np.unique(layout.slot).size == layout.slot.size == sum(len(one) - 1 for one in encoded)
