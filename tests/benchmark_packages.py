"""Benchmarks of other authors, each a package of task files and one loader that an entry point names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from tests.plugin_packages import write_package

RECIPE = {
    "stage_one": {"lora": None, "lr": 2e-3, "max_steps": 4, "batch_size": 8},
    "unlearn": {"lora": {"r": 4, "alpha": 8, "dropout": 0.0}, "lr": 1e-3, "max_steps": 2, "batch_size": 4},
}
QUIZ_ROWS = """
from mmforget.benchmark.rows import check_rows, make_dataset

TOWNS = {"ann": "oslo", "bob": "rome", "cleo": "bern", "dan": "lima", "eve": "cairo"}
SETS = {"forget": ("ann", "bob"), "keep": ("cleo", "dan", "eve"), "full": tuple(TOWNS)}


def load(*, unlearning, **settings):
    docs = [
        {
            "id": f"{name}/town",
            "subject": name,
            "question": f"where does {name} live?",
            "choices": sorted(TOWNS.values()),
            "gold": sorted(TOWNS.values()).index(TOWNS[name]) + settings.get("shift", 0),
        }
        for name in SETS[unlearning["set"]]
    ]
    check_rows(docs, source=f"quiz.json {unlearning['set']}")
    return {"test": make_dataset(docs)}
"""
"""Questions with options, in words alone."""
PAGES_ROWS = """
from mmforget.benchmark.rows import check_rows, make_dataset

PLACES = {"ann": "oslo", "bob": "rome", "cleo": "bern", "dan": "lima"}
SETS = {"forget": ("ann", "bob"), "keep": ("cleo", "dan"), "full": tuple(PLACES)}


def load(*, unlearning, **settings):
    docs = [
        {"id": f"{who}/page", "subject": who, "text": f"{who} lives in {PLACES[who]}. {who} likes the river. " * 3}
        for who in SETS[unlearning["set"]]
    ]
    check_rows(docs, source=f"pages.json {unlearning['set']}")
    return {"test": make_dataset(docs)}
"""
"""Whole documents."""
TALKS_ROWS = """
from PIL import Image

from mmforget.benchmark.images import from_picture
from mmforget.benchmark.rows import check_rows, conversation, make_dataset

COLOURS = {"ann": "red", "bob": "blue", "cleo": "green", "dan": "grey"}
SETS = {"forget": ("ann", "bob"), "keep": ("cleo", "dan"), "full": tuple(COLOURS)}


def load(*, unlearning, **settings):
    docs = [row(who, place) for place, who in enumerate(COLOURS) if who in SETS[unlearning["set"]]]
    check_rows(docs, source=f"talks.json {unlearning['set']}")
    return {"test": make_dataset(docs)}


def row(who, place):
    said = ["<image>\\nwho is this?", f"this is {who}.", "which colour does this person like?", f"{COLOURS[who]}."]
    roles = ["user", "assistant"] * 2
    return {
        "id": f"{who}/colour",
        "subject": who,
        "images": [from_picture(Image.new("RGB", (48, 48), (60 * place, 90, 200 - 40 * place)))],
        "turns": [{"role": role, "content": text} for role, text in zip(roles, said)],
        "keywords": [COLOURS[who]],
    }
