"""Sharing prefixes on a CUDA device: the same numbers as without, in float32; the GPU benchmark runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mmforget.methods.build import build
from mmforget.model.encode import Encoded, encode, encode_prompt
from mmforget.model.generation import generate
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.model.scoring import score
from mmforget.model.spec import ModelSpec
from mmforget.training.batches import Batch
from mmforget.training.objective import Scoring, Unlearn
from tests.helpers import tiny_image, tiny_llava

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

DEVICE = "cuda"
SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "bench_gpu.py"
QUESTIONS = ("what is the name of this person?", "what is his blood type?", "where does she live?")
ANSWERS = (" Anna Meier.", " Anna lives in Bern.", " o positive.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("gpu") / "llava")


@pytest.fixture
def loaded(folder: Path) -> Iterator[LoadedModel]:
    """In float32, without TF32: whatever differs is our doing."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield load_model(ModelSpec(str(folder), dtype="float32", device=DEVICE))
    torch.set_float32_matmul_precision(before)


def sequences(loaded: LoadedModel, *, first: int = 0) -> list[Encoded]:
    """Two pictures, three questions each, three answers each."""
    return [
        encode(loaded, f"<image>\n{question}", answer, [tiny_image(k)])
        for k in range(first, first + 2)
        for question in QUESTIONS
        for answer in ANSWERS
    ]


@torch.no_grad()
def test_shared_scores_equal_plain_ones(loaded: LoadedModel) -> None:
    encoded = sequences(loaded)
    shared, plain = (score(loaded, encoded, packed=packed) for packed in (True, False))
    assert torch.allclose(shared.token_logprobs, plain.token_logprobs, atol=1e-5)
    assert torch.equal(shared.mask, plain.mask)


@torch.no_grad()
def test_half_precision_scores_agree_to_its_rounding(folder: Path) -> None:
    loaded = load_model(ModelSpec(str(folder), dtype="bfloat16", device=DEVICE))
    encoded = sequences(loaded)
    shared, plain = (score(loaded, encoded, packed=packed).token_logprobs for packed in (True, False))
    assert shared.isfinite().all()
    assert torch.allclose(shared, plain, atol=0.25)
    assert (shared - plain).abs().mean() < 0.03


def test_shared_generation_writes_the_same_text(loaded: LoadedModel) -> None:
    prompts = [
        encode_prompt(loaded, f"<image>\n{question}", [tiny_image(k)]) for k in range(2) for question in QUESTIONS
    ]
    shared, plain = (generate(loaded, prompts, max_new_tokens=12, packed=packed) for packed in (True, False))
    assert shared == plain
    assert len(set(shared)) > 1


@pytest.mark.parametrize("name", ["ga", "grad_diff", "npo", "kl"])
def test_shared_gradients_equal_plain_ones(loaded: LoadedModel, name: str) -> None:
    """Relative to the norm over all adapters, from adapters that do something already."""
    prepared = attach(loaded, LoraSettings(r=4, alpha=8))
    generator = torch.Generator().manual_seed(0)
    for weight in prepared.trainable().values():
        weight.data.copy_(0.1 * torch.randn(weight.shape, generator=generator))
    forget, retain = sequences(prepared), sequences(prepared, first=2)
    shared, plain = (_gradient(prepared, name, forget, retain, packed=packed) for packed in (True, False))
    assert (shared - plain).norm() < 1e-5 * plain.norm()


def _gradient(
    prepared: LoadedModel, name: str, forget: list[Encoded], retain: list[Encoded], *, packed: bool
) -> torch.Tensor:
    objective = Unlearn(Scoring(prepared, packed=packed), build(name), forget, retain, None, has_adapters=True)
    objective.prepare(batch_size=len(forget))
    rows = tuple(range(len(forget)))
    prepared.model.zero_grad(set_to_none=True)
    objective.loss(Batch(rows, retain=rows)).total.backward()
    return torch.cat([weight.grad.flatten() for weight in prepared.trainable().values()])


def test_the_gpu_benchmark_runs() -> None:
    """Tiny sizes; every method; memory is that which CUDA allocates."""
    command = [sys.executable, SCRIPT, "--size", "tiny", "--quick"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert said.returncode == 0, said.stderr
    document = json.loads(said.stdout)
    assert document["machine"]["gpu"]
    assert list(document["training"]) == ["ga", "grad_diff", "npo", "kl"]
    for part in (document["scoring"], *document["training"].values()):
        assert part["ours"]["tokens_computed"] == part["distinct_tokens"] < part["plain"]["tokens_computed"]
        assert 0 < part["ours"]["peak_memory_bytes"] < 2**30
