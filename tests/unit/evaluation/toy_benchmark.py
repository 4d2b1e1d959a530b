"""A benchmark of six people made on the spot: task files, rows, and samples of models of different quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmforget.benchmark.find import find
from mmforget.benchmark.spec import Benchmark, Bound
from mmforget.evaluation.collapse import signs_of_collapse
from mmforget.evaluation.evidence import evidence_of
from mmforget.evaluation.headline import headline
from mmforget.evaluation.verdict import ruling
from mmforget.results.schema import BenchmarkUse, Provenance, RunRecord, Verdict
from mmforget.types import Sample

NUM_SUBJECTS = 4
"""The fewest that have intervals."""

GROUP = """\
group: toy
task: [toy_forget_gen, toy_forget_prob, toy_keep_gen, toy_keep_prob, toy_others_prob, toy_none_gen]
metadata:
  version: 1.0
  unlearning:
    benchmark: toy
    title: Toy
    paper: none
    licence: CC0-1.0
    setting: two
    settings: [two]
    modality: image
    stage_one: {target: full, retain: kept}
    sets: {forget: forget, retain: kept, utility: keep, holdout: others}
    gate: {metric: rouge_l, profile: clean, set: forget, minimum: 0.8, room: 0.2}
    metrics:
      - {metric: rouge_l, set: forget, direction: lower}
      - {metric: degenerate, set: forget, direction: lower}
      - {metric: probability, set: forget, direction: lower, profiles: [clean]}
      - {metric: ks_forget_quality, set: forget, direction: higher}
      - {metric: mia_auc, set: forget, direction: retain_model}
      - {metric: rouge_l, set: keep, direction: higher}
      - {metric: model_utility, set: keep, direction: higher}
    recipes: {micro: {stage_one: {}, unlearn: {}}}
"""
BASE = """\
custom_dataset: !function rows.load
test_split: test
doc_to_text: "<image>\\n{{question}}"
doc_to_image: images
target_delimiter: " "
num_fewshot: 0
fewshot_config: {samples: []}
"""
GEN = """\
include: _base
output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {do_sample: false, max_gen_toks: 8, until: ["\\n"]}
process_results: !function mmforget.metrics.lm_eval.process_gen
metric_list: [{metric: rouge_l, aggregation: mean, higher_is_better: true}]
"""
PROB = """\
include: _base
output_type: multiple_choice
doc_to_target: 0
doc_to_choice: !function rows.candidates
process_results: !function mmforget.metrics.lm_eval.process_prob
metric_list:
  - {metric: probability, aggregation: !function mmforget.metrics.lm_eval.mean_scored , higher_is_better: true}
"""
ROWS = """
import numpy as np
from PIL import Image

from mmforget.benchmark.images import from_picture
from mmforget.benchmark.rows import EmptySet, candidates, make_dataset

PEOPLE = {"forget": [0, 1], "keep": [2, 3], "kept": [2, 3], "full": [0, 1, 2, 3], "others": [4, 5]}


def portrait(number):
    blocks = np.random.default_rng(number).integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    return from_picture(Image.fromarray(blocks).resize((48, 48), Image.Resampling.NEAREST))


def load(*, unlearning, **settings):
    name = unlearning["set"]
    if name == "none":
        raise EmptySet("nobody ever filled this set")
    docs = [row(person, fact, unlearning["modality"]) for person in PEOPLE[name] for fact in range(3)]
    return {"test": make_dataset(docs)}


def row(person, fact, modality):
    where = "of person %d" % person if modality == "text" else "of this person"
    return {
        "id": f"{person}-{fact}",
        "subject": f"person{person}",
        "question": f"what is fact {fact} {where}?",
        "answer": f"fact {fact} is number {person}.",
        "images": [portrait(person)] if modality == "image" else [],
        "answer_rephrased": [f"it is number {person}."],
        "answer_perturbed": [f"fact {fact} is number {person + 7}.", f"fact {fact} is unknown."],
        "keywords": [f"number {person}"],
    }
"""
PLAIN = """\
task: plain_town
custom_dataset: !function town.load
test_split: test
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: " {{answer}}"
num_fewshot: 0
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
TOWN = """
import datasets


def load(**settings):
    rows = {"question": ["where does she live?", "what is it?"], "answer": ["in Bern.", "a river."]}
    return {"test": datasets.Dataset.from_dict(rows)}
"""


