"""The benchmarks in tiny sizes: everything runs, and what must be exact is exact. Times mean nothing here."""

from __future__ import annotations

import gc
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import bench
import bench_gpu
from benchmarks import attacks, edits, generation, lm_eval_share, methods, scoring, text, training
from benchmarks.context import Context
from benchmarks.demo_stages import STAGES
from mmforget.benchmark.find import find_all

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def little_garbage() -> Iterator[None]:
    """What earlier tests have left is not looked through each time that a benchmark collects garbage.

    Afterwards the libraries stay out of the search, as before: they are nearly all that there is to search.
    """
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture
def libraries_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are loaded already, and set for tests."""
    monkeypatch.setattr(bench, "prepare_libraries", lambda folder: None)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return Context(tmp_path_factory.mktemp("bench"), repeats=1, quick=True)


def test_scoring_computes_every_distinct_token_once(context: Context) -> None:
    shared = scoring.run(context)["shared"]
    assert shared["ours"]["tokens_computed"] == shared["distinct_tokens"] < shared["plain"]["tokens_computed"]
    assert shared["ours"]["images_encoded"] == shared["distinct_images"] == 2
    assert shared["largest_difference"] < 1e-5
    assert shared["largest_difference_to_hugging_face"] < 1e-5


def test_generation_writes_what_stock_lm_eval_writes(context: Context) -> None:
    found = generation.run(context)
    assert found["same_text"]
    assert found["distinct_texts"] == 8
    assert found["ours"]["images_encoded"] == 2
    assert found["stock"]["images_encoded"] == 8


def test_text_that_differs_ends_the_benchmark() -> None:
    with pytest.raises(RuntimeError, match="prompt 1: ours writes 'b', stock writes 'c'"):
        generation.check_same({"ours": ["a", "b"], "stock": ["a", "c"]})


def test_training_gives_the_official_gradients_without_a_second_model(context: Context) -> None:
    found = training.run(context)
    for loss in ("nll", "npo"):
        assert found[loss]["gradient_difference_to_official"] < 1e-5
        assert found[loss]["ours"]["tokens_computed"] == found[loss]["shape"]["distinct_tokens"]
        assert found[loss]["ours"]["images_encoded"] == 1
    assert found["nll"]["official"]["images_encoded"] == 4
    assert found["npo"]["official"]["images_encoded"] == 8
    assert found["npo"]["parameters_added_for_reference"] == 0


def test_a_method_computes_no_more_tokens_than_its_requests_need(context: Context) -> None:
    """`po` answers what `ga` scores, and `kl` asks the model before, which leaves no gradients."""
    found = methods.run(context, names=("po", "kl", "dpo", "ga+bounded"))
    bounded = found["methods"].pop("ga+bounded")
    computed = {name: one["tokens_computed"] / one["tokens_needed"] for name, one in found["methods"].items()}
    # Refusals are drawn anew for every update, the counted and the needed ones.
    assert computed == pytest.approx(dict.fromkeys(("ga", "po", "kl", "dpo"), 1), rel=0.05)
    assert computed["kl"] == pytest.approx(1)
    ga, kl = found["methods"]["ga"], found["methods"]["kl"]
    assert kl["tokens_needed_ratio"] == pytest.approx(2.4, abs=0.1)
    assert kl["over_need"] == pytest.approx(kl["best_s"] / ga["best_s"] / kl["tokens_needed_ratio"])
    assert (found["parameters_added"], found["left_out"]) == (0, {})
    # Of a layer's H x H and H x I matrices, four are attention's and three have their gradients whole.
    core = context.model().core.config.text_config
    mlp, attention = 3 * core.hidden_size * core.intermediate_size, 4 * core.hidden_size**2
    assert bounded["tokens_needed_ratio"] == pytest.approx(1 + mlp / (mlp + attention) / 3)


def test_a_base_counts_as_it_is_at_its_best() -> None:
    assert methods.least([{"best_s": 2.0, "tokens": 8.0}, {"best_s": 1.5, "tokens": 9.0}]) == {
        "best_s": 1.5,
        "tokens": 8.0,
    }


def test_edits_are_those_of_a_plain_model_and_all_work_is_counted(context: Context) -> None:
    found = edits.run(context)
    shape, ours = found["shape"], found["ours"]
    assert (shape["defences"], shape["attacks"]) == (6, 7)
    assert found["largest_difference"] < 1e-4
    counted = {name: part["times_counted"] for name, part in ours["parts"].items()}
    assert sum(count for name, count in counted.items() if name.startswith("edit, ")) == 6
    assert (counted["write"], counted["look"], counted["attack_weights"]) == (6, 6, 6)
    assert (counted["write_before"], counted["look_before"]) == (1, 1)
    asked = {name: part["times_counted"] for name, part in found["plain"]["parts"].items()}
    assert (asked["metrics"], asked["look"], asked["attack_weights"]) == (7, 7, 6)
    seconds = sum(part["measured_wall_s"] * part["times_counted"] for part in ours["parts"].values())
    assert ours["wall_s"] == pytest.approx(seconds)
    official = {name: part["times_counted"] for name, part in found["official"]["parts"].items()}
    assert (official["edit, head_projection"], official["metrics"], official["image_rephrase"]) == (14, 84, 12)
    one = found["plain"]["parts"]["look"]
    assert (one["subjects_measured"], one["subjects_multiplied_by"]) == (1, shape["instances"])


@pytest.mark.long
def test_text_tasks_get_stock_answers_from_far_fewer_tokens(context: Context) -> None:
    """Five shots stand before six questions and four letters: once instead of six times."""
    found = text.choices(context, text.load(context))
    assert [one["requests"] for one in found.values()] == [24, 24, 24]
    assert max(one["largest_difference"] for one in found.values()) < 1e-5
    for name, times in (("five_shot", 3), ("perturbed", 2.5), ("perturbed_bare", 1.4)):
        ours, stock = (found[name][who]["tokens_computed"] for who in ("ours", "stock"))
        assert stock > times * ours, name


@pytest.mark.long
def test_all_of_tofu_gives_stock_answers(context: Context) -> None:
    found = text.whole(context, text.load(context))
    assert found["largest_difference"] < 1e-5
    assert found["stock_alone"]["once"].keys() == found["ours_alone"]["once"].keys() == found["passes"].keys()


def test_a_pass_a_metric_asks_each_task_as_often_as_metrics_read_it() -> None:
    """Five metrics read what is written about the forget set; two attacks read the answers of the holdout set, too."""
    (benchmark,) = find_all(text.TOFU)
    uses = {(use.metric, use.set): text.tasks_read(benchmark, use) for use in benchmark.metrics}
    assert uses["rouge_l", "forget"] == ["tofu_forget10_gen"]
    assert uses["mia_auc", "forget"] == ["tofu_forget10_prob", "tofu_holdout10_prob"]
    assert len(uses["tofu_utility", "retain_perturbed"]) == 6
    read = [name for names in uses.values() for name in names]
    assert read.count("tofu_forget10_gen") == 5


def test_attacks_together_and_alone_are_the_same_attacks_with_the_same_numbers() -> None:
    asked: list[tuple[str, ...]] = []

    def call(names: Sequence[str]) -> attacks.Results:
        asked.append(tuple(names))
        return {name: {"success": len(name or "")} for name in (None, *names)}

    found = attacks.compared(call, ["a", "bc"], repeats=2)
    assert asked == [("a", "bc"), ("a",), ("bc",)] * 2
    assert found["alone_s"] == sum(one["best_s"] for one in found["alone"].values())
    assert found["ratio"] == found["alone_s"] / found["suite"]["best_s"]
    with pytest.raises(RuntimeError, match="a gives {'success': 0} alone and {'success': 1} in the suite"):
        attacks.check_same({"a": {"success": 0}}, {"a": {"success": 1}})


def test_evaluation_through_lm_eval_encodes_each_image_once(context: Context) -> None:
    found = lm_eval_share.run(context)
    assert found["images_encoded"] == 2
    assert 0 < found["model_s"] < found["wall_s"]


@pytest.mark.parametrize(("module", "name"), [place for places in STAGES.values() for place in places])
def test_what_is_timed_of_a_demo_is_there(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.usefixtures("libraries_as_they_are")
def test_one_command_writes_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, picture = tmp_path / "cpu.json", tmp_path / "growth.png"
    arguments = ["--quick", "--only", "growth", "--date", "2026-01-31", "--output", str(output), "--plot", str(picture)]
    assert bench.main(arguments) == 0
    document = json.loads(output.read_text())
    assert document["date"] == "2026-01-31"
    assert document["quick"]
    assert [row["questions"] for row in document["growth"]["by_questions"]] == [1, 5]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "sequences" in capsys.readouterr().err


@pytest.mark.usefixtures("libraries_as_they_are")
def test_the_gpu_benchmark_runs_on_a_processor_in_tiny_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_gpu.main(["--device", "cpu", "--size", "tiny", "--quick", "--methods", "ga,kl"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document["training"]) == ["ga", "kl"]
    for part in (document["scoring"], *document["training"].values()):
        assert part["ours"]["tokens_computed"] == part["distinct_tokens"] < part["plain"]["tokens_computed"]


@pytest.mark.usefixtures("libraries_as_they_are")
@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        (bench, ["--only", "speed"], "unknown part 'speed'; choose from scoring,generation"),
        (bench, ["--repeats", "0"], "'0' is not a whole number of at least 1"),
        (bench, ["--date", "today"], "'today' is not a date like 2026-01-31"),
        (bench, ["--output", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
        (bench, ["--fast"], "unrecognized arguments: --fast"),
        (bench_gpu, ["--methods", "idk"], "unknown method 'idk'; choose from ga,grad_diff"),
        (bench_gpu, ["--device", "gpu"], "--device gpu: there is no such device"),
    ],
)
def test_wrong_flags_end_with_one_line(
    tool: Any, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        tool.main(arguments)
    said = capsys.readouterr()
    assert stopped.value.code == 2
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
