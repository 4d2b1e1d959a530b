"""Two models of one shape as the ends of a path, with one of them in memory: the other's weights lie in files.

Weights are interpolated as a whole, an adapter being merged, never as its factors. What both ends have in common is
neither read nor written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.model.fingerprint import join
from mmforget.model.loaded import LoadedModel
from mmforget.model.merging import merged
from mmforget.results.files import writing

Shape = tuple[int, ...]


@dataclass(frozen=True)
class End:
    """A model's weights in files.

    Attributes:
        files: by name of a weight.
        shapes: of each.
        fingerprint: of the model.
    """

    files: Mapping[str, Path]
    shapes: Mapping[str, Shape]
    fingerprint: str


@dataclass(frozen=True, eq=False)
class Line:
    """The straight path from a model to another one, which is in memory.

    Attributes:
        loaded: the second model; its weights are those of the place that was gone to last.
        pairs: of every weight that differs, the parameter and the files of either end.
        fingerprint: of the path.
    """

    loaded: LoadedModel
    pairs: Mapping[str, tuple[nn.Parameter, Path, Path]]
    fingerprint: str

    def go(self, place: float) -> LoadedModel:
        """The model at a place of the path, 0 the first end and 1 the second, both bit by bit."""
        with torch.no_grad():
            for weight, first, second in self.pairs.values():
                weight.copy_(_between(first, second, place))
        named = join("path", self.fingerprint, repr(place))
        return replace(self.loaded, fingerprint=named, base_fingerprint=named)

    @property
    def changes_images(self) -> bool:
        """Whether anything differs before the projector, so that features of images hold for one place alone."""
        tower = {id(one) for part in self.loaded.family.tower_parts(self.loaded.core) for one in part.parameters()}
        return any(id(weight) in tower for weight, _, _ in self.pairs.values())


def end_of(loaded: LoadedModel, *, folder: Path) -> End:
    """Writes a model's weights, its adapter merged, to files of a folder; the model is left as it is.

    Raises UserError for a model behind a guard and for quantised weights.
    """
    _require_whole(loaded)
    with merged(loaded, folder=folder / "merging") as whole:
        weights = dict(whole.loaded.core.named_parameters())
        files = {name: folder / f"{number}.safetensors" for number, name in enumerate(weights)}
        parallel.on_main(lambda: _write(weights, files))
        return End(files, {name: tuple(weight.shape) for name, weight in weights.items()}, loaded.fingerprint)


@contextmanager
def line_to(loaded: LoadedModel, *, start: End, folder: Path) -> Iterator[Line]:
    """Inside, the path from `start` to the loaded model; afterwards that is what it was, bit by bit.

    `loaded` must not be used inside.

    Raises UserError as `end_of` does, and for models of different shapes.
    """
    _require_whole(loaded)
    with ExitStack() as undone:
        whole = undone.enter_context(merged(loaded, folder=folder / "merging")).loaded
        weights = dict(whole.core.named_parameters())
        _require_alike(start, weights)
        differ = {name: one for name, one in weights.items() if not _is_same(start.files[name], one)}
        files = {name: folder / f"{number}.safetensors" for number, name in enumerate(differ)}
        parallel.on_main(lambda: _write(differ, files))
        pairs = {name: (weight, start.files[name], files[name]) for name, weight in differ.items()}
        line = Line(whole, pairs, join("line", start.fingerprint, loaded.fingerprint))
        undone.callback(line.go, 1.0)
        yield line


def _require_whole(loaded: LoadedModel) -> None:
    if loaded.guard is not None:
        raise UserError(f"a guard ({loaded.guard.name}) has no weights to go along; leave guard= out")
    if loaded.stack is not None or loaded.quantisation is not None:
        what = "are several" if loaded.stack is not None else f"are quantised ({loaded.quantisation})"
        raise UserError(f"{loaded.spec.pretrained}: a path needs one model in full precision, and its weights {what}")


def _require_alike(start: End, weights: Mapping[str, nn.Parameter]) -> None:
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    other = next((name for name in {**start.shapes, **shapes} if start.shapes.get(name) != shapes.get(name)), None)
    if other is not None:
        raise UserError(
            f"two models of different shapes have no path between them: {other} is "
            f"{list(start.shapes.get(other, ()))} in one and {list(shapes.get(other, ()))} in the other"
        )


def _write(weights: Mapping[str, Tensor], files: Mapping[str, Path]) -> None:
    for name, weight in weights.items():
        with writing(files[name].parent):
            files[name].parent.mkdir(parents=True, exist_ok=True)
            save_file({"weight": weight.detach().cpu().contiguous()}, files[name])


def _is_same(file: Path, weight: Tensor) -> bool:
    other = _read(file)
    return other.dtype == weight.dtype and torch.equal(other, weight.detach().cpu())


def _between(first: Path, second: Path, place: float) -> Tensor:
    """A weight at a place, computed in single precision at least."""
    if place in (0.0, 1.0):
        return _read(second if place else first)
    start, end = _read(first), _read(second)
    wide = torch.promote_types(start.dtype, torch.float32)
    return torch.lerp(start.to(wide), end.to(wide), place)


def _read(file: Path) -> Tensor:
    weight: Tensor = load_file(file)["weight"]
    return weight