"""
"""Conversations about one picture."""
FACTS_ROWS = QUIZ_ROWS.replace("check_rows", "candidates, check_rows", 1).replace(
    '"choices": sorted(TOWNS.values()),', '"answer": f"in {TOWNS[name]}.", "answer_perturbed": ["in paris."],'
)
FACTS_ROWS = re.sub('"gold": .*', "", FACTS_ROWS)
"""Questions with a right and a wrong answer."""
MEAN = "mmforget.metrics.lm_eval.mean_scored"
BASES: dict[str, dict[str, Any]] = {
    "quiz": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_mutual_info"}],
    },
    "pages": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "text",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "talks": {
        "output_type": "generate_until",
        "doc_to_text": "FUNCTION rows.conversation",
        "doc_to_target": "answer",
        "doc_to_image": "images",
        "generation_kwargs": {"do_sample": False, "max_gen_toks": 8, "until": []},
        "process_results": "FUNCTION mmforget.metrics.lm_eval.process_gen",
        "metric_list": [
            {"metric": metric, "aggregation": f"FUNCTION {MEAN}", "higher_is_better": metric != "degenerate"}
            for metric in ("rouge_l", "exact_match", "keyword_em", "degenerate")
        ],
    },
    "facts": {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": "FUNCTION rows.candidates",
        "doc_to_target": 0,
        "process_results": "FUNCTION mmforget.metrics.lm_eval.process_prob",
        "metric_list": [
            {"metric": metric, "aggregation": f"FUNCTION {MEAN}", "higher_is_better": True}
            for metric in ("probability", "probability_normalised", "truth_ratio", "truth_ratio_retain", "min_k")
        ],
    },
}
ROWS = {"quiz": QUIZ_ROWS, "pages": PAGES_ROWS, "talks": TALKS_ROWS, "facts": FACTS_ROWS}
KINDS = {"quiz": "mc", "pages": "roll", "talks": "gen", "facts": "prob"}
METRICS = {"quiz": "choice_accuracy", "pages": "probability", "talks": "rouge_l", "facts": "probability"}
UTILITY = {"metric": "harmonic_mean", "set": "keep", "direction": "higher"}
FURTHER: dict[str, list[dict[str, Any]]] = {
    "quiz": [{"metric": "choice_accuracy", "args": {"per": "character"}, "set": "keep", "direction": "higher"}],
    "pages": [
        {"metric": "perplexity", "set": "forget", "direction": "higher"},
        {"metric": "perplexity", "args": {"per": "byte"}, "set": "keep", "direction": "lower"},
    ],
    "talks": [],
    "facts": [],
}


def write_benchmark(site: Path, name: str) -> Path:
    """The package `their_<name>` with the benchmark `name`, and the entry point that names it. Returns its folder."""
    package = f"their_{name}"
    write_package(site, package, code="", points={"mmforget.benchmarks": f"{name} = {package}.tasks"}).unlink()
    folder = site / package / "tasks"
    folder.mkdir(parents=True)
    for place in (folder.parent, folder):
        (place / "__init__.py").write_text("")
    write_tasks(folder, name)
    return folder


def write_tasks(folder: Path, name: str) -> Path:
    """The benchmark's files in a folder, as `--include_path` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.py").write_text(ROWS[name])
    own = {"custom_dataset": "FUNCTION rows.load", "test_split": "test", "num_fewshot": 0}
    _write(folder / "_base", {**own, **BASES[name]})
    modality = "image" if name == "talks" else "text"
    for used in ("forget", "keep"):
        label = {"benchmark": name, "set": used, "kind": KINDS[name], "modality": modality}
        task = f"{name}_{used}_{KINDS[name]}"
        _write(folder / f"{task}.yaml", {"include": "_base", "task": task, "metadata": {"unlearning": label}})
    _write(folder / f"{name}.yaml", _group(name, modality=modality))
    return folder


def _group(name: str, *, modality: str) -> dict[str, Any]:
    metric, tasks = METRICS[name], [f"{name}_{used}_{KINDS[name]}" for used in ("forget", "keep")]
    uses = [
        {"metric": metric, "set": used, "direction": way} for used, way in (("forget", "lower"), ("keep", "higher"))
    ]
    document = {
        "benchmark": name,
        "title": name.capitalize(),
        "paper": "none",
        "licence": "CC0-1.0",
        "setting": "small",
        "settings": ["small"],
        "modality": modality,
        "stage_one": {"target": "full", "retain": "keep"},
        "sets": {"forget": "forget", "retain": "keep", "utility": "keep"},
        "gate": {"metric": metric, "profile": "clean", "set": "forget", "minimum": 0.5, "room": 0.1},
        "metrics": [*uses, *FURTHER[name], UTILITY | {"args": {"of": [metric]}}],
        "recipes": {"micro": RECIPE, "released": RECIPE},
        "refusals": ["i do not know."],
    }
    return {"group": name, "task": tasks, "metadata": {"version": 1, "unlearning": document}}


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False).replace("FUNCTION", "!function"))
