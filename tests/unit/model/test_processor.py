"""Tokenizers and processors load with what is installed here, or say what is missing."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from mmforget.errors import UserError
from mmforget.model.load import ModelSpec, load_model
from tests.tiny_models import tiny_qwen_vl


@pytest.mark.parametrize("raised", [ImportError("Torchvision\n was not found"), OSError("Can't load video processor")])
def test_without_the_part_for_videos(
    tmp_path: Path, raised: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise raised

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    with caplog.at_level(logging.INFO, logger="mmforget"):
        loaded = load_model(ModelSpec(str(tiny_qwen_vl(tmp_path))))
    assert isinstance(loaded.processor, PROCESSOR_MAPPING[type(loaded.core.config)])
    assert type(loaded.processor).__name__ == "Qwen2VLProcessor"
    assert not hasattr(loaded.processor, "video_processor")
    assert loaded.processor.chat_template
    assert "images do not need it" in caplog.text


def test_other_faults_are_told(llava_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ImportError("CLIPImageProcessor requires the Torchvision library\nbut it was not found")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    with pytest.raises(UserError, match="needs a package that cannot be used here: .*library but it was not found$"):
        load_model(ModelSpec(str(llava_folder)))


def test_no_processor_at_all(llava_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(llava_folder, tmp_path / "model")
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *args, **kwargs: object())
    with pytest.raises(UserError, match="brings no processor for images and text"):
        load_model(ModelSpec(str(folder)))