def write_toy(folder: Path) -> Path:
    """The task files of the toy benchmark, and of one plain lm_eval task, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"toy.yaml": GROUP, "_base": BASE, "rows.py": ROWS, "plain_town.yaml": PLAIN, "town.py": TOWN}
    for name in ("forget", "keep", "others", "none"):
        for kind, body in (("gen", GEN), ("prob", PROB)):
            files[f"toy_{name}_{kind}.yaml"] = body + _label(
                f"toy_{name}_{kind}", set_name=name, kind=kind, modality="image"
            )
    text = 'doc_to_text: "{{question}}"\ndoc_to_image: null\n'
    files["toy_forget_gen_text.yaml"] = (
        GEN + text + _label("toy_forget_gen_text", set_name="forget", kind="gen", modality="text")
    )
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def toy(folder: Path, *, name: str = "toy") -> Benchmark:
    return find(name, [write_toy(folder)])


def _label(task: str, *, set_name: str, kind: str, modality: str) -> str:
    label = f"{{benchmark: toy, set: {set_name}, setting: two, kind: {kind}, modality: {modality}}}"
    return f"task: {task}\nmetadata: {{version: 1.0, unlearning: {label}}}\n"


def generated(set_name: str, responses: Sequence[str], *, attack: str | None = None) -> list[Sample]:
    """Samples of `toy_<set>_gen`: the reference is `a b c d`, four subjects asked in turn."""
    return [
        Sample(
            task=f"toy_{set_name}_gen",
            set=set_name,
            kind="gen",
            id=f"q{number}",
            subject=f"{set_name}{number % NUM_SUBJECTS}",
            question="q",
            answer="a b c d",
            keywords=("a b",),
            response=response,
            attack=attack,
            attempt=None if attack is None else 0,
        )  # fmt: skip
        for number, response in enumerate(responses)
    ]


def scored(set_name: str, log_probs: Sequence[float], *, attack: str | None = None) -> list[Sample]:
    """Samples of `toy_<set>_prob`: every token of the answer has this log-prob; the other candidates e^-1 and e^-2."""
    return [
        Sample(
            task=f"toy_{set_name}_prob",
            set=set_name,
            kind="prob",
            id=f"q{number}",
            subject=f"{set_name}{number % NUM_SUBJECTS}",
            question="q",
            answer="a b c d",
            attack=attack,
            attempt=None if attack is None else 0,
            token_logprobs={"answer": (value,) * 4, "rephrased/0": (-1.0, -1.0), "perturbed/0": (-2.0, -2.0)},
        )  # fmt: skip
        for number, value in enumerate(log_probs)
    ]


def collapse_reasons(
    benchmark: Benchmark,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None = None,
) -> tuple[str, ...]:
    """The signs of collapse as a verdict has them."""
    return tuple(
        f"collapsed: {sign.text}" for sign in signs_of_collapse(benchmark, samples, target=target, retain=retain)
    )


def ruled(
    bound: Bound,
    samples: Sequence[Sample],
    *,
    target: Sequence[Sample] | None,
    retain: Sequence[Sample] | None,
    **facts: Any,
) -> Verdict:
    """The verdict on a toy model with these facts in its record: role, gate, headline and sets."""
    record = RunRecord(
        name="toy",
        benchmark=BenchmarkUse("toy", "two", "clean"),
        method=None,
        model_info={},
        data={},
        provenance=Provenance("0", None, None, {}, "3", "Linux", "cpu", 1, {}, (), "2026", 0.0, 0),
        **facts,
    )
    benchmark = bound.benchmark
    before, gold = (target, retain) if record.role == "unlearned" else (None, None)
    collapse = signs_of_collapse(benchmark, samples, target=before, retain=gold)
    parts = headline(benchmark, samples, target=target, retain=retain, collapsed=bool(collapse)).parts
    found = evidence_of(benchmark, samples, target=target, retain=retain)
    return ruling(record, bound=bound, collapse=collapse, parts=parts, evidence=found, has_retain=retain is not None)
