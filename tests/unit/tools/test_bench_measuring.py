"""What the benchmarks count and reckon, compared with values worked by hand."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.flops import Tree, tree_of, work_of
from benchmarks.measuring import (
    Seconds,
    Timing,
    Watch,
    alternate,
    is_enough,
    memory,
    num_parameters_alive,
    ratios,
    relative_difference,
    reset_peak,
)
from benchmarks.tables import number, table
from benchmarks.wanted import judged
from benchmarks.world import TINY, Shape, build_llava, encode_answers, encode_prompts, make_questions
from mmforget.model.encode import Encoded
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = build_llava(tmp_path_factory.mktemp("bench") / "llava", TINY)
    return load_model(ModelSpec(str(folder), dtype="float32", device="cpu"))


def test_tree_counts_every_distinct_token_once() -> None:
    """1 2 3 | 4 and 1 2 | 5: nodes 1, 12, 123, 1234, 125; they see 1 + 2 + 3 + 4 + 3 tokens; 3 and 2 predict.

    The same ids about another image are other tokens: two more, seeing 1 + 2; the first of them predicts.
    """
    same = [Encoded((1, 2, 3, 4), 3, (), ("a",)), Encoded((1, 2, 5), 2, (), ("a",))]
    assert tree_of(same) == Tree(num_tokens=5, num_pairs=13, num_predictors=2, num_images=1)
    assert tree_of([*same, Encoded((1, 2), 1, (), ("b",))]) == Tree(7, 16, 3, 2)


def test_work_is_that_of_the_layers(loaded: LoadedModel) -> None:
    """Width 64, feed-forward 128, 2 layers, 17 patches of width 32 (4 x as much inside), V words.

    Decoder 2 (4 x 64^2 + 3 x 64 x 128) = 81,920 weights; tower 2 (4 x 32^2 + 2 x 32 x 128) = 24,576; projector
    32 x 64 + 64^2 = 6,144. For 10 tokens, 55 pairs, 3 predictors and an image.
    """
    vocabulary = loaded.core.lm_head.out_features
    decoder, attention, head = 2 * 81_920 * 10, 4 * 64 * 2 * 55, 2 * 64 * vocabulary * 3
    seeing = 2 * 24_576 * 17 + 4 * 32 * 2 * 17**2 + 2 * 6_144 * 16
    work = work_of(loaded.core, Tree(10, 55, 3, 1), num_lora=100)
    assert work.forward == decoder + attention + head + seeing
    assert work.lora_training == 2 * decoder + 3 * attention + 2 * head + seeing + 6 * 100 * 10


@torch.no_grad()
def test_watch_counts_what_the_model_is_handed(loaded: LoadedModel) -> None:
    """Two rows of seven tokens and three images; time inside is counted once, however deep the calls are."""
    core = loaded.core
    pixels = torch.zeros(3, 3, TINY.image_side, TINY.image_side)
    start = Seconds.now()
    with Watch(core) as watch:
        core.model.vision_tower(pixels)
        with watch.computing():
            core(input_ids=torch.full((2, 7), 5))
    core(input_ids=torch.full((2, 7), 5))
    assert (watch.num_tokens, watch.num_images) == (14, 3)
    assert 0 < watch.inside_s < start.passed().wall


def test_variants_take_turns() -> None:
    order: list[str] = []
    timings = alternate({name: lambda name=name: order.append(name) for name in "ab"}, repeats=3)
    assert order == ["a", "b"] * 3
    assert len(timings["a"].repeats) == 3


def test_what_was_timed_before_counts_and_what_takes_long_is_not_timed_again() -> None:
    """Known before: b twice more. Five seconds in all are enough."""
    order: list[str] = []
    variants = {name: lambda name=name: order.append(name) for name in "ab"}
    timings = alternate(variants, repeats=3, before={"b": Seconds(1.0, 1.0)})
    assert order == ["a", "b", "a", "b", "a"]
    assert timings["b"].repeats[0] == Seconds(1.0, 1.0)
    assert is_enough([Seconds(11, 20)], repeats=3)
    assert is_enough([Seconds(3, 10)] * 2, repeats=3)
    assert not is_enough([Seconds(2, 10)] * 2, repeats=3)


def test_the_best_of_all_repeats_counts() -> None:
    slow, fast = Timing([Seconds(9, 4), Seconds(6, 5)]), Timing([Seconds(2, 1), Seconds(3, 2)])
    assert ratios(slow, fast) == {"ratio": 3, "ratio_cpu": 4}
    assert slow.as_dict() == {"best_s": 6, "median_s": 7.5, "best_cpu_s": 4, "repeats_s": [9, 6]}


def test_relative_difference_is_over_all_tensors_together() -> None:
    """(3, 0), (0) against (0, 0), (4): the difference has norm 5, what is wanted 4."""
    found, wanted = [torch.tensor([3.0, 0.0]), torch.zeros(1)], [torch.zeros(2), torch.tensor([4.0])]
    assert relative_difference(found, wanted) == pytest.approx(5 / 4)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells peak memory, others do not")
def test_peak_memory_is_since_the_reset() -> None:
    size = 64 * 2**20
    fill(4 * size)
    reset_peak()
    before = memory()
    assert before.peak < before.now + size // 2
    fill(size)
    assert memory().peak > before.now + size // 2


def fill(size: int) -> None:
    """Memory of the system's own, written to and given back: what a library frees it may keep."""
    with mmap.mmap(-1, size) as pages:
        pages.write(b"1" * size)


def test_a_second_model_would_be_seen() -> None:
    before = num_parameters_alive()
    layer = nn.Linear(10, 20)
    same = nn.Parameter(layer.weight.data)
    assert num_parameters_alive() - before == 220
    assert same is not layer.weight


def test_questions_have_the_shape_that_was_asked_for(loaded: LoadedModel) -> None:
    """About 15 tokens a question, 12 to 20 an answer, one picture for all questions about it."""
    questions = make_questions(Shape(2, 3, 4), side=TINY.image_side)
    encoded, prompts = encode_answers(loaded, questions), encode_prompts(loaded, questions)
    assert len(encoded) == 24
    assert len(prompts) == 6
    assert len({one.image_keys for one in encoded}) == 2
    assert all(12 <= one.num_answer <= 20 for one in encoded)
    assert all(12 <= len(one) - TINY.num_image_tokens <= 18 for one in prompts)
    assert questions == make_questions(Shape(2, 3, 4), side=TINY.image_side)


def test_what_is_wanted_is_judged_part_by_part() -> None:
    generation = {"ratio_to_stock": 3.9, "ours": {"share_outside_model": 0.05}}
    rows = judged({"generation": generation})
    assert [(row["wanted"], row["found"], row["met"]) for row in rows] == [(">= 4", 3.9, False), ("<= 0.1", 0.05, True)]


def test_tables_line_up() -> None:
    assert (
        table(("name", "n"), [("a", "12"), ("long one", "3")])
        == "name       n\n--------  --\na         12\nlong one   3"
    )
    assert [number(value) for value in (None, 0.123456, 12345.6, 2.0)] == ["-", "0.1235", "12,346", "2"]
