"""The same promises on a CUDA device: exact scores in float32, NF4 training that changes adapters alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.encode import encode
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, load_adapter
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.training.settings import TrainSettings
from mmforget.training.unlearn import unlearn
from mmforget.types import Example
from tests.helpers import tiny_image, tiny_llava

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

QUESTIONS = ("what is the name of this person?", "where does she live?", "which illness was found?")


def examples(first: int, count: int) -> list[Example]:
    people = [(f"p{k}", tiny_image(k)) for k in range(first, first + count)]
    return [
        Example(f"{name}/{k}", name, f"<image>\n{question}", " Anna Meier.", (picture,))
        for name, picture in people
        for k, question in enumerate(QUESTIONS)
    ]


@torch.no_grad()
def logprobs(loaded: LoadedModel, *, packed: bool = True) -> torch.Tensor:
    encoded = [encode(loaded, one.context, one.answer, one.images) for one in examples(0, 3)]
    return score(loaded, encoded, packed=packed).token_logprobs.cpu()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("gpu") / "llava")


def test_scores_on_the_device_equal_those_on_the_cpu(folder: Path) -> None:
    """float32 without TF32, packed and plain, against the CPU's plain path."""
    torch.backends.cuda.matmul.allow_tf32 = False
    here = logprobs(load_model(ModelSpec(str(folder), dtype="float32", device="cpu")), packed=False)
    there = load_model(ModelSpec(str(folder), dtype="float32", device="cuda"))
    for packed in (True, False):
        assert torch.allclose(logprobs(there, packed=packed), here, atol=1e-4)


@pytest.mark.parametrize("name", ["ga", "grad_diff", "kl", "po", "npo"])
def test_nf4_training_changes_the_adapter_alone(folder: Path, name: str, tmp_path: Path) -> None:
    spec = ModelSpec(str(folder), load_in_4bit=True, device="cuda")
    before = logprobs(load_model(spec))
    loaded = load_model(spec)
    settings = TrainSettings(
        lr=1e-3, max_steps=3, batch_size=6, train_projector=False, lora=LoraSettings(r=4, alpha=8, dropout=0.0)
    )
    report = unlearn(
        loaded,
        Material(forget=examples(0, 2), retain=examples(2, 2), refusals=["I cannot say."]),
        method=build(name),
        settings=settings,
        folder=tmp_path,
    )
    assert report.peak_memory_kind == "cuda_max_allocated"
    assert report.peak_memory_bytes > 0
    assert report.adapter is not None
    assert torch.equal(logprobs(loaded), before)
    assert not torch.equal(logprobs(load_adapter(load_model(spec), report.adapter)), before)
