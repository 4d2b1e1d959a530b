"""`mmforget eval` on lm_eval's own tasks: the numbers and logs of stock lm_eval, beside records of benchmarks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from mmforget.errors import UnknownName, UserError
from mmforget.pipeline.config import Asking, RunConfig
from mmforget.pipeline.evaluating import Wanted, evaluate_only
from tests.helpers import tiny_llama
from tests.toy_tasks import write_toy

NAMES = ("Anna", "Bern", "asthma", "red", "Meier", "river", "glasses", "town")
METRICS: Mapping[str, list[dict[str, Any]]] = {
    "gen": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "mc": [{"metric": "acc"}, {"metric": "acc_norm"}],
    "roll": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}],
}
KINDS = {"gen": "generate_until", "mc": "multiple_choice", "roll": "loglikelihood_rolling"}
QUIET = Wanted(bars=False)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama") / "m", seed=5)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plain lm_eval tasks on a local file: generation, choice and perplexity."""
    folder = tmp_path_factory.mktemp("tasks")
    docs = [
        {"q": f"what about {name}?", "a": name, "options": [name, NAMES[place - 1]], "right": 0}
        for place, name in enumerate(NAMES)
    ]
    (folder / "docs.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    for kind, output in KINDS.items():
        document = {
            "task": f"quiz_{kind}",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / "docs.jsonl")}},
            "test_split": "test",
            "fewshot_split": "test",
            "output_type": output,
            "doc_to_text": "" if kind == "roll" else "{{q}}",
            "doc_to_target": {"gen": "a", "mc": "right", "roll": "{{q}} {{a}}"}[kind],
            "metric_list": METRICS[kind],
            "metadata": {"version": 1.0},
        }
        document |= {"doc_to_choice": "options"} if kind == "mc" else {}
        document |= (
            {"generation_kwargs": {"until": ["?"], "max_gen_toks": 4, "do_sample": False}} if kind == "gen" else {}
        )
        (folder / f"quiz_{kind}.yaml").write_text(yaml.safe_dump(document))
    return folder


def ours(model: Path, names: tuple[str, ...], *, wanted: Wanted = QUIET, **settings: Any) -> dict[str, Any]:
    config = RunConfig("hf", names, model_args={"pretrained": str(model)}, device="cpu", batch_size=4, **settings)
    return evaluate_only(config, wanted=wanted, progress=lambda done, total, label: None)


def stock(model: Path, names: list[str], *, folder: Path, **settings: Any) -> Any:
    return simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model), "dtype": "float32"},
        tasks=names,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        batch_size=4,
        device="cpu",
        bootstrap_iters=0,
        **settings,
    )


def values(results: Mapping[str, Any]) -> dict[str, float]:
    found = {(task, name): value for task, several in results.items() for name, value in several.items()}
    return {
        f"{task} {name}": value for (task, name), value in found.items() if ",none" in name and "stderr" not in name
    }


@pytest.mark.parametrize(
    ("settings", "stock_settings"),
    [
        ({"limit": 0.5, "num_fewshot": 2}, {"limit": 0.5, "num_fewshot": 2}),
        (
            {"asking": Asking(samples={"quiz_gen": [6, 1], "quiz_mc": [2]}, seeds=(1, 2, 3, 4)), "num_fewshot": 1},
            {
                "samples": {"quiz_gen": [1, 6], "quiz_mc": [2]},
                "num_fewshot": 1,
                "random_seed": 1,
                "numpy_random_seed": 2,
                "torch_random_seed": 3,
                "fewshot_random_seed": 4,
            },
        ),
        (
            {"apply_chat_template": True, "num_fewshot": 1, "asking": Asking(system_instruction="be brief.")},
            {
                "apply_chat_template": True,
                "num_fewshot": 1,
                "system_instruction": "be brief.",
                "fewshot_as_multiturn": True,
            },
        ),
        (
            {"gen_kwargs": {"max_gen_toks": 7, "until": ["a", "e"]}},
            {"gen_kwargs": {"max_gen_toks": 7, "until": ["a", "e"]}},
        ),
    ],
    ids=["share", "samples", "chat", "gen_kwargs"],
)
def test_numbers_and_logged_samples_are_those_of_stock_lm_eval(
    settings: dict[str, Any], stock_settings: dict[str, Any], llama: Path, tasks: Path, tmp_path: Path
) -> None:
    names = ("quiz_gen", "quiz_mc") if "apply_chat_template" in settings else ("quiz_gen", "quiz_mc", "quiz_roll")
    wanted = Wanted(bars=False, log_samples=True)
    found = ours(llama, names, include_path=(str(tasks),), output_path=str(tmp_path), wanted=wanted, **settings)
    expected = stock(llama, list(names), folder=tasks, **stock_settings)
    # Stock lm_eval scores the BOS of a tokenizer that writes one as a token of a rolled text; the LM adapter's tests
    # compare with a plain forward.
    compared = [name for name in values(expected["results"]) if not name.startswith("quiz_roll")]
    assert {name: values(found["results"])[name] for name in compared} == pytest.approx(
        {name: values(expected["results"])[name] for name in compared}, rel=1e-4
    )
    assert values(found["results"]).keys() == values(expected["results"]).keys()
    assert found["n-samples"] == expected["n-samples"]
    for name in names:
        (file,) = tmp_path.glob(f"samples_{name}_2*.jsonl")
        lines = [json.loads(line) for line in file.read_text().split("\n")[:-1]]
        logged = expected["samples"][name]
        for line, other in zip(lines, logged, strict=True):
            for key in ("doc_id", "doc", "doc_hash", "prompt_hash", "target_hash", "filter", "metrics"):
                assert line[key] == other[key], (name, key)
            assert line["target"] == str(other["target"])
            assert line["arguments"]["gen_args_0"]["arg_0"] == other["arguments"][0][0]
        if name == "quiz_gen":
            assert [line["resps"] for line in lines] == [line["resps"] for line in logged]
    assert len(list(tmp_path.glob("results_*.json"))) == 1


