"""What a task of every kind keeps to, from its YAML to the samples that metrics read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.document import KINDS as ALL_KINDS
from mmforget.benchmark.rows import scored_texts
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.run import Evaluation, evaluate
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.examples import encode_all, in_windows
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.results.samples import read_samples, write_samples
from tests.benchmark_packages import KINDS, METRICS, write_tasks
from tests.helpers import tiny_llama, tiny_llava, tiny_tokenizer

NAMES = tuple(KINDS)
SCORED = tuple(name for name in NAMES if KINDS[name] != "gen")
DATA = DataSource("synthetic")


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(tmp_path_factory.mktemp("llama") / "m", seed=3)), device="cpu"))


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("llava") / "m", seed=3)), device="cpu"))


@pytest.fixture
def loaded(name: str, text_model: LoadedModel, image_model: LoadedModel) -> LoadedModel:
    return image_model if name == "talks" else text_model


def evaluated(loaded: LoadedModel, folder: Path, *tasks: str) -> Evaluation:
    lm = MMForgetLM(loaded, progress=False)
    return evaluate(lm, tasks, include_paths=[folder], data=DATA, progress=False)


def test_every_kind_is_tried() -> None:
    assert set(KINDS.values()) == set(ALL_KINDS)


@pytest.mark.parametrize("name", NAMES)
def test_samples_hold_what_the_kind_says_and_come_back_from_disk(
    name: str, loaded: LoadedModel, tmp_path: Path
) -> None:
    kind = KINDS[name]
    folder = write_tasks(tmp_path, name)
    done = evaluated(loaded, folder, f"{name}_keep_{kind}")
    rows = {row["id"]: row for row in find(name, [folder]).bind(DATA).rows("keep")}
    own = [sample for sample in done.samples if sample.attack is None]
    assert [sample.id for sample in own] == list(rows)
    for sample in own:
        row = rows[sample.id]
        assert (sample.kind, sample.answer, sample.question) == (kind, row["answer"], row["question"])
        assert (sample.choices, sample.gold) == (tuple(row["choices"]), row.get("gold"))
        assert (sample.response is not None) == (kind == "gen")
        assert list(sample.token_logprobs) == list(scored_texts(row, kind=kind))
    files = write_samples(tmp_path, done.samples, model="m")
    assert read_samples(tmp_path, files=files) == done.samples
    found = aggregate(find(name, [folder]), done.samples)
    assert [one.kind for one in found if one.name == METRICS[name] and one.set == "keep"][0] == kind


@pytest.mark.parametrize("name", SCORED)
def test_log_probs_are_those_of_a_plain_forward(name: str, loaded: LoadedModel, tmp_path: Path) -> None:
    """Of each candidate behind the question and a blank, or of a whole document behind BOS."""
    done = evaluated(loaded, write_tasks(tmp_path, name), f"{name}_forget_{KINDS[name]}")
    model = AutoModelForCausalLM.from_pretrained(loaded.spec.pretrained).eval()
    tokenizer = AutoTokenizer.from_pretrained(loaded.spec.pretrained)
    for sample in done.samples:
        for role, found in sample.token_logprobs.items():
            text = {"choice": sample.choices[int(role[-1])] if sample.choices else "", "perturbed": "in paris."}
            answer = text.get(role.split("/")[0], sample.answer)
            whole = tokenizer(f"{sample.question} {answer}" if sample.question else answer).input_ids
            start = len(tokenizer(sample.question).input_ids) if sample.question else 1
            with torch.no_grad():
                logprobs = model(torch.tensor([whole])).logits[0].log_softmax(-1)
            wanted = [float(logprobs[at - 1, whole[at]]) for at in range(start, len(whole))]
            assert found == pytest.approx(wanted, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_trained_is_what_is_asked(name: str, loaded: LoadedModel, tmp_path: Path) -> None:
    """Context, answer and images of training rows are a request of the evaluation, token by token."""
    folder = write_tasks(tmp_path, name)
    lm = MMForgetLM(loaded, progress=False)
    asked = set()
    original = lm.engine.batches

    def noted(asks: Any) -> Any:
        for ask in asks:
            encoded = lm.engine.encode(ask)
            asked.add((encoded.ids, encoded.image_keys))
        return original(asks)

    lm.engine.batches = noted  # type: ignore[method-assign]
    evaluate(lm, [f"{name}_forget_{KINDS[name]}"], include_paths=[folder], data=DATA, progress=False)
    examples = in_windows(loaded, find(name, [folder]).bind(DATA).examples("forget"))
    for one in encode_all(loaded, examples, append_eos=False, source=name):
        shown = one.ids[: one.num_context] if KINDS[name] == "gen" else one.ids
        assert (shown, one.image_keys) in asked


def stock(folder: Path, tasks: Path, *names: str, model: str = "hf") -> Mapping[str, Any]:
    found: Mapping[str, Any] = simple_evaluate(
        model=model,
        model_args={"pretrained": str(folder), "dtype": "float32"},
        tasks=list(names),
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        batch_size=2,
        device="cpu",
        bootstrap_iters=0,
    )
    return found


def values(results: Mapping[str, Any], *tasks: str) -> dict[tuple[str, str], float]:
    return {
        (task, metric): value
        for task in tasks
        for metric, value in results[task].items()
        if metric.endswith(",none") and "stderr" not in metric
    }


@pytest.mark.parametrize("lettered", [False, True], ids=["texts", "letters"])
def test_choices_and_documents_have_the_numbers_of_stock_lm_eval(tmp_path: Path, lettered: bool) -> None:
    """lm_eval's own metrics in both, and our metrics of the samples are the same numbers again.

    The tokenizer writes no BOS, which stock lm_eval would score as a token of a document; some documents are longer
    than the model.
    """
    folder = tiny_llama(tmp_path / "model", seed=3)
    tiny_tokenizer(add_bos=False).save_pretrained(folder)
    tasks = write_tasks(tmp_path / "quiz", "quiz"), write_tasks(tmp_path / "pages", "pages")
    if lettered:
        base = yaml.safe_load((tasks[0] / "_base").read_text().replace("!function ", ""))
        base = {**base, "doc_to_choice": ["A", "B", "C", "D", "E"], "custom_dataset": "FUNCTION rows.load"}
        (tasks[0] / "_base").write_text(yaml.safe_dump(base).replace("FUNCTION", "!function"))
    rows = tasks[1] / "rows.py"
    rows.write_text(rows.read_text().replace("likes the river. ", "likes the river. {'a town by it. ' * 120}"))
    lm = MMForgetLM(load_model(ModelSpec(str(folder), device="cpu")), progress=False)
    names = ("quiz_keep_mc", "pages_forget_roll", "pages_keep_roll")
    done = evaluate(lm, names, include_paths=tasks, data=DATA, progress=False)
    expected = stock(folder, tmp_path, *names)["results"]
    assert values(done.results["results"], *names) == pytest.approx(values(expected, *names), rel=1e-5)
    documents = [len(s.token_logprobs["answer"]) for s in done.samples if s.kind == "roll"]
    assert max(documents) > 2 * lm.max_length
    found = {
        (one.name, one.set): one.estimate.value
        for place in ("quiz", "pages")
        for one in aggregate(find(place, tasks), done.samples)
    }
    quiz, keep = expected["quiz_keep_mc"], expected["pages_keep_roll"]
    assert found["choice_accuracy", "keep"] == quiz["acc,none"]
    assert found["choice_accuracy(per=character)", "keep"] == quiz["acc_norm,none"]
    byte, word = found["perplexity(per=byte)", "keep"], found["perplexity", "forget"]
    assert byte is not None
    assert math.log2(byte) == pytest.approx(keep["bits_per_byte,none"], rel=1e-5)
    assert word == pytest.approx(expected["pages_forget_roll"]["word_perplexity,none"], rel=1e-4)


def test_conversations_about_pictures_are_answered_as_by_stock_lm_eval(
    image_model: LoadedModel, tmp_path: Path
) -> None:
    done = evaluated(image_model, write_tasks(tmp_path, "talks"), "talks_forget_gen")
    found = stock(Path(image_model.spec.pretrained), tmp_path, "talks_forget_gen", model="hf-multimodal")
    lines = {line["doc"]["id"]: line["resps"][0][0] for line in found["samples"]["talks_forget_gen"]}
    assert {s.id: s.response for s in done.samples if s.attack is None} == lines
    assert len(set(lines.values())) > 1


def test_options_about_a_picture_share_it_and_are_scored_as_if_alone(image_model: LoadedModel, tmp_path: Path) -> None:
    """The picture and question once, then what each option adds; without sharing the same numbers."""
    folder = write_tasks(tmp_path, "talks")
    asked = {"output_type": "multiple_choice", "doc_to_choice": "choices", "doc_to_target": "gold"}
    kept = ("custom_dataset", "test_split", "num_fewshot", "doc_to_text", "doc_to_image")
    base = yaml.safe_load((folder / "_base").read_text().replace("!function ", "FUNCTION "))
    base = {**{key: base[key] for key in kept}, **asked, "metric_list": [{"metric": "acc"}]}
    (folder / "_base").write_text(yaml.safe_dump(base).replace("FUNCTION", "!function"))
    task = folder / "talks_forget_gen.yaml"
    task.write_text(task.read_text().replace("kind: gen", "kind: mc"))
    rows = (folder / "rows.py").read_text()
    (folder / "rows.py").write_text(
        rows.replace('"keywords":', '"choices": list(COLOURS.values()), "gold": place, "keywords":')
    )
    found = {}
    for packed in (True, False):
        lm = MMForgetLM(image_model, packed=packed, progress=False)
        done = evaluate(lm, ["talks_forget_gen"], include_paths=[folder], data=DATA, blank_image=False, progress=False)
        found[packed] = (done.samples, lm.engine.num_tokens)
    shared, alone = found[True][0], found[False][0]
    assert [s.gold for s in shared] == [0, 1]
    for one, other in zip(shared, alone, strict=True):
        assert one.choices == ("red", "blue", "green", "grey")
        for role, values in one.token_logprobs.items():
            assert values == pytest.approx(other.token_logprobs[role], rel=1e-5, abs=1e-5)
    assert found[True][1] < found[False][1] / 2
