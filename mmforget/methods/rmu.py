"""Representation misdirection: states of one layer are steered away on what is to be forgotten and held elsewhere.

Source: Li et al. 2024, "The WMDP Benchmark", https://arxiv.org/abs/2403.03218, as RMU; its predecessor CUT steers along
a concept. Coefficient and retain weight are those of OpenUnlearning, https://arxiv.org/abs/2506.12618, layer 7 of 32 is
that of both; for Zephyr-7B the paper's code is said to have 6.5 and 1200, and to train `mlp.down_proj` of layers 5 to 7
alone (`--lora_target_modules`). A coefficient in multiples of the states' own norm: Dang et al. 2024,
https://arxiv.org/abs/2408.06223.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmforget.errors import UserError
from mmforget.methods.arguments import require_not_negative, require_positive
from mmforget.methods.base import USUAL, Beginning, Evidence, Grid, Hidden, Request, Source, Step, Times
from mmforget.methods.losses import are_states, state_distance, token_mean
from mmforget.methods.material import Material
from mmforget.types import Example

DEPTH = 7 / 32
"""The layer where none is named, as a share of all."""
PROMPTS = {"expert": "You are a world-class expert in {topic}", "novice": "You are a novice at {topic}"}
"""What a concept is read off, between the topic and a full stop. CUT's own prompts could not be read: ours."""
DIRECTION, NORM = "direction", "norm"


@dataclass(frozen=True)
class RepresentationMisdirection:
    """Minimises d(forget states, target) + retain_weight d(retain states, those before training).

    d is the squared difference, averaged over the hidden size, the tokens of an answer, and answers. States are what
    decoder layer `layer` (none: number 7 of 32, or at that depth of another model) puts out where an answer's tokens
    are predicted: no image token is among them but one that a prompt ends with. OpenUnlearning takes states one place
    later, at the tokens themselves.

    `target`: `random` is c u, of one direction u that is drawn evenly from [0, 1) in every dimension and normalised, by
    the training's seed, and kept with the training. `concept` is the state before training plus c times the direction
    from an expert in `topic` to a novice. c is `coefficient`; with `adaptive` that times the mean norm of the forget
    states of the first micro-batch, before anything has changed, which the log's `state` shows as `norm`.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2403.03218"
    grid: ClassVar[Grid] = {**USUAL, "coefficient": Times((0.5, 2.0, 4.0)), "retain_weight": Times((0.2, 5.0))}

    layer: int | None = None
    coefficient: float = 2.0
    retain_weight: float = 1.0
    target: Literal["random", "concept"] = "random"
    topic: str = ""
    adaptive: bool = False

    def __post_init__(self) -> None:
        require_positive(coefficient=self.coefficient)
        require_not_negative(retain_weight=self.retain_weight)
        if self.target == "concept" and not self.topic:
            raise UserError("target=concept steers away from a topic; give it, e.g. topic=virology")
        if self.target == "random" and self.topic:
            raise UserError(f"topic={self.topic} goes with target=concept; a random target knows no topic")

    @property
    def requests(self) -> tuple[Request, ...]:
        asked = (self._states("forget"), self._states("retain"), self._states("retain", before=True))
        if self.target == "random":
            return asked
        return (*asked, *(self._states(source, before=True) for source in ("forget", *PROMPTS)))

    @property
    def sources(self) -> tuple[Source, ...]:
        """Two prompts that differ in how much they say is known of the topic; none for a random target."""
        named = PROMPTS if self.target == "concept" else {}
        return tuple(Source(name=name, rows=partial(_prompt, name=name, topic=self.topic)) for name in named)

    def start(self, beginning: Beginning) -> dict[str, Tensor]:
        """`direction` [H] of a random target, `norm` of an adaptive coefficient, 0 until it is known."""
        state = {}
        if self.target == "random":
            drawn = torch.rand(beginning.hidden_size, generator=torch.Generator().manual_seed(beginning.seed))
            state[DIRECTION] = drawn / drawn.norm()
        if self.adaptive:
            state[NORM] = torch.zeros(())
        return state

    def loss(self, step: Step) -> dict[str, Tensor]:
        """`forget` and `retain` >= 0, squared differences a dimension."""
        forget, retain = (step[self._states(source)][0] for source in ("forget", "retain"))
        before = step[self._states("retain", before=True)][0]
        mask = are_states(forget)
        return {
            "forget": state_distance(forget, target=self._target(step, forget, mask=mask), mask=mask),
            "retain": self.retain_weight * state_distance(retain, target=before, mask=are_states(retain)),
        }

    def _states(self, source: str, *, before: bool = False) -> Hidden:
        return Hidden(source, (DEPTH if self.layer is None else self.layer,), before)

    def _target(self, step: Step, forget: Tensor, *, mask: Tensor) -> Tensor:
        """What forget states [B, T, H] are moved to; constant."""
        size = self._size(step, forget, mask=mask)
        if self.target == "random":
            return step.state[DIRECTION].to(forget.device) * size
        expert, novice = (step[self._states(name, before=True)][0, 0, 0] for name in PROMPTS)
        away = (novice - expert) / (novice - expert).norm().clamp(min=torch.finfo(novice.dtype).tiny)
        shifted: Tensor = step[self._states("forget", before=True)][0] + size * away
        return shifted

    def _size(self, step: Step, forget: Tensor, *, mask: Tensor) -> float:
        if not self.adaptive:
            return self.coefficient
        if not step.state[NORM].item():
            step.state[NORM] = token_mean(forget.detach().norm(dim=-1), mask).cpu()
        return self.coefficient * step.state[NORM].item()


def _prompt(_material: Material, *, name: str, topic: str) -> list[Example]:
    return [Example(f"rmu/{name}", topic, PROMPTS[name].format(topic=topic), ".", delimiter="")]


METHOD = RepresentationMisdirection
