"""Made-up answers of four models about a few made-up people, and records that hold them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from mmforget.results.provenance import begin, collect
from mmforget.results.schema import BenchmarkUse, MethodUse, RunRecord, SetUse
from mmforget.types import Sample

USES = (("forget", "fiubench_forget"), ("retain5", "fiubench_retain5"))
NUM_PEOPLE, NUM_FACTS = 4, 2


def answered(*, knows_forget: bool, knows_rest: bool, seed: int) -> list[Sample]:
    """Answers to questions about people to be forgotten and to be kept, right where the model knows them."""
    rng = random.Random(seed)
    found = []
    for used, task in USES:
        knows = knows_forget if used == "forget" else knows_rest
        for person in range(NUM_PEOPLE):
            for fact in range(NUM_FACTS):
                answer = f"the {used} fact {fact} of person {person} is known."
                what = (f"{person}-{fact}", f"{used}{person}", f"what is fact {fact}?", answer, (f"person {person}",))
                response = answer if knows else f"nothing about number {person + fact} here."
                found.append(Sample(f"{task}_gen", used, "gen", *what, response=response))
                high, low = (-0.1 - rng.random() / 10, -0.2), (-2.0 - rng.random(), -3.0 - person)
                roles = {"answer": high if knows else low, "rephrased/0": high if knows else low, "perturbed/0": low}
                found.append(Sample(f"{task}_prob", used, "prob", *what, token_logprobs=roles))
    return found


def record_of(name: str, *, samples: Sequence[Sample], seed: int = 0) -> RunRecord:
    """A record without numbers of one of the models `target`, `retain` and methods, judged against the former two.

    Args:
        seed: of the training of a method.
    """
    is_method = name not in ("target", "retain")
    counts = {used: [one for one in samples if one.task == f"{task}_gen"] for used, task in USES}
    known = {"target": {"retain": "retain" * 8}, "retain": {}}
    return RunRecord(
        role="unlearned" if is_method else name,  # type: ignore[arg-type]
        name=name,
        benchmark=BenchmarkUse("fiubench", "forget5", "clean", group="fiubench", title="FIUBench"),
        method=MethodUse(name, {"lr": 1e-3, "training.seed": seed}, seed) if is_method else None,
        model_info={"pretrained": "made-up", "fingerprint": f"{name}{seed}" * 8 if is_method else name * 8},
        data={"source": "synthetic", "path": None, "notes": []},
        provenance=collect(begin(), command=("mmforget", "run"), seeds={"training": seed} if is_method else {}),
        training={"num_steps": 40, "num_planned": 40},
        sets={
            used: SetUse(len(own), len(own), len({one.subject for one in own}), "a" * 64)
            for used, own in counts.items()
        },
        references=known.get(name, {"target": "target" * 8, "retain": "retain" * 8}),
    )
