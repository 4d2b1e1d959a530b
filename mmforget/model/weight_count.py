"""As many weights as a configuration describes: compared with those of the files before memory is taken for them."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch

from mmforget.errors import UserError
from mmforget.model.folder import ADVICE

MIN_EXCESS = 2**27
"""Weights beyond those of the files that may be described: half a gigabyte does no harm, and loading says the rest."""


def require_weights(folder: Path, *, model_class: Any, config: Any, trust_remote_code: bool = False) -> None:
    """Raises UserError where a configuration describes more than twice the weights that a folder with any holds.

    A key that is missing, as `text_config`, stands for its default: that of a LLaVA is a model of seven billion
    weights, which fills the memory before anybody notices that the files have none of them.

    Args:
        model_class: one of transformers' auto classes.
    """
    held = sum(map(_num_weights, folder.glob("*.safetensors")))
    try:
        model = skeleton(model_class, config=copy.deepcopy(config), trust_remote_code=trust_remote_code)
    except Exception:
        # Loading does the same next, and says what is wrong.
        return
    described = sum(weight.numel() for weight in model.parameters())
    if 0 < 2 * held < described and described - held > MIN_EXCESS:
        raise UserError(
            f"{folder}: config.json describes {described:,} weights, and the files hold {held:,}; a key that is "
            f"missing stands for a model of another size; {ADVICE}"
        )


def skeleton(model_class: Any, *, config: Any, trust_remote_code: bool = False) -> Any:
    """The model of a configuration without its weights, which takes no memory for them."""
    with torch.device("meta"):
        return model_class.from_config(config, trust_remote_code=trust_remote_code)


def _num_weights(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118  no mapping
