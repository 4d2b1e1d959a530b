"""The logit lens: which layers it reads, and that the last one read this way is what the model itself says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from model_questions import encode_all, one_image, text_only
from transformers import GPTNeoXConfig, PhiConfig, Qwen2Config

from mmforget.errors import UserError
from mmforget.model.activations import decoder_layers, reading
from mmforget.model.lens import LensRead, as_last, layers_from
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.scoring import Wanted, look
from tests.helpers import tiny_llava
from tests.tiny_models import tiny_gemma3, tiny_llava_next, tiny_qwen_vl, tiny_text

MAKE: dict[str, Callable[[Path], Path]] = {
    "llava": tiny_llava,
    "llava_next": tiny_llava_next,
    "qwen2_5_vl": lambda folder: tiny_qwen_vl(folder, version="2.5"),
    "gpt_neox": lambda folder: tiny_text(folder, GPTNeoXConfig),
    "phi": lambda folder: tiny_text(folder, PhiConfig),
    "qwen2": lambda folder: tiny_text(folder, Qwen2Config),
}


@pytest.mark.parametrize(
    ("num_layers", "depth", "wanted"),
    [(32, 22 / 32, range(21, 32)), (40, 30 / 40, range(29, 40)), (4, 22 / 32, range(2, 4)), (2, 22 / 32, range(1, 2)),
     (10, 0.7, range(6, 10)), (4, 0.0, range(4)), (4, 1.0, range(3, 4))],
)  # fmt: skip
def test_layers_are_a_share_of_all(num_layers: int, depth: float, wanted: range) -> None:
    """Hidden states 22 to 32 of 32 layers are what layers 21 to 31, counted from 0, put out."""
    config = SimpleNamespace(num_hidden_layers=num_layers)
    core = SimpleNamespace(config=SimpleNamespace(get_text_config=lambda: config))
    assert layers_from(core, depth) == wanted


@pytest.mark.parametrize("name", MAKE)
def test_the_last_layer_read_this_way_is_the_models_own_answer(name: str, tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(MAKE[name](tmp_path / name))))
    questions = one_image(1)[:2] if loaded.is_multimodal else text_only()[:2]
    questions = [one._replace(context=one.context.replace("<image>", str(loaded.image_text))) for one in questions]
    lens = LensRead(lambda logprobs, target: logprobs.gather(-1, target[:, None])[:, 0], from_depth=1.0)
    with torch.no_grad():
        found = look(loaded, encode_all(loaded, questions), wanted=Wanted(lenses=[lens]))
    torch.testing.assert_close(found.values[0][..., 0], found.scored.token_logprobs, atol=1e-5, rtol=1e-4)


def test_a_model_with_a_forward_of_its_own_is_refused(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_gemma3(tmp_path / "gemma3"))))
    with pytest.raises(UserError, match="cannot be read by their head"):
        as_last(loaded, torch.zeros(1, 8))


def test_a_norm_of_no_known_name_is_said(tmp_path: Path) -> None:
    loaded = load_model(ModelSpec(str(tiny_llava(tmp_path / "llava"))))
    decoder = loaded.core.get_decoder()
    decoder.last_norm = decoder.norm
    del decoder.norm
    with (
        reading({"0": decoder_layers(loaded.core)[0]}),
        pytest.raises(UserError, match="none of norm, final_layer_norm"),
    ):
        as_last(loaded, torch.zeros(1, 8))
