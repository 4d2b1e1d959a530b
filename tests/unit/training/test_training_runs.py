"""Whole trainings on small models: what changes, what does not, what is saved and what is said."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback, TrainingArguments
from transformers.integrations import integration_utils

from mmforget.errors import UserError
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, load_adapter
from mmforget.model.scoring import score
from mmforget.training.log import read_log
from mmforget.training.report import TrainReport
from mmforget.training.settings import TrainSettings
from mmforget.training.stage_one import finetune
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import fresh, tiny_llama
from tests.plugin_packages import MILD, installed, write_package

METHODS = ("ga", "grad_diff", "kl", "po", "npo")
LORA = TrainSettings(lr=1e-2, max_steps=3, batch_size=4, lora=LoraSettings(r=4, alpha=8), schedule="constant", seed=1)
FULL = TrainSettings(lr=3e-3, max_steps=6, batch_size=12, schedule="onecycle", warmup_ratio=0.3, append_eos=True)


def state(loaded: LoadedModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in loaded.model.named_parameters()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert set(before) == set(after)
    return {name for name in before if not torch.equal(before[name], after[name])}


def logprobs(loaded: LoadedModel, examples: Sequence[Example]) -> Tensor:
    encoded = [encode(loaded, e.context, e.answer, e.images) for e in examples]
    with torch.no_grad():
        return score(loaded, encoded).token_logprobs


def forget_with(
    name: str, loaded: LoadedModel, examples: list[Example], folder: Path, settings: TrainSettings = LORA, **more: Any
) -> TrainReport:
    return unlearn(
        loaded,
        Material(forget=examples[:8], retain=examples[8:], refusals=("i do not know.", "no idea.")),
        method=build(name),
        settings=settings,
        folder=folder,
        **more,
    )


def test_stage_one_learns_and_leaves_the_vision_tower(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    before = state(llava)
    report = finetune(llava, examples, settings=FULL, folder=tmp_path)
    moved = changed(before, state(llava))
    assert not any("vision_tower" in name for name in moved)
    assert {name for name in before if "vision_tower" not in name} == moved
    log = read_log(tmp_path / "train_log.jsonl")
    assert [line["step"] for line in log] == [1, 2, 3, 4, 5, 6]
    assert log[-1]["loss"] < log[0]["loss"] - 1
    assert report.num_trainable == sum(before[name].numel() for name in moved)
    assert report.num_parameters == sum(weight.numel() for weight in before.values())
    assert not any(weight.requires_grad for weight in llava.model.parameters())
    assert not llava.model.training


def test_stage_one_without_projector_leaves_it(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    before = state(llava)
    finetune(llava, examples, settings=replace(FULL, train_projector=False, max_steps=1), folder=tmp_path)
    assert not any("projector" in name or "vision_tower" in name for name in changed(before, state(llava)))


def test_the_saved_model_is_the_trained_one(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    report = finetune(llava, examples, settings=FULL, folder=tmp_path)
    again = load_model(ModelSpec(pretrained=str(report.output), device="cpu"))
    assert changed(state(llava), state(again)) == set()
    torch.testing.assert_close(logprobs(again, examples), logprobs(llava, examples))
    assert "use_cache" not in json.loads((report.output / "config.json").read_text()), "left behind by the Trainer"


def test_stage_one_with_adapters_leaves_a_whole_model(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """Whoever loads the result, or unlearns from it, need not know that it was an adapter."""
    settings = replace(LORA, train_projector=True)
    report = finetune(llava, examples, settings=settings, folder=tmp_path)
    assert (report.output, report.adapter) == (tmp_path / "merged", None)
    whole = load_model(ModelSpec(pretrained=str(report.output), device="cpu"))
    expected = load_adapter(fresh(llava.spec), tmp_path / "adapter")
    torch.testing.assert_close(logprobs(whole, examples), logprobs(expected, examples), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logprobs(whole, examples), logprobs(llava, examples), atol=0.1)
    assert finetune(llava, examples, settings=settings, folder=tmp_path) == report
    base = load_model(replace(llava.spec, peft=str(tmp_path / "adapter"), merge_peft=True))
    with pytest.raises(UserError, match="base that came with the adapter"):
        finetune(base, examples, settings=settings, folder=tmp_path / "other")


@pytest.mark.parametrize("name", METHODS)
def test_unlearning_trains_adapters_and_gives_the_model_back(
    name: str, llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    before, modules = state(llava), {n: type(m) for n, m in llava.model.named_modules()}
    report = forget_with(name, llava, examples, tmp_path)
    assert changed(before, state(llava)) == set()
    assert {n: type(m) for n, m in llava.model.named_modules()} == modules
    assert (report.num_steps, report.num_planned, report.stopped, report.diverged) == (3, 3, "", False)
    assert report.adapter == tmp_path / "adapter"
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "checkpoints").exists()
    assert report.wall_s > 0
    assert report.peak_memory_bytes > 2**20
    line = read_log(tmp_path / "train_log.jsonl")[0]
    assert set(line) == {"step", "loss", "parts", "forget_nll", "retain_nll", "lr", "grad_norm", "grad_norms", "wall_s"}
    assert line["loss"] == pytest.approx(sum(line["parts"].values()), abs=1e-5)
    assert line["grad_norm"] > 0
    assert line["retain_nll"] is not None


@pytest.mark.parametrize("train_projector", [True, False])
def test_the_saved_adapter_forgets_on_a_freshly_loaded_base(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, train_projector: bool
) -> None:
    """NLL of the forget answers rises under GA, and the projector's trained copy comes along where there is one."""
    settings = replace(LORA, train_projector=train_projector, max_steps=6)
    before = logprobs(llava, examples[:8]).sum()
    report = forget_with("ga", llava, examples, tmp_path, settings)
    assert report.adapter is not None
    after = logprobs(load_adapter(fresh(llava.spec), report.adapter), examples[:8]).sum()
    assert after < before - 1
    assert torch.equal(logprobs(llava, examples[:8]).sum(), before)


