"""Tiny models, built once for all tests of this folder. Attaching an adapter changes a model: load it afresh then."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from tests.helpers import fresh, tiny_llama, tiny_llava


@pytest.fixture(scope="session")
def llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("models") / "llava")


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture(scope="session")
def llava(llava_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(llava_folder)))


@pytest.fixture(scope="session")
def llama(llama_folder: Path) -> LoadedModel:
    return load_model(ModelSpec(str(llama_folder)))


@pytest.fixture
def fresh_llava(llava_folder: Path) -> LoadedModel:
    return fresh(ModelSpec(str(llava_folder)))
