"""Which requests share a batch: each once, those that share tokens together, never more than the batch size is for."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from mmforget.lm import batching
from mmforget.lm.batching import chunks, generation_batches, group_indices, score_batches
from mmforget.model.encode import Encoded


@pytest.fixture(autouse=True)
def no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", 0)


def about(picture: str, *tail: int, num_shared: int = 100) -> Encoded:
    """A request about a picture of `num_shared` tokens; about none where `picture` is empty."""
    shared = [ord(picture) if picture else 0] * num_shared
    return Encoded((*shared, *tail), num_shared, image_keys=(picture,) if picture else ())


def questions(picture: str, count: int, *, size: int = 5) -> list[Encoded]:
    """`count` questions of `size` tokens about one picture; none begins as another does."""
    return [about(picture, *[1000 + number] * size) for number in range(count)]


def num_distinct(requests: Sequence[Encoded]) -> int:
    """An independent count: beginnings of the requests, each once."""
    return len({(one.image_keys, one.ids[:size]) for one in requests for size in range(1, len(one) + 1)})


def test_groups_in_order() -> None:
    assert group_indices(["a", "c", "b", "a", "c"]) == [[0, 3], [1, 4], [2]]
    assert chunks([5, 6, 7], size=2) == [[5, 6], [7]]


def test_nothing_to_do() -> None:
    for packed in (True, False):
        assert score_batches([], batch_size=4, packed=packed).indices == []
        assert generation_batches([], max_new_tokens=8, batch_size=4, packed=packed) == []


def test_scores_about_one_picture_share_a_batch() -> None:
    """100 tokens of the picture and 10 questions of 5: 150 distinct tokens, within 2 x 105. By itself each has 105."""
    asked = questions("p", 10)
    assert score_batches(asked, batch_size=2, packed=True) == ([list(range(10))], 210)
    assert score_batches(asked, batch_size=2, packed=False).indices == [[n, n + 1] for n in range(0, 10, 2)]


def test_scores_about_several_pictures() -> None:
    """Rows of 100 + 3 x 5 tokens, two of which fit in 3 x 105 but not three."""
    asked = [one for picture in "pqr" for one in questions(picture, 3)]
    assert score_batches(asked, batch_size=3, packed=True).indices == [[0, 1, 2, 3, 4, 5], [6, 7, 8]]


def test_one_picture_under_many_edits_comes_together() -> None:
    """Pictures p, q, p, q under edits 0, 0, 1, 1: both edits of p, then both of q."""
    asked = [about(picture, 1).under(edit) for edit in (0, 1) for picture in "pq"]
    assert score_batches(asked, batch_size=2, packed=True).indices == [[0, 2], [1, 3]]
    assert generation_batches(asked, max_new_tokens=5, batch_size=2, packed=True) == [[0, 2], [1, 3]]


def test_prompts_about_one_picture_share_a_batch() -> None:
    """With 20 new tokens each: 100 + n x (5 + 20) within 2 x (105 + 20) holds for 6 prompts."""
    asked = questions("p", 10)
    found = generation_batches(asked, max_new_tokens=20, batch_size=2, packed=True)
    assert found == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9]]


def test_prompts_about_one_picture_stay_together() -> None:
    """3 prompts of 25 tokens on 100 of each picture, 175, do not fit behind another 175 in 300: the next batch."""
    asked = [questions(picture, 3)[number] for number in range(3) for picture in "pq"]
    found = generation_batches(asked, max_new_tokens=20, batch_size=3, packed=True)
    assert found == [[0, 2, 4, 1, 3, 5]]
    found = generation_batches(asked, max_new_tokens=20, batch_size=2, packed=True)
    assert found == [[0, 2, 4], [1, 3, 5]]


def test_where_nothing_is_shared_the_batch_size_counts() -> None:
    """Pictures in order of first appearance, then parts of three."""
    asked = [questions(picture, 4)[number] for number in range(4) for picture in "pq"]
    found = generation_batches(asked, max_new_tokens=20, batch_size=3, packed=False)
    assert found == [[0, 2, 4], [6, 1, 3], [5, 7]]


def test_small_batches_are_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts of 10 tokens and 10 new ones: with room for 1,000 there are 50 in a batch, whatever the batch size."""
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", 1000)
    asked = [Encoded(tuple(range(100 * n, 100 * n + 10)), 10) for n in range(60)]
    found = generation_batches(asked, max_new_tokens=10, batch_size=1, packed=True)
    assert [len(batch) for batch in found] == [50, 10]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_every_request_once_and_never_too_many_tokens(seed: int, packed: bool) -> None:
    rng = random.Random(seed)
    asked = [
        about(rng.choice(["a", "b", "c", ""]), *(rng.randrange(50) for _ in range(rng.randrange(1, 20))), num_shared=30)
        for _ in range(60)
    ]
    size, num_new = rng.randrange(1, 9), rng.randrange(1, 30)
    longest = max(map(len, asked))
    plan = score_batches(asked, batch_size=size, packed=packed)
    batches = generation_batches(asked, max_new_tokens=num_new, batch_size=size, packed=packed)
    for found in (plan.indices, batches):
        assert sorted(index for batch in found for index in batch) == list(range(60))
    assert plan.max_tokens == size * longest
    for batch in plan.indices:
        chosen = [asked[index] for index in batch]
        assert (num_distinct(chosen) if packed else len(chosen) * max(map(len, chosen))) <= plan.max_tokens
    for batch in batches:
        chosen = [asked[index] for index in batch]
        if packed:
            assert num_distinct(chosen) + len(chosen) * num_new <= size * (longest + num_new)
        else:
            assert len(chosen) <= size
    assert plan == score_batches(asked, batch_size=size, packed=packed)
