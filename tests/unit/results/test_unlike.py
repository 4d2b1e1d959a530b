"""What two records do not have in common: nothing of one, the seed alone of two seeds, and what could move a number."""

from __future__ import annotations

from dataclasses import replace

from test_record_schema import PROVENANCE, full_record

from mmforget.results.schema import MethodUse, SetUse
from mmforget.results.unlike import SEED, Fact, unlike

NPO = MethodUse("npo", {"beta": 0.1, "training.lora": {"r": 16}, "training.seed": 0}, 0, "micro")


def seeded(seed: int) -> MethodUse:
    return replace(NPO, args={**NPO.args, "training.seed": seed}, seed=seed)


def test_a_record_is_like_itself_whenever_and_wherever_it_was_made() -> None:
    later = replace(PROVENANCE, started="2027", wall_s=7.0, peak_memory_bytes=1, command=("other",))
    again = full_record(provenance=later, model_info={"fingerprint": "other", "quantisation": None})
    assert unlike([full_record()], [again]) == []


def test_two_seeds_differ_in_the_seed_alone() -> None:
    found = unlike([full_record(method=seeded(0))], [full_record(method=seeded(1))])
    assert [(fact.part, fact.name) for fact in found] == [SEED]
    assert found == [Fact("method", "seed", ("0",), ("1",))]


def test_the_same_seeds_on_both_sides_are_no_difference() -> None:
    sides = [[full_record(method=seeded(seed), name=name) for seed in (0, 1)] for name in ("npo", "npo")]
    assert unlike(*sides) == []
    assert unlike(sides[0], sides[0][:1]) == [Fact("method", "seed", ("0", "1"), ("0",))]


def test_what_could_move_a_number_is_told_by_part() -> None:
    method = MethodUse("kl", {"retain_weight": 2.0, "training.lora": {"r": 8}, "training.seed": 0}, 0, "micro")
    other = full_record(
        method=method,
        sets={"forget": SetUse(2, 4, 1, "ee" * 32)},
        model_info={"fingerprint": "x", "quantisation": "nf4"},
        references={"target": "f" * 64},
        provenance=replace(PROVENANCE, packages={"torch": "3"}, dirty=True),
        data={"source": "hub", "notes": []},
    )
    found = {(fact.part, fact.name): (fact.first, fact.second) for fact in unlike([full_record(method=NPO)], [other])}
    assert found == {
        ("questions", "data.source"): (('"synthetic"',), ('"hub"',)),
        ("questions", "sets.forget.num_questions"): (("3",), ("2",)),
        ("questions", "sets.forget.rows_hash"): (('"cd"',), ('"eeeeeeeeeeee"',)),
        ("method", "name"): (('"npo"',), ('"kl"',)),
        ("method", "args.beta"): (("0.1",), ("not there",)),
        ("method", "args.retain_weight"): (("not there",), ("2.0",)),
        ("method", "args.training.lora.r"): (("16",), ("8",)),
        ("model", "quantisation"): (("null",), ('"nf4"',)),
        ("compared with", "target"): (('"ef"',), ('"ffffffffffff"',)),
        ("code", "dirty"): (("null",), ("true",)),
        ("code", "packages.torch"): (('"2"',), ('"3"',)),
    }
    names = [name for part, name in found if part == "questions"]
    assert names == ["data.source", "sets.forget.num_questions", "sets.forget.rows_hash"], "in the order of the record"
    parts = list(dict.fromkeys(part for part, _ in found))
    assert parts == ["questions", "method", "model", "compared with", "code"]
