"""A benchmark of another author in a folder: two people, no files, the least that the schema asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROWS = """
from mmforget.benchmark.rows import EmptySet, candidates, check_rows, make_dataset

def load(*, unlearning, **keywords):
    if unlearning["set"] == "holdout":
        raise EmptySet("toy has no holdout")
    people = ("c", "d") if unlearning["set"] == "keep" else ("a", "b")
    docs = [
        {"id": f"{who}/{unlearning['set']}", "subject": who, "question": f"Who is {who}?", "answer": answer}
        for who, answer in ((people[0], keywords.get("answer", f"It is {people[0]}.")), (people[1], "It is b."))
    ]
    check_rows(docs, source="toy")
    return {"test": make_dataset(docs)}
"""

DOCUMENT: dict[str, Any] = {
    "benchmark": "toy",
    "title": "Toy",
    "paper": "none",
    "licence": "Apache-2.0",
    "setting": "small",
    "settings": ["small", "large"],
    "modality": "text",
    "stage_one": {"target": "full", "retain": "keep"},
    "sets": {"forget": "forget", "retain": "keep", "utility": "keep", "holdout": "holdout"},
    "gate": {"metric": "rouge_l", "profile": "clean", "set": "forget", "minimum": 0.8, "room": 0.2},
    "metrics": [{"metric": "rouge_l", "set": "forget", "direction": "lower"}],
    "recipes": {"released": {"stage_one": {"lr": 1e-3}, "unlearn": {"lr": 1e-4}}},
    "refusals": ["I will not say."],
}

GEN = """
custom_dataset: !function rows.load
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: answer
generation_kwargs: {do_sample: false, until: []}
process_results: !function mmforget.metrics.lm_eval.process_gen
metric_list:
  - {metric: rouge_l, aggregation: mean, higher_is_better: true}
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
  - {metric: keyword_em, aggregation: !function mmforget.metrics.lm_eval.mean_scored, higher_is_better: true}
  - {metric: degenerate, aggregation: mean, higher_is_better: false}
"""

TASKS = {
    "toy_forget_gen": {"set": "forget", "setting": "small"},
    "toy_forget_large_gen": {"set": "forget", "setting": "large"},
    "toy_keep_gen": {"set": "keep"},
    "toy_holdout_gen": {"set": "holdout"},
}
GROUPS = {
    "toy": ["toy_forget_gen", "toy_keep_gen", "toy_holdout_gen"],
    "toy_large": ["toy_forget_large_gen", "toy_keep_gen"],
}


def write_toy(folder: Path, **changes: Any) -> Path:
    """Writes the benchmark to `folder`; `changes` replace keys of its document, None deletes one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.py").write_text(ROWS)
    (folder / "_gen").write_text(GEN)
    document = {key: value for key, value in {**DOCUMENT, **changes}.items() if value is not None}
    labels = {"toy": document, "toy_large": {"benchmark": "toy", "setting": "large", "modality": "text"}}
    for name, tasks in GROUPS.items():
        write_yaml(
            folder / f"{name}.yaml",
            {"group": name, "task": tasks, "metadata": {"version": 1, "unlearning": labels[name]}},
        )
    for name, label in TASKS.items():
        whole = {"benchmark": "toy", "kind": "gen", "modality": "text", **label}
        write_yaml(
            folder / f"{name}.yaml", {"include": "_gen", "task": name, "metadata": {"version": 1, "unlearning": whole}}
        )
    return folder


def write_yaml(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False))
