"""Attention of new tokens over kept keys equals plain attention of each prompt over all of its own."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from mmforget.model.attention import tree_rows
from mmforget.model.decoding import Memory, NextToken, Prefill, prefill_of
from mmforget.model.encode import Encoded
from mmforget.model.packing import PackedRow, lay_out, packed_rows, sequence_places

HEADS, KEY_HEADS, WIDTH, SCALING, NUM_NEW = 4, 2, 8, 0.3, 6
CPU = torch.device("cpu")


def random_prompts(seed: int) -> list[Encoded]:
    """Roots of 1 to 90 tokens with 1 to 9 prompts behind them, equal ones, beginnings of others, and lone prompts."""
    rng = random.Random(seed)

    def some(low: int, high: int) -> list[int]:
        return [rng.randrange(1000) for _ in range(rng.randrange(low, high))]

    found = [some(1, 60) for _ in range(4)]
    for _ in range(4):
        root = some(1, 90)
        found += [root + some(1, 30) for _ in range(rng.randrange(1, 9))]
        found.append(root + found[-1][len(root) :][:2])
    found.append(found[-1])
    return [Encoded(tuple(ids), len(ids)) for ids in rng.sample(found, len(found))]


def rows_of(prompts: list[Encoded]) -> list[PackedRow]:
    return packed_rows(prompts, max_tokens=10_000)


def prefilled(prompts: list[Encoded], parts: list[Tensor]) -> tuple[Prefill, Tensor]:
    """The prefill of one layer with queries, keys and values `parts`, and its result."""
    rows = rows_of(prompts)
    layout = lay_out(prompts, rows, first=[len(prompt) for prompt in prompts], width=0)
    seen = tree_rows(layout, device=CPU, dtype=torch.float32)
    prefill = prefill_of(prompts, rows, layout=layout, seen=seen, max_new_tokens=NUM_NEW + 1, device=CPU)
    return prefill, prefill.attend(0, *parts, scaling=SCALING, dropout=0.0)


def random_parts(num_tokens: int, *, rng: torch.Generator) -> list[Tensor]:
    return [torch.randn(num_tokens, heads, WIDTH, generator=rng) for heads in (HEADS, KEY_HEADS, KEY_HEADS)]


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What one query [heads, D] takes from keys [L, key heads, D], [heads, D]."""
    key, value = (part.repeat_interleave(HEADS // KEY_HEADS, dim=1) for part in (key, value))
    weights = (torch.einsum("hd,lhd->hl", query, key) * SCALING).softmax(-1)
    return torch.einsum("hl,lhd->hd", weights, value)


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_plain_attention(seed: int) -> None:
    """Prompts leave in the middle, among them whole rows; those that stay keep what is theirs."""
    prompts, draw, rng = random_prompts(seed), random.Random(seed), torch.Generator().manual_seed(seed)
    places = sequence_places(prompts, rows_of(prompts))
    parts = random_parts(sum(row.num_tokens for row in rows_of(prompts)), rng=rng)
    prefill, _ = prefilled(prompts, parts)
    keys, values = ([part[torch.from_numpy(place)] for place in places] for part in parts[1:])
    memory: Memory = prefill.memory()
    for number in range(NUM_NEW):
        query, key, value = random_parts(len(keys), rng=rng)
        keys = [torch.cat([before, new[None]]) for before, new in zip(keys, key, strict=True)]
        values = [torch.cat([before, new[None]]) for before, new in zip(values, value, strict=True)]
        found = NextToken(memory, number).attend(0, query, key, value, scaling=SCALING, dropout=0.0)
        wanted = torch.stack([plain(*each) for each in zip(query, keys, values, strict=True)])
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
        if number % 2:
            left = sorted(draw.sample(range(len(keys)), max(1, len(keys) // 2)))
            memory = memory.keep(left)
            keys, values = ([part[index] for index in left] for part in (keys, values))
    assert len(keys) < len(prompts) / 4


def test_the_prefill_is_the_attention_it_wraps() -> None:
    prompts = random_prompts(0)
    rows = rows_of(prompts)
    parts = random_parts(sum(row.num_tokens for row in rows), rng=torch.Generator().manual_seed(0))
    prefill, found = prefilled(prompts, parts)
    assert torch.equal(found, prefill.seen.attend(0, *parts, scaling=SCALING, dropout=0.0))
    ends = [place[-1] for place in sequence_places(prompts, rows)]
    assert prefill.last.tolist() == ends


def test_roots_are_kept_once_a_row() -> None:
    """Three prompts share 50 tokens and have 1, 2 and 3 behind them, so 50 keys for all and 3 + 6 for each."""
    prompts = [Encoded((*range(50), *[100 + size] * size), 50 + size) for size in (1, 2, 3)]
    prefill, _ = prefilled(prompts, random_parts(56, rng=torch.Generator().manual_seed(0)))
    ((layer,),) = prefill.memory().layers.values()
    for kept in layer:
        assert kept.root.shape == (1, KEY_HEADS, 50, WIDTH)
        assert kept.own.shape == (1, KEY_HEADS, 3, 3 + NUM_NEW, WIDTH)


def test_places_of_sequences_by_hand() -> None:
    """1 2 3 4, 1 6, 1 2 3 5 lie as [1 | 2 3 | 4 | 5 | 6], in the order 1 2 3 4, 1 2 3 5, 1 6."""
    prompts = [Encoded(ids, len(ids)) for ids in ((1, 2, 3, 4), (1, 6), (1, 2, 3, 5))]
    found = sequence_places(prompts, rows_of(prompts))
    assert [places.tolist() for places in found] == [[0, 1, 2, 3], [0, 1, 2, 4], [0, 5]]
