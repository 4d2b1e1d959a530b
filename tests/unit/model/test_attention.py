"""Attention over shared rows equals attention under the dense mask that says the same, gradients included."""

from __future__ import annotations

import random

import pytest
import torch
from torch.nn import functional

from mmforget.model import attention
from mmforget.model.attention import tree_rows
from mmforget.model.encode import Encoded
from mmforget.model.packing import Layout, lay_out, packed_rows

HEADS, KEY_HEADS, WIDTH = 4, 2, 8


def layout_of(sequences: list[list[int]]) -> Layout:
    encoded = [Encoded(tuple(ids), 1) for ids in sequences]
    rows = packed_rows(encoded, max_tokens=10_000)
    return lay_out(encoded, rows, first=[1] * len(encoded), width=max(map(len, sequences)))


def random_trees(seed: int) -> list[list[int]]:
    """Roots of 1 to 90 tokens, under each some questions with some answers, and sequences that share nothing."""
    rng = random.Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [rng.randrange(1000) for _ in range(rng.randrange(low, high))]

    found = [some(2, 60) for _ in range(3)]
    for _ in range(3):
        root = some(1, 90)
        for _ in range(rng.randrange(1, 9)):
            question = some(1, 20)
            found += [root + question + some(1, 12) for _ in range(rng.randrange(1, 5))]
    return found


def dense(layout: Layout, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Plain softmax attention of [N, heads, D] under the [N, N] mask read off the layout."""
    num = len(layout.end)
    place = torch.arange(num)
    row = torch.bucketize(place, torch.from_numpy(layout.row_start[1:]), right=True)
    seen = (place[None] <= place[:, None]) & (place[:, None] < torch.from_numpy(layout.end)[None])
    seen &= row[None] == row[:, None]
    key, value = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * 0.3
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, value)


@pytest.mark.parametrize("block_tokens", [1, 16, 240])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_attention_under_a_dense_mask(seed: int, block_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "BLOCK_TOKENS", block_tokens)
    layout = layout_of(random_trees(seed))
    rng = torch.Generator().manual_seed(seed)
    heads = (HEADS, KEY_HEADS, KEY_HEADS)
    parts = [torch.randn(len(layout.end), n, WIDTH, generator=rng, requires_grad=True) for n in heads]
    weight = torch.randn(len(layout.end), HEADS, WIDTH, generator=rng)
    rows = tree_rows(layout, device=torch.device("cpu"), dtype=torch.float32)
    found = rows.attend(0, *parts, scaling=0.3, dropout=0.0)
    wanted = dense(layout, *parts)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad((result * weight).sum(), parts) for result in (found, wanted)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=0)


def test_blocks_and_what_they_see_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root 0 1, then 2 2 2 | 3 with branches 5 5 and 6 6 | at places 2-4, 5, 6-7, 8-9. In blocks of 4 of these 8:
    places 2-5 see the root before them; 6-9 see the root and place 5, which their branches hang on."""
    layout = layout_of([[0, 1, 2, 2, 2], [0, 1, 3, 5, 5], [0, 1, 3, 6, 6]])
    assert layout.ids.tolist() == [[0, 1, 2, 2, 2, 3, 5, 5, 6, 6]]
    monkeypatch.setattr(attention, "BLOCK_TOKENS", 4)
    found = list(attention._blocks(layout.end, start=0, root=2, stop=10))
    assert [(span.start, span.stop) for span in found] == [(2, 6), (6, 10)]
    assert [list(span.before) for span in found if span.before is not None] == [[0, 1], [0, 1, 5]]


def test_dropout_is_passed_on() -> None:
    layout = layout_of(random_trees(0))
    rows = tree_rows(layout, device=torch.device("cpu"), dtype=torch.float32)
    parts = [torch.ones(len(layout.end), HEADS, WIDTH) for _ in range(3)]
    torch.testing.assert_close(rows.attend(0, *parts, scaling=1.0, dropout=0.0), torch.ones_like(parts[0]))
    assert rows.attend(0, *parts, scaling=1.0, dropout=0.5).std() > 0


def test_without_rows_it_is_sdpa() -> None:
    module = torch.nn.Module()
    module.is_causal = True  # type: ignore[assignment]
    query, key, value = (torch.randn(1, HEADS, 5, WIDTH) for _ in range(3))
    found, _ = attention._attend(module, query, key, value, None, scaling=0.3)
    wanted = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3)
    torch.testing.assert_close(found, wanted.transpose(1, 2))
