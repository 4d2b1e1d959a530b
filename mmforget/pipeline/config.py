"""What a run was asked to do: the flags, resolved, as one frozen record that is stored in run.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmforget.benchmark.document import AttackName
from mmforget.errors import UserError
from mmforget.model.spec import ModelSpec


@dataclass(frozen=True)
class Asking:
    """How `mmforget eval` asks where that is not as runs do, by lm_eval's names; see `evaluation.run.Settings`."""

    system_instruction: str | None = None
    fewshot_as_multiturn: bool | None = None
    samples: Mapping[str, Any] | None = None
    seeds: tuple[int | None, int | None, int | None, int | None] = (0, 1234, 1234, 1234)


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run, and where they go."""

    model: str
    tasks: tuple[str, ...]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    include_path: tuple[str, ...] = ()
    data: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    method_args: Mapping[str, Any] = field(default_factory=dict)
    recipe: str = "released"
    training: Mapping[str, Any] = field(default_factory=dict)
    stage_one: Mapping[str, Any] = field(default_factory=dict)
    target_model: ModelSpec | None = None
    retain_model: ModelSpec | None = None
    device: str | None = None
    batch_size: int = 16
    apply_chat_template: bool | str = False
    gen_kwargs: Mapping[str, Any] = field(default_factory=dict)
    num_fewshot: int | None = None
    limit: float | None = None
    seed: int | None = None
    seeds: tuple[int, ...] = ()
    stage_one_seeds: tuple[int, ...] = ()
    output_path: str | None = None
    use_cache: str | None = None
    feature_folder: str | None = None
    judge: str = "rules"
    attacks: tuple[AttackName, ...] = ()
    attacker: str | None = None
    workers: int | None = None
    one_at_a_time: bool = False
    requests: int | None = None
    between: str | None = None
    tune: int | None = None
    asking: Asking = Asking()

    @property
    def base(self) -> ModelSpec | None:
        """The model that `--model_args` names; None for `micro`, and where they name none."""
        return self.with_pretrained(None) if "pretrained" in self.model_args else None

    def with_pretrained(self, name: str | None) -> ModelSpec:
        """The model `name`, else the one that is named, loaded as `--model_args` and `--device` say."""
        named = {} if name is None else {"pretrained": name}
        return ModelSpec.from_mapping({**self.model_args, **named}, device=self.device)

    @property
    def output(self) -> Path:
        """The output folder. Raises UserError where none was given."""
        if self.output_path is None:
            raise UserError("no output folder; give --output_path DIR")
        return Path(self.output_path).expanduser()

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, for YAML and for comparing an interrupted run with the one that continues it."""
        specs = {"target_model": self.target_model, "retain_model": self.retain_model}
        named = {name: spec and spec.as_text() for name, spec in specs.items()}
        own = {**asdict(self), **named, "attacks": [one.key for one in self.attacks]}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}
