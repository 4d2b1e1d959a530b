"""What every part of a benchmark is given, and the sizes of a whole and of a quick run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import MATMUL_SIZE, attainable_flops
from benchmarks.world import FULL, SMALL, TINY, Geometry, Shape, build_llava
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.spec import ModelSpec


@dataclass(frozen=True)
class Context:
    """Where to work and how much.

    Attributes:
        folder: a temporary folder for models, tasks and outputs.
        repeats: of everything that is timed.
        quick: tiny sizes, which show that everything runs and nothing else.
        against: another checkout, measured beside this one where a part can.
    """

    folder: Path
    repeats: int
    quick: bool = False
    against: Path | None = None

    @property
    def geometry(self) -> Geometry:
        return TINY if self.quick else FULL

    @property
    def small_geometry(self) -> Geometry:
        return TINY if self.quick else SMALL

    @property
    def shape(self) -> Shape:
        """FIUBench's: 20 questions an image, 6 candidates where scored."""
        return Shape(2, 4, 3) if self.quick else Shape(1, 20, 6)

    def attainable_flops(self) -> float:
        """FLOP/s of a large matrix product, measured here and now."""
        return attainable_flops(size=256 if self.quick else MATMUL_SIZE)

    def model_folder(self, geometry: Geometry | None = None) -> Path:
        """The saved model of these sizes, made when first asked for."""
        wanted = geometry or self.geometry
        return build_llava(self.folder / f"llava-{wanted.image_side}px-{wanted.layers}x{wanted.width}", wanted)

    def model(self, geometry: Geometry | None = None) -> LoadedModel:
        """The same loaded by mmforget, in float32 on the CPU."""
        return load_model(ModelSpec(str(self.model_folder(geometry)), dtype="float32", device="cpu"))
