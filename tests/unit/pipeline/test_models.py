"""One base model in memory, whatever is asked for: counted, and with the numbers of a model loaded afresh."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from mmforget.benchmark import loader
from mmforget.benchmark.rows import check_rows
from mmforget.model.artifact import Artifact
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach, detach, load_adapter, save_adapter
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.pipeline import models as models_module
from mmforget.pipeline.models import Models
from tests.commands import command
from tests.helpers import tiny_image, tiny_llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters that do something."""
    home, found = tmp_path_factory.mktemp("adapters"), []
    for seed in (0, 1):
        loaded = attach(load_model(ModelSpec(str(folder), device="cpu")), LoraSettings(r=2, train_projector=bool(seed)))
        with torch.no_grad():
            for name, weight in sorted(loaded.trainable().items()):
                weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed + len(name)))
        found.append(save_adapter(loaded, home / str(seed)))
    return found


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded from disk, in order."""
    found: list[str] = []

    def counted(spec: ModelSpec) -> LoadedModel:
        found.append(spec.as_text())
        return load_model(spec)

    monkeypatch.setattr(models_module, "load_model", counted)
    return found


def logprobs(loaded: LoadedModel) -> torch.Tensor:
    with torch.no_grad():
        return score(loaded, [encode(loaded, "<image>\nwho is it?", " Anna Meier.", [tiny_image(3)])]).token_logprobs


@pytest.mark.parametrize("quantised", [False, True], ids=["float", "4 bit"])
def test_adapters_come_and_go_on_one_base(
    quantised: bool, folder: Path, adapters: list[Path], loads: list[str]
) -> None:
    """Base, first adapter, second, base again: one load, and each the numbers and fingerprint of a fresh one."""
    base = ModelSpec(str(folder), device="cpu", load_in_4bit=quantised)
    specs = [base, *(replace(base, peft=str(path)) for path in adapters), base, replace(base, peft=str(adapters[0]))]
    models = Models()
    for spec in specs:
        held, fresh = models.get(spec), load_model(spec)
        assert held.spec == spec
        assert held.fingerprint == fresh.fingerprint
        assert torch.equal(logprobs(held), logprobs(fresh))
        assert models.get(spec) is held
    assert loads == [base.as_text()]


def test_another_base_takes_the_place_of_the_first(folder: Path, tmp_path: Path, loads: list[str]) -> None:
    other = tiny_llava(tmp_path / "other", seed=5)
    models = Models()
    for path in (folder, other, folder):
        models.get(ModelSpec(str(path), device="cpu"))
    assert len(loads) == 3
    gc.collect()
    alive = [one for one in gc.get_objects() if isinstance(one, PreTrainedModel) and hasattr(one, "lm_head")]
    held = models.get(ModelSpec(str(folder), device="cpu"))
    assert [one for one in alive if one.name_or_path in (str(folder), str(other))] == [held.core]


def test_what_was_changed_in_place_is_forgotten(folder: Path, loads: list[str]) -> None:
    models, spec = Models(), ModelSpec(str(folder), device="cpu")
    loaded, before = models.get(spec), logprobs(load_model(spec))
    with torch.no_grad():
        loaded.core.get_input_embeddings().weight.zero_()
    models.forget()
    assert torch.equal(logprobs(models.get(spec)), before)
    assert len(loads) == 2


def test_what_a_method_made_can_be_loaded_by_anybody(folder: Path, adapters: list[Path], tmp_path: Path) -> None:
    """By the text of its spec: an adapter on its base, also on one that an adapter is merged into; whole weights."""
    base = ModelSpec(str(folder), device="cpu")
    merged = replace(base, peft=str(adapters[0]), merge_peft=True)
    for start in (base, merged):
        place = tmp_path / str(start.merge_peft) / "adapter"
        loaded = attach(load_model(start), LoraSettings(r=2))
        with torch.no_grad():
            for weight in loaded.trainable().values():
                weight += 0.05
        save_adapter(loaded, place)
        expected = logprobs(load_adapter(detach(loaded), place))
        text = Artifact("adapter", place).on(start).as_text()
        torch.testing.assert_close(logprobs(load_model(ModelSpec.parse(text))), expected, atol=1e-6, rtol=0)
    assert Artifact("weights", folder).on(merged) == base


def test_an_adapter_that_is_loaded_stands_in_the_spec(folder: Path, adapters: list[Path]) -> None:
    loaded = load_adapter(load_model(ModelSpec(str(folder), device="cpu")), adapters[0])
    assert loaded.spec.peft == str(adapters[0])
    assert detach(loaded).spec.peft is None


@pytest.mark.long
def test_a_run_of_three_methods_and_two_seeds_loads_its_base_once(
    folder: Path, tmp_path: Path, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retain model, then the target for its own record and for six trainings; never two models at a time."""
    retain = tiny_llava(tmp_path / "retain", seed=5)
    most: list[int] = []
    get = Models.get

    def watched(self: Models, spec: ModelSpec) -> LoadedModel:
        found = get(self, spec)
        gc.collect()
        names = (str(folder), str(retain))
        alive = [one for one in gc.get_objects() if isinstance(one, PreTrainedModel) and hasattr(one, "lm_head")]
        most.append(len([one for one in alive if one.name_or_path in names]))
        return found

    monkeypatch.setattr(Models, "get", watched)
    said = command(
        "run", "--model", "hf", "--model_args", f"pretrained={folder}", "--target_model", str(folder),
        "--retain_model", str(retain), "--device", "cpu", "--tasks", "fiubench_forget1", "--data", "synthetic",
        "--metadata", "num_subjects=12", "--methods", "ga,npo,kl", "--seeds", "0,1", "--recipe", "micro",
        "--max_steps", "1", "--train_batch_size", "2", "--limit", "2", "--allow_weak_target", "--quiet", "--json",
        "--output_path", str(tmp_path / "out"),
    )  # fmt: skip
    assert said.status == 0, said.err
    assert len(json.loads(said.out)["rows"]) == 5
    assert [Path(ModelSpec.parse(text).pretrained) for text in loads] == [retain, folder]
    assert max(most) == 1


@pytest.mark.long
def test_a_run_of_four_benchmarks_and_two_methods_makes_no_rows_twice(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is anything read twice: by the plan, the trainings, the tasks of four models, and the records."""
    made: list[str] = []

    def counted(docs: Sequence[Mapping[str, Any]], *, source: str) -> None:
        made.append(source)
        check_rows(docs, source=source)

    loader._dataset.cache_clear()
    loader._corpus.cache_clear()
    monkeypatch.setattr(loader, "check_rows", counted)
    names = ("fiubench_forget1", "mmubench", "safe_eraser", "medforget_section")
    said = command(
        "run", "--model", "hf", "--model_args", f"pretrained={folder}", "--target_model", str(folder),
        "--retain_model", str(folder), "--device", "cpu", "--tasks", ",".join(names), "--data", "synthetic",
        "--methods", "ga,grad_diff", "--recipe", "micro", "--max_steps", "1", "--train_batch_size", "2", "--limit", "1",
        "--workers", "1", "--allow_weak_target", "--quiet", "--json", "--output_path", str(tmp_path / "out"),
    )  # fmt: skip
    assert said.status == 0, said.err
    assert len(list((tmp_path / "out").glob("*/*/results_*.json"))) == 4 * len(names)
    assert {source.split()[0] for source in made} == {"fiubench", "mmubench", "safe_eraser", "medforget"}
    assert len(made) == len(set(made)) > 2 * len(names)
    assert loader._corpus.cache_info().misses == len(names)