def test_a_file_a_folder_and_a_glob_name_tasks(llama: Path, tasks: Path) -> None:
    wanted = {"quiz_gen", "quiz_mc", "quiz_roll"}
    assert set(ours(llama, (f"{tasks}/quiz_*.yaml",), limit=1)["results"]) == wanted
    assert set(ours(llama, (str(tasks),), limit=1)["results"]) == wanted
    assert set(ours(llama, ("quiz_[gm]*",), include_path=(str(tasks),), limit=1)["results"]) == {"quiz_gen", "quiz_mc"}


def planned(llama: Path, names: tuple[str, ...], settings: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ours(llama, names, wanted=Wanted(dry_run=True), **settings)["plan"]
    return found


def test_a_benchmarks_task_by_its_path_leaves_its_record_beside_lm_evals(
    llama: Path, tasks: Path, tmp_path: Path
) -> None:
    toy = write_toy(tmp_path / "toy")
    names = (str(toy / "toy_forget_gen.yaml"), "quiz_gen")
    out = tmp_path / "out"
    settings: dict[str, Any] = {"include_path": (str(tasks),), "output_path": str(out), "data": "synthetic"}
    (asked,), (other,) = (part.get("steps", [part]) for part in planned(llama, names, settings))
    found = ours(llama, names, **settings)
    assert other["task"] == "quiz_gen"
    assert found["unlearning"]["toy"]["sets"][asked["set"]]["num_questions"] == asked["num_rows"]
    assert set(found["results"]) == {"toy", "toy_forget_gen", "quiz_gen"}
    assert list(found["unlearning"]) == ["toy"]
    (record,) = (out / "toy").glob("results_*.json")
    assert "unlearning" in json.loads(record.read_text())
    assert len((out / "toy" / "samples_toy_forget_gen.jsonl").read_text().split("\n")) == 3
    (plain,) = out.glob("results_*.json")
    assert set(json.loads(plain.read_text())["results"]) == {"quiz_gen"}


def test_an_output_path_may_name_the_file(llama: Path, tasks: Path, tmp_path: Path) -> None:
    wanted = Wanted(bars=False, log_samples=True)
    path = str(tmp_path / "x.json")
    ours(llama, ("quiz_gen",), include_path=(str(tasks),), output_path=path, limit=1, wanted=wanted)
    (file,) = tmp_path.glob("x_2*.json")
    assert set(json.loads(file.read_text())["results"]) == {"quiz_gen"}
    assert len(list(tmp_path.glob("samples_quiz_gen_2*.jsonl"))) == 1


def test_predictions_alone_have_no_numbers(llama: Path, tasks: Path, tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy")
    out, names = tmp_path / "out", ("quiz_gen", "quiz_mc", "toy_forget_gen")
    wanted = Wanted(bars=False, predict_only=True)
    found = ours(
        llama, names, include_path=(str(tasks), str(toy)), output_path=str(out), data="synthetic", wanted=wanted
    )
    assert values(found["results"]) == {}
    assert sorted(path.name.split("_2")[0] for path in out.glob("samples_*")) == [f"samples_{n}" for n in names]
    assert not (out / "toy").exists()


@pytest.mark.parametrize(
    ("samples", "said"),
    [({"quiz_mc": [0]}, "not among the tasks"), ({"quiz_gen": [8]}, "from 0 to 7"), ({"quiz_gen": [True]}, "True")],
)
def test_documents_that_are_none(samples: dict[str, Any], said: str, llama: Path, tasks: Path) -> None:
    with pytest.raises(UserError, match=said):
        ours(llama, ("quiz_gen",), include_path=(str(tasks),), asking=Asking(samples=samples))


@pytest.mark.parametrize(
    ("names", "changes", "said"),
    [
        (("quiz_gn",), {}, "unknown task 'quiz_gn'"),
        (("nowhere/x.yaml",), {}, "no such task file"),
        (("quiz_gen",), {"model_args": {"pretrained": "./nowhere"}}, "there is no folder ./nowhere"),
        (("toy",), {"judge": "oracle"}, "unknown judge"),
    ],
)
def test_a_dry_run_refuses_what_the_run_would(
    names: tuple[str, ...], changes: dict[str, Any], said: str, tasks: Path, tmp_path: Path
) -> None:
    toy = write_toy(tmp_path / "toy")
    settings = {
        "model_args": {"pretrained": str(tmp_path)},
        "include_path": (str(tasks), str(toy)),
        "data": "synthetic",
    }
    (tmp_path / "config.json").write_text("{}")
    config = RunConfig("hf", names, device="cpu", **{**settings, **changes})
    with pytest.raises((UserError, UnknownName), match=said):
        evaluate_only(config, wanted=Wanted(dry_run=True), progress=lambda done, total, label: None)


def test_a_dry_run_names_the_model_and_every_task(llama: Path, tasks: Path, tmp_path: Path) -> None:
    toy = write_toy(tmp_path / "toy")
    found = ours(
        llama, ("quiz_*", "toy_forget_gen"), include_path=(str(tasks), str(toy)), data="synthetic",
        wanted=Wanted(dry_run=True), asking=Asking(samples={"toy_forget_gen": [1]}),
    )["plan"]  # fmt: skip
    assert [(step["model"], step["task"], step["num_rows"]) for step in found[0]["steps"]] == [
        ("m", "toy_forget_gen", 1)
    ]
    assert [step["task"] for step in found[1:]] == ["quiz_gen", "quiz_mc", "quiz_roll"]
