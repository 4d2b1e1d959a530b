"""What a method leaves: with the model that it was made on, a model that anybody can load again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mmforget.model.load import save_merged
from mmforget.model.spec import ModelSpec

BASE = "base"
"""Where the base is saved, beside the artifact, when it is itself a model and an adapter merged."""


@dataclass(frozen=True)
class Artifact:
    """A result on disk.

    Attributes:
        kind: `adapter`, to be put on the model that it was made on, `weights`, a whole model, or `guard`, to be put
            before any.
        path: its folder.
    """

    kind: Literal["adapter", "weights", "guard"]
    path: Path

    def on(self, base: ModelSpec) -> ModelSpec:
        """What loads the result, on the base and in the quantisation that it was made on.

        One spec names one adapter: a base with one merged into it is saved whole beside the artifact. Raises UserError
        where it cannot be written.
        """
        if self.kind == "weights":
            return replace(base, pretrained=str(self.path), revision=None, peft=None, merge_peft=False)
        if base.merge_peft and (self.kind == "adapter" or (self.path / "adapter").is_dir()):
            whole = save_merged(base, self.path.parent / BASE)
            base = replace(base, pretrained=str(whole), revision=None, peft=None, merge_peft=False)
        if self.kind == "guard":
            return replace(base, guard=str(self.path))
        return replace(base, peft=str(self.path))
