"""Which requests share a batch: each once, groups together, never more tokens than the batch size stands for."""

from __future__ import annotations

import random

import pytest

from mmforget.lm import batching
from mmforget.lm.batching import chunks, group_indices, score_batches


@pytest.fixture(autouse=True)
def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", 0)


def test_groups_in_order_and_those_without_alone() -> None:
    assert group_indices(["a", None, "b", "a", None]) == [[0, 3], [1], [2], [4]]
    assert chunks([5, 6, 7], size=2) == [[5, 6], [7]]


def test_nothing_to_do() -> None:
    assert score_batches([], groups=[], batch_size=4).indices == []


def test_questions_about_one_picture_share_a_batch() -> None:
    """Prefix of 100 tokens and 10 questions of 5: 150 tokens in one row, within 2 x 105."""
    ids = [[1] * 100 + [question] * 5 for question in range(10)]
    assert score_batches(ids, groups=["picture"] * 10, batch_size=2).indices == [list(range(10))]
    assert len(score_batches(ids, groups=[None] * 10, batch_size=2).indices) == 5


def test_a_group_too_large_is_split() -> None:
    """Rows hold 100 + 5 n <= 105: with batch size 1 one question a row."""
    ids = [[1] * 100 + [question] * 5 for question in range(3)]
    assert score_batches(ids, groups=["picture"] * 3, batch_size=1).indices == [[0], [1], [2]]


@pytest.mark.parametrize("seed", range(20))
def test_every_request_once_and_never_too_many_tokens(seed: int) -> None:
    rng = random.Random(seed)
    groups = [rng.choice(["a", "b", "c", None]) for _ in range(60)]
    ids = [[hash(group) % 97] * 30 + [rng.randrange(50) for _ in range(rng.randrange(1, 20))] for group in groups]
    size = rng.randrange(1, 9)
    plan = score_batches(ids, groups=groups, batch_size=size)
    assert sorted(index for batch in plan.indices for index in batch) == list(range(60))
    assert plan.max_tokens == size * max(map(len, ids))
    for batch in plan.indices:
        rows = {groups[index] if groups[index] is not None else index: 0 for index in batch}
        for index in batch:
            key = groups[index] if groups[index] is not None else index
            rows[key] += len(ids[index])
        # Sharing can only make rows shorter than this sum less the shared tokens.
        assert max(rows.values()) - 30 * (len(batch) - 1) <= plan.max_tokens
    assert plan == score_batches(ids, groups=groups, batch_size=size)
