"""The vision tower of a micro model: a small CLIP tower that has learnt to read drawing parameters off portraits.

It sees thousands of faces nobody asks about, so it tells people apart without having met those of a benchmark; stage
one and every method leave it frozen.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmforget.synthetic.portrait_params import PortraitParams
from mmforget.synthetic.portraits import draw
from mmforget.types import Progress

IMAGE_SIDE, PATCH_SIDE = 48, 12
NUM_STEPS, BATCH_SIZE, NUM_FACES = 500, 64, 2048
NUM_PARTS = 2
"""Parts of a batch that are computed side by side, one thread each: the same bits on any number of cores."""
LEARNING_RATE = 2e-3
FACE_SEED = 7919


def vision_config() -> CLIPVisionConfig:
    """A 3-layer tower for 48 px images in 16 patches of 12 px, 128 wide."""
    return CLIPVisionConfig(
        image_size=IMAGE_SIDE,
        patch_size=PATCH_SIDE,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=3,
        num_attention_heads=4,
        projection_dim=128,
    )


def image_processor() -> CLIPImageProcessorPil:
    """Resizes any image to 48 px and normalises it; needs no torchvision."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIDE}, crop_size={"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    )


def tower_content(*, seed: int) -> dict[str, Any]:
    """What a tower is made from, for its fingerprint: settings, configuration and a few of the faces it learns from."""
    digest = hashlib.sha256()
    for face in _sample_faces(seed, num=8):
        digest.update(draw(face, view=1, size=IMAGE_SIDE).tobytes() + face.as_vector().tobytes())
    settings = {"steps": NUM_STEPS, "batch": BATCH_SIZE, "faces": NUM_FACES, "lr": LEARNING_RATE}
    config = {key: value for key, value in vision_config().to_dict().items() if key != "transformers_version"}
    return {"seed": seed, **settings, "config": config, "drawn": digest.hexdigest()}


def train_tower(*, seed: int, progress: Progress | None = None) -> CLIPVisionModel:
    """Train a tower to regress `PortraitParams.as_vector` from the mean of its last patch states.

    Draws its own faces (never those of `people.records`) in random views. Deterministic from `seed` on one machine.
    """
    pixels, targets = _faces(seed, num=NUM_FACES, progress=progress)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = CLIPVisionModel(vision_config())
        head = nn.Linear(tower.config.hidden_size, targets.shape[1])
        _fit(tower, head, pixels=pixels, targets=targets, progress=progress)
    return tower.eval()


def _sample_faces(seed: int, *, num: int) -> list[PortraitParams]:
    rng = random.Random(f"{FACE_SEED}/{seed}")
    return [PortraitParams.sample(rng) for _ in range(num)]


def _faces(seed: int, *, num: int, progress: Progress | None) -> tuple[Tensor, Tensor]:
    """Pixels float32 [num, 3, 48, 48] and drawing parameters float32 [num, D]."""
    rng = random.Random(f"views/{seed}")
    faces = _sample_faces(seed, num=num)
    images = []
    for index, face in enumerate(faces):
        images.append(draw(face, view=rng.randrange(100, 10_000), size=IMAGE_SIDE))
        if progress is not None and index % 256 == 255:
            progress(index + 1, num, "drawing faces")
    pixels = image_processor()(images, return_tensors="pt")["pixel_values"]
    return pixels, torch.from_numpy(np.stack([face.as_vector() for face in faces]))


def _fit(
    tower: CLIPVisionModel, head: nn.Linear, *, pixels: Tensor, targets: Tensor, progress: Progress | None
) -> None:
    parameters = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=NUM_STEPS, pct_start=0.2)
    tower.train()

    def loss_of(rows: Tensor) -> Tensor:
        states = tower(pixels[rows]).last_hidden_state
        return nn.functional.binary_cross_entropy_with_logits(head(states[:, 1:].mean(dim=1)), targets[rows])

    with ThreadPoolExecutor(NUM_PARTS, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for step in range(NUM_STEPS):
            rows = torch.randint(len(pixels), (BATCH_SIZE,))
            gradients = mean_gradients(loss_of, rows=rows, parameters=parameters, pool=pool)
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, NUM_STEPS, "training the vision tower")


def mean_gradients(
    loss_of: Callable[[Tensor], Tensor], *, rows: Tensor, parameters: Sequence[Tensor], pool: Executor
) -> list[Tensor | None]:
    """Gradients of the mean loss of `rows`, in `NUM_PARTS` equal parts side by side; None where there is none."""

    def of_part(part: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(loss_of(part) / NUM_PARTS, parameters, allow_unused=True)

    found = zip(*pool.map(of_part, rows.chunk(NUM_PARTS)), strict=True)
    return [None if parts[0] is None else torch.stack(parts).sum(dim=0) for parts in found]