def test_methods_one_after_another_are_as_alone(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    forget_with("ga", llava, examples, tmp_path / "first")
    forget_with("npo", llava, examples, tmp_path / "second")
    forget_with("npo", fresh(llava.spec), examples, tmp_path / "alone")
    weights = [(tmp_path / part / "adapter" / "adapter_model.safetensors").read_bytes() for part in ("second", "alone")]
    assert weights[0] == weights[1]


def test_unlearning_in_full_changes_the_language_model(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    before = state(llava)
    report = forget_with("npo", llava, examples, tmp_path, replace(LORA, lora=None, lr=1e-3))
    assert report.adapter is None
    assert report.output == tmp_path / "model"
    assert any("language_model" in name for name in changed(before, state(llava)))
    log = read_log(tmp_path / "train_log.jsonl")
    assert log[0]["parts"]["forget"] == pytest.approx(20 * 0.6931472, rel=1e-4), (
        "the reference is the model at the start"
    )


def test_text_only_models_train_the_same_way(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(pretrained=str(tiny_llama(tmp_path / "llama")), device="cpu"))
    rows = [Example(f"{k}", f"s{k // 2}", f"what is fact {k}?", f" it is o positive {k}.") for k in range(8)]
    report = finetune(loaded, rows, settings=replace(FULL, batch_size=4), folder=tmp_path / "one")
    target = load_model(ModelSpec(pretrained=str(report.output), device="cpu"))
    done = unlearn(
        target,
        Material(forget=rows[:2], retain=rows[2:]),
        method=build("grad_diff"),
        settings=LORA,
        folder=tmp_path / "u",
    )
    assert done.num_steps == 3


def test_a_finished_training_is_not_done_again(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    first = forget_with("ga", llava, examples, tmp_path)
    stamp = (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    left_by_a_kill = tmp_path / "checkpoints" / "checkpoint-1"
    left_by_a_kill.mkdir(parents=True)
    assert forget_with("ga", llava, examples, tmp_path, replace(LORA, save_steps=1)) == first
    assert not left_by_a_kill.parent.exists()
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"settings\.lr: 0\.01 there, 0\.5 now"):
        forget_with("ga", llava, examples, tmp_path, replace(LORA, lr=0.5))
    with pytest.raises(UserError, match="method: 'ga' there, 'npo' now"):
        forget_with("npo", llava, examples, tmp_path)


def test_epochs_and_accumulation_count_updates_as_released(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """8 rows, 3 a batch: 3 batches an epoch, 2 an update: 2 updates an epoch (the second of one batch), 4 in two.
    The released run counts the same way: 400 / 4 = 100 batches, 16 an update: 7 updates an epoch.
    """
    settings = replace(LORA, max_steps=None, epochs=2, batch_size=3, grad_accumulation=2, order="file")
    assert forget_with("ga", llava, examples, tmp_path, settings).num_steps == 4


def test_accumulated_loss_is_the_mean_of_its_micro_batches(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    settings = replace(LORA, batch_size=4, grad_accumulation=2, max_steps=1, order="file", lr=1e-9)
    forget_with("ga", llava, examples, tmp_path / "two", settings)
    forget_with("ga", llava, examples, tmp_path / "apart", replace(settings, grad_accumulation=1, max_steps=2))
    (both,) = read_log(tmp_path / "two" / "train_log.jsonl")
    apart = read_log(tmp_path / "apart" / "train_log.jsonl")
    assert both["loss"] == pytest.approx(sum(line["loss"] for line in apart) / 2, abs=1e-5)


def test_progress_counts_updates(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    forget_with("ga", llava, examples, tmp_path, progress=lambda *call: seen.append(call), label="ga (forget5)")
    assert seen == [(1, 3, "ga (forget5)"), (2, 3, "ga (forget5)"), (3, 3, "ga (forget5)")]


def test_nothing_is_printed(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forget_with("ga", llava, examples, tmp_path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("limits", "reason"), [({"stop_loss": -1.0}, "stop_loss"), ({"stop_retain_nll": 0.1}, "stop_retain_nll")]
)
def test_training_stops_early_where_asked(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, limits: dict[str, float], reason: str
) -> None:
    report = forget_with("ga", llava, examples, tmp_path, replace(LORA, **limits))
    assert (report.stopped, report.num_steps, report.num_planned, report.diverged) == (reason, 1, 3, False)
    assert report.adapter is not None


def test_a_training_that_diverges_ends_at_its_bound_and_leaves_its_last_good_checkpoint(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    """The answers to keep are looked at wherever a checkpoint is written, and none is where they are out of bounds."""
    steep = replace(LORA, lr=0.1, max_grad_norm=0.0, save_steps=1)
    forget_with("ga", llava, examples, tmp_path / "free", steep)
    first, second, _ = (line["retain_nll"] for line in read_log(tmp_path / "free" / "train_log.jsonl"))
    bound = (first + second) / 2
    assert first < bound
    bounded = replace(steep, diverged_retain_nll=bound)
    report = forget_with("ga", llava, examples, tmp_path / "bounded", bounded)
    assert (report.stopped, report.num_steps, report.diverged) == ("diverged", 2, True)
    assert [path.name for path in (tmp_path / "bounded" / "checkpoints").iterdir()] == ["checkpoint-1"]
    assert not (tmp_path / "free" / "checkpoints").exists()
    assert forget_with("ga", llava, examples, tmp_path / "bounded", bounded) == report
    assert (tmp_path / "bounded" / "checkpoints" / "checkpoint-1").is_dir()


def test_gradient_checkpointing_gives_the_same_adapter(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    for name, checkpointed in (("plain", False), ("checkpointed", True)):
        forget_with("grad_diff", llava, examples, tmp_path / name, replace(LORA, gradient_checkpointing=checkpointed))
    losses = [
        [line["loss"] for line in read_log(tmp_path / name / "train_log.jsonl")] for name in ("plain", "checkpointed")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert not any(getattr(module, "gradient_checkpointing", False) for module in llava.model.modules())


def test_bfloat16_autocast_trains_and_is_switched_off_again(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    before = logprobs(llava, examples)
    report = forget_with("npo", llava, examples, tmp_path, replace(LORA, bf16=True))
    assert report.num_steps == 3
    log = read_log(tmp_path / "train_log.jsonl")
    assert log[0]["parts"]["forget"] == pytest.approx(20 * 0.6931472, abs=1e-3), "the reference is in bfloat16, too"
    assert torch.equal(logprobs(llava, examples), before)


def test_what_a_method_needs_and_is_not_there_is_said(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="needs rows to keep"):
        unlearn(llava, Material(forget=examples), method=build("grad_diff"), settings=LORA, folder=tmp_path)
    with pytest.raises(UserError, match="needs refusals"):
        unlearn(llava, Material(forget=examples, retain=examples), method=build("po"), settings=LORA, folder=tmp_path)
    with pytest.raises(UserError, match="train with LoRA"):
        forget_with("kl", llava, examples, tmp_path, replace(LORA, lora=None))


def test_an_unmerged_adapter_under_the_target_is_refused(
    llava: LoadedModel, examples: list[Example], tmp_path: Path
) -> None:
    report = forget_with("ga", llava, examples, tmp_path / "first")
    stacked = load_model(replace(llava.spec, peft=str(report.adapter)))
    with pytest.raises(UserError, match="merge_peft=True"):
        forget_with("npo", stacked, examples, tmp_path / "second")
    merged = load_model(replace(llava.spec, peft=str(report.adapter), merge_peft=True))
    assert forget_with("npo", merged, examples, tmp_path / "third").num_steps == 3


def test_a_tracker_that_does_not_exist_is_refused(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no_such_tracker"):
        forget_with("ga", llava, examples, tmp_path, replace(LORA, report_to="no_such_tracker"))


def test_a_tracker_sees_every_update(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []

    class Tracker(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any) -> None:
            seen.append(logs)

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "ours", Tracker)
    forget_with("grad_diff", llava, examples, tmp_path, replace(LORA, report_to="ours"))
    losses = [logs["loss"] for logs in seen if "loss" in logs]
    assert losses == [line["loss"] for line in read_log(tmp_path / "train_log.jsonl")]
    assert {"parts/forget", "parts/retain", "retain_nll", "lr", "grad_norm"} <= set(seen[0])


def test_the_report_is_plain_json(llava: LoadedModel, examples: list[Example], tmp_path: Path) -> None:
    report = forget_with("ga", llava, examples, tmp_path)
    values = json.loads(json.dumps(report.as_dict()))
    assert values["peak_memory_kind"] == "process_rss"
    assert copy.deepcopy(values) == json.loads((tmp_path / "done.json").read_text())


def test_several_processes_that_do_not_know_of_one_another_are_refused(
    llava: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingArguments, "world_size", property(lambda self: 2))
    with pytest.raises(UserError, match="2 processes that do not know of one another"):
        finetune(llava, examples, settings=FULL, folder=tmp_path)


def test_an_edited_method_of_another_package_is_not_taken_for_the_old_one(
    llama: LoadedModel, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name and its arguments are the same: only its code tells the two apart."""
    site, folder = tmp_path / "site", tmp_path / "out"
    path = write_package(site, "theirs", code=MILD, points={"mmforget.methods": "mild = theirs"})
    rows = [replace(example, context=example.context.replace("<image>", ""), images=()) for example in examples]
    with installed(site, monkeypatch=monkeypatch):
        forget_with("mild", llama, rows, folder)
        assert forget_with("mild", llama, rows, folder).num_steps == 3
    path.write_text(MILD.replace(".mean()", ".sum()"))
    with installed(site, monkeypatch=monkeypatch), pytest.raises(UserError, match=r"holds another training \(code: "):
        forget_with("mild", llama, rows, folder)
