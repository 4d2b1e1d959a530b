"""Which rows come when: everything random is a function of seed, epoch and position."""

from __future__ import annotations

from collections import Counter

import torch

from mmforget.training import draws
from mmforget.training.batches import Batch, Batches, Drawn, Retained
from mmforget.training.settings import Order, TrainSettings

SUBJECTS = [f"s{row // 3}" for row in range(12)]
RETAIN = [f"r{row // 5}" for row in range(50)]


def batches(order: Order, *, batch_size: int = 6, seed: int = 0) -> Batches:
    settings = TrainSettings(order=order, batch_size=batch_size, seed=seed)
    partners = {"retain": Retained(tuple(RETAIN)), "alternate": Drawn(4, (draws.REFUSAL,))}
    return Batches(SUBJECTS, settings=settings, partners=partners)


def epoch(made: Batches, number: int) -> list[Batch]:
    made.epoch = number
    return [made[k] for k in range(len(made))]


def test_every_epoch_holds_every_row_once_with_one_partner_each() -> None:
    for order in ("file", "rows", "subjects"):
        made = batches(order, batch_size=5)
        found = epoch(made, 3)
        assert [len(batch.rows) for batch in found] == [5, 5, 2]
        assert sorted(row for batch in found for row in batch.rows) == list(range(12))
        assert all(len(b.partners["retain"]) == len(b.rows) == len(b.partners["alternate"]) for b in found)


def test_file_order_is_not_shuffled() -> None:
    assert [b.rows for b in epoch(batches("file"), 1)] == [(0, 1, 2, 3, 4, 5), (6, 7, 8, 9, 10, 11)]


def test_subject_order_keeps_a_subjects_questions_together() -> None:
    made = batches("subjects")
    orders = set()
    for number in range(8):
        rows = [row for batch in epoch(made, number) for row in batch.rows]
        assert all(rows[k : k + 3] == list(range(rows[k], rows[k] + 3)) for k in range(0, 12, 3))
        orders.add(tuple(rows))
    assert len(orders) > 1


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    for order in ("file", "rows", "subjects"):
        made = batches(order)
        late = epoch(made, 2)
        epoch(made, 0)
        assert epoch(made, 2) == late == epoch(batches(order), 2)
        assert epoch(batches(order, seed=1), 2) != late


def test_retain_partners_are_uniform() -> None:
    """12 rows x 500 epochs = 6,000 draws from 50: 120 each, standard deviation 10.8; in subject order the draws of a
    batch of 3 move together, so it is 18.8 there. Five deviations are allowed.
    """
    for order, allowed in (("file", 54), ("rows", 54), ("subjects", 94)):
        made = batches(order, batch_size=3)
        counts = Counter(
            row for number in range(500) for batch in epoch(made, number) for row in batch.partners["retain"]
        )
        assert set(counts) == set(range(50))
        assert max(abs(count - 120) for count in counts.values()) < allowed


def test_partners_in_subject_order_share_their_subject() -> None:
    """Six neighbours in groups of five come from two or three subjects, not six."""
    made = batches("subjects")
    for number in range(20):
        for batch in epoch(made, number):
            assert len({RETAIN[row] for row in batch.partners["retain"]}) <= 3


def test_refusals_are_drawn_anew_every_epoch() -> None:
    made = batches("file")
    assert len({tuple(b.partners["alternate"] for b in epoch(made, number)) for number in range(5)}) == 5
    assert {r for number in range(20) for b in epoch(made, number) for r in b.partners["alternate"]} == {0, 1, 2, 3}


def test_asking_for_partners_does_not_change_the_order() -> None:
    alone = Batches(SUBJECTS, settings=TrainSettings(order="rows", batch_size=6))
    assert [b.rows for b in epoch(alone, 1)] == [b.rows for b in epoch(batches("rows"), 1)]
    assert epoch(alone, 1)[0].partners == {}


def test_an_update_is_seeded_by_its_number() -> None:
    draws.seed_update(3, update=5, micro_batch=1)
    first = torch.rand(3)
    torch.rand(100)
    draws.seed_update(3, update=5, micro_batch=1)
    assert torch.equal(torch.rand(3), first)
    draws.seed_update(3, update=5, micro_batch=2)
    assert not torch.equal(torch.rand(3), first)


def test_rows_of_one_subject_that_stand_apart_are_runs_of_their_own() -> None:
    """Rows a a b b a: three runs, of 2, 2 and 1 rows; every epoch orders the runs, never splits one."""
    assert draws.subject_runs(["a", "a", "b", "b", "a"]) == [[0, 1], [2, 3], [4]]
    orders = {tuple(draws.row_order(["a", "a", "b", "b", "a"], order="subjects", seed=0, epoch=e)) for e in range(40)}
    assert orders == {
        (0, 1, 2, 3, 4), (0, 1, 4, 2, 3), (2, 3, 0, 1, 4), (2, 3, 4, 0, 1), (4, 0, 1, 2, 3), (4, 2, 3, 0, 1)
    }  # fmt: skip


def test_retain_rows_may_be_three_to_one() -> None:
    """12 rows in batches of 5, 15 retain rows beside each: 15, 15 and, beside the last 2 rows, 6; all orders alike."""
    for order in ("file", "rows", "subjects"):
        settings = TrainSettings(order=order, batch_size=5, retain_batch_size=15)
        made = Batches(SUBJECTS, settings=settings, partners={"retain": Retained(tuple(RETAIN))})
        found = epoch(made, 1)
        assert [len(b.partners["retain"]) for b in found] == [15, 15, 6]
        assert epoch(made, 2) != found
        counts = Counter(row for number in range(200) for b in epoch(made, number) for row in b.partners["retain"])
        assert set(counts) == set(range(50))
