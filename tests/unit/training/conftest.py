"""Six people with four questions each, a small LLaVA to teach them to, and a small Llama."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmforget.model.load import ModelSpec
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings, attach
from mmforget.types import Example
from tests.helpers import fresh, tiny_image, tiny_llama, tiny_llava

NUM_SUBJECTS, NUM_QUESTIONS = 6, 4
FACTS = ("name", "town", "illness", "insurance")


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def llava(llava_folder: Path) -> LoadedModel:
    return fresh(ModelSpec(pretrained=str(llava_folder), device="cpu"))


@pytest.fixture
def llama(llama_folder: Path) -> LoadedModel:
    return fresh(ModelSpec(pretrained=str(llama_folder), device="cpu"))


@pytest.fixture
def adapted(llava: LoadedModel) -> LoadedModel:
    """A LLaVA whose adapter has been moved away from zero, so that "adapters off" makes a difference."""
    loaded = attach(llava, LoraSettings(r=4, alpha=8))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in loaded.trainable().values():
            weight += 0.05 * torch.randn_like(weight)
    return loaded


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """24 questions in file order; answers of different lengths."""
    return make_examples()


def make_examples(*, with_images: bool = True) -> list[Example]:
    made = []
    for subject in range(NUM_SUBJECTS):
        images = (tiny_image(subject),) if with_images else ()
        for number, fact in enumerate(FACTS):
            made.append(
                Example(
                    id=f"{subject}/{number}",
                    subject=f"person {subject}",
                    context=("<image>\n" if with_images else f"person {subject}: ") + f"what is the {fact}?",
                    answer=f" the {fact} is {'o positive ' * (subject % 3)}number {subject}.",
                    images=images,
                )
            )
    return made
