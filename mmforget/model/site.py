"""A loaded model as a method that edits weights sees it: its feed-forward matrices and what they put out.

Shapes: n questions of a batch, P places (tokens of all rows, one behind the other), D outputs of a matrix.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmforget.errors import UserError
from mmforget.model.activations import Take, decoder_layers, overwrite, replaced, steering, watching
from mmforget.model.encode import Encoded, Ints
from mmforget.model.examples import encode_all
from mmforget.model.experts import find_experts
from mmforget.model.inputs import batch_tokens
from mmforget.model.loaded import LoadedModel
from mmforget.model.packing import Layout, PackedRow, batches, lay_out, packed_rows, plain_rows, sequence_places
from mmforget.model.vision import FeatureCache, image_features
from mmforget.types import Example, Matrix, Pooling, Spot, Steered, Sums, TakeRows

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_TOKENS = 4096
"""Distinct tokens of a forward pass: the outputs of one matrix for all of them are in memory at a time."""
FEATURE_BUDGET_BYTES = 2**30
ALL = Pooling(alpha=None)
"""All places of a question but its padding."""


class Places(NamedTuple):
    """Where one question's tokens are in a batch: int64 arrays of places, those of image tokens and all others."""

    vision: Any
    text: Any


class ModelSite:
    """`methods.edits.Site` of a loaded model, which remembers what it replaced.

    Attributes:
        layers: by decoder layer; empty where the model's feed-forward blocks have other names.
        projector: the linear layers of the projector in order, where there is one.
        tower: by block of the vision tower, of those whose output the model reads; empty where there is none.
        blocks: the decoder layers themselves.
        replaced: names of the matrices that were replaced.

    Raises UserError for a model whose weights are quantised or routed experts, or that carries an adapter.
    """

    def __init__(self, loaded: LoadedModel, *, append_eos: bool) -> None:
        _check(loaded)
        self.loaded, self.append_eos = loaded, append_eos
        self._modules: dict[str, nn.Module] = dict(loaded.core.named_modules())
        self.layers = _layers(loaded)
        self.projector = _projector(loaded)
        self.tower = _tower(loaded)
        self.blocks = _blocks(loaded)
        self.family = loaded.family.NAME
        self.replaced: set[str] = set()
        self._before = ExitStack()
        self._features = FeatureCache(FEATURE_BUDGET_BYTES)

    def matrix(self, name: str) -> Matrix:
        module: Any = self._modules[name]
        return Matrix(module.weight.detach(), None if module.bias is None else module.bias.detach())

    def replace(self, name: str, matrix: Matrix) -> None:
        module = self._modules[name]
        if name in self.replaced:
            # What was there before any edit is kept already.
            overwrite(module, weight=matrix.weight, bias=matrix.bias)
            return
        bias = self.matrix(name).bias if matrix.bias is None else matrix.bias
        self._before.enter_context(replaced(module, weight=matrix.weight, bias=bias))
        self.replaced.add(name)

    def restore(self) -> None:
        """Puts everything back that was replaced, bit by bit."""
        self._before.close()

    @torch.no_grad()
    def sums(self, examples: Sequence[Example], *, names: Sequence[str], pooling: Pooling) -> dict[str, Sums]:
        """See `Site.sums`. Without padding, questions that begin alike are computed together where the model allows."""
        encoded = encode_all(self.loaded, examples, append_eos=self.append_eos, source="rows to compare")
        found: dict[str, Sums] = {}
        for part, rows, is_flat in self._batches(encoded, pooling=pooling):
            self._add_batch(part, rows, is_flat=is_flat, names=names, pooling=pooling, found=found)
        return found

    @torch.no_grad()
    def visit(
        self,
        examples: Sequence[Example],
        *,
        names: Sequence[str],
        take: TakeRows,
        at: Spot = "all",
        inputs: bool = False,
    ) -> None:
        """See `Site.visit`."""
        encoded = encode_all(self.loaded, examples, append_eos=self.append_eos, source="rows to look at")
        apart = [] if self.loaded.writes_images else [name for layer in self.tower for name in layer]
        of_tower = [name for name in names if name in apart]
        if of_tower:
            self._visit_tower(encoded, names=of_tower, take=take, inputs=inputs)
        others = [name for name in names if name not in of_tower]
        if others:
            for part, rows, is_flat in self._batches(encoded, pooling=ALL):
                self._visit_batch(part, rows, is_flat=is_flat, names=others, take=take, at=at, inputs=inputs)

    def steered(self, example: Example, *, name: str, shift: Tensor, at: Spot) -> Steered:
        """See `Site.steered`."""
        (one,) = encode_all(self.loaded, [example], append_eos=self.append_eos, source="rows to look at")
        layout = _laid_out([one], plain_rows([one]), is_flat=False)
        chosen = torch.from_numpy(_chosen(one, np.arange(len(one)), at=at))

        def shifted(states: Tensor) -> Tensor:
            places = torch.zeros(states.shape[-2], 1, device=states.device, dtype=states.dtype)
            places[chosen.to(states.device)] = 1
            return states + places * shift.to(states.device, states.dtype)

        features = image_features(self.loaded, dict(zip(one.image_keys, one.images, strict=True)), cache=self._features)
        tokens = batch_tokens(self.loaded, layout, images=features)
        with steering({self._modules[name]: shifted}):
            states = self.loaded.family.hidden(self.loaded.core, tokens)[0]
        logits = self.loaded.family.head(self.loaded.core, states[one.num_context - 1 : len(one) - 1])
        found = logits.float().log_softmax(-1)
        target = torch.tensor(one.ids[one.num_context :], device=found.device)
        return Steered(found.gather(-1, target[:, None])[:, 0].cpu(), found[0].cpu())

    def _visit_tower(self, encoded: Sequence[Encoded], *, names: Sequence[str], take: TakeRows, inputs: bool) -> None:
        """Every image once, counted for each question that shows it."""
        counts = Counter(key for one in encoded for key in one.image_keys)
        images = {key: image for one in encoded for key, image in zip(one.image_keys, one.images, strict=True)}
        for key, image in images.items():
            with watching(self._named(names), take=partial(_told, take=take, count=counts[key]), inputs=inputs):
                image_features(self.loaded, {key: image}, cache=None)

    def _visit_batch(
        self,
        encoded: Sequence[Encoded],
        rows: list[PackedRow],
        *,
        is_flat: bool,
        names: Sequence[str],
        take: TakeRows,
        at: Spot,
        inputs: bool,
    ) -> None:
        asked = [encoded[member] for row in rows for member in row.members]
        layout = _laid_out(encoded, rows, is_flat=is_flat)
        every = _every(encoded, rows, layout=layout, pooling=ALL)
        chosen = [_chosen(one, places, at=at) for one, places in zip(asked, every, strict=True)]
        places, counts = np.unique(np.concatenate(chosen), return_counts=True)
        inside = {name for layer in self.tower for name in layer}

        def told(name: str, found: Tensor) -> None:
            if name in inside:
                _told(name, found, take=take, count=1)
            elif len(places):
                flat = found.flatten(0, -2)
                values = flat.index_select(0, torch.from_numpy(places).to(flat.device)).float()
                take(name, values, torch.from_numpy(counts).to(flat.device, torch.float32))

        images = {key: image for one in asked for key, image in zip(one.image_keys, one.images, strict=True)}
        features, _ = self._project(images, names=[])
        self._forward(layout, features=features, names=names, take=told, inputs=inputs)

    def _batches(
        self, encoded: Sequence[Encoded], *, pooling: Pooling
    ) -> Iterator[tuple[Sequence[Encoded], list[PackedRow], bool]]:
        """Questions of one forward pass, how they share rows, and whether those lie one behind the other."""
        if self.loaded.shares_prefixes and not pooling.padding:
            for rows in batches(packed_rows(encoded, max_tokens=MAX_TOKENS), max_tokens=MAX_TOKENS):
                yield encoded, rows, True
            return
        # A model whose own forward reads images takes one sequence at a time, so nothing is padded there.
        size = 1 if self.loaded.writes_images else pooling.batch_size
        for start in range(0, len(encoded), size):
            part = encoded[start : start + size]
            yield part, plain_rows(part), False

    def _add_batch(
        self,
        encoded: Sequence[Encoded],
        rows: list[PackedRow],
        *,
        is_flat: bool,
        names: Sequence[str],
        pooling: Pooling,
        found: dict[str, Sums],
    ) -> None:
        members = [member for row in rows for member in row.members]
        asked = [encoded[member] for member in members]
        images = {key: image for one in asked for key, image in zip(one.image_keys, one.images, strict=True)}
        layout = _laid_out(encoded, rows, is_flat=is_flat)
        weights = _means(asked, _places(encoded, rows, layout=layout, pooling=pooling), pooling=pooling, layout=layout)

        def take(name: str, output: Tensor) -> None:
            _add(found, name, _sums(output.flatten(0, -2).float(), weights.to(output.device)))

        features, projected = self._project(images, names=[name for name in names if name in self.projector])
        for name, outputs in projected.items():
            _add(found, name, _picture_sums(asked, outputs, each_token=pooling.each_token))
        named = [name for name in names if name not in self.projector]
        self._forward(layout, features=features, names=named, take=take)

    def _forward(
        self, layout: Layout, *, features: dict[str, Any], names: Sequence[str], take: Take, inputs: bool = False
    ) -> None:
        """One forward pass in which `take` is told what the named modules put out, or take in."""
        tokens = batch_tokens(self.loaded, layout, images=features)
        if tokens.attention is not None and not self.loaded.writes_images:
            pad = int(self.loaded.tokenizer.pad_token_id or 0)
            tokens = tokens._replace(ids=tokens.ids.masked_fill(~tokens.attention, pad))
            if tokens.positions.dim() == 2:
                # As in a model's own forward, where padding counts on; with three axes it is at 0.
                counted = torch.arange(tokens.ids.shape[1], device=tokens.ids.device).expand_as(tokens.ids)
                tokens = tokens._replace(positions=counted)
        with watching(self._named(names), take=take, inputs=inputs):
            self.loaded.family.hidden(self.loaded.core, tokens)

    def _project(
        self, images: Mapping[str, Image], *, names: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, dict[str, Tensor]]]:
        """Features of the images by key, and what each named matrix of the projector put out for each image [*, D]."""
        features: dict[str, Any] = {}
        outputs: dict[str, dict[str, Tensor]] = {}
        for key, image in images.items():
            last: dict[str, Tensor] = {}
            # Qwen's tower runs the projector, too, in another order of patches; what it gives last is what counts.
            with watching(self._named(names), take=last.__setitem__):
                features |= image_features(self.loaded, {key: image}, cache=self._features)
            for name, output in last.items():
                outputs.setdefault(name, {})[key] = output.flatten(0, -2).float()
        return features, outputs

    def _named(self, names: Sequence[str]) -> dict[str, nn.Module]:
        return {name: self._modules[name] for name in names}


def _check(loaded: LoadedModel) -> None:
    if loaded.has_adapter:
        raise UserError(
            "weights are edited in the model itself, but it carries an adapter that is not merged; add merge_peft=True "
            "to --model_args"
        )
    if loaded.quantisation is not None:
        raise UserError(
            f"weights are edited in full precision, and those of this model are quantised ({loaded.quantisation}); "
            "load it without load_in_4bit and load_in_8bit (dtype=bfloat16), from a folder in full precision, edit, "
            "and quantise what was saved"
        )

    experts = find_experts(loaded.core).parameters
    if experts:
        raise UserError(
            f"feed-forward matrices are edited, and those of {loaded.spec.pretrained} are routed experts "
            f"({experts[0]}), which are not one matrix that all tokens go through; use a method that trains, e.g. npo"
        )


def _layers(loaded: LoadedModel) -> tuple[tuple[str, ...], ...]:
    """Names of the linear layers in each decoder layer's feed-forward block, where that is called `mlp`."""
    names = {id(module): name for name, module in loaded.core.named_modules()}
    blocks = [getattr(layer, "mlp", nn.Identity()) for layer in decoder_layers(loaded.core)]
    found = [tuple(names[id(one)] for one in block.children() if isinstance(one, nn.Linear)) for block in blocks]
    return tuple(layer for layer in found if layer)


def _blocks(loaded: LoadedModel) -> tuple[str, ...]:
    names = {id(module): name for name, module in loaded.core.named_modules()}
    return tuple(names[id(layer)] for layer in decoder_layers(loaded.core))


def _projector(loaded: LoadedModel) -> tuple[str, ...]:
    """Names of the projector's linear layers."""
    projector = loaded.family.projector(loaded.core)
    if projector is None:
        return ()
    inside = {id(module) for module in projector.modules() if isinstance(module, nn.Linear)}
    return tuple(name for name, module in loaded.core.named_modules() if id(module) in inside)


def _tower(loaded: LoadedModel) -> tuple[tuple[str, ...], ...]:
    """Names of the linear layers in each feed-forward block, called `mlp`, of the vision tower.

    Blocks behind the last one whose states the model reads, as LLaVA leaves its tower's last one out, are none of them.
    """
    if not loaded.is_multimodal:
        return ()
    names = {id(module): name for name, module in loaded.core.named_modules()}
    inside = [module for part in loaded.family.tower_parts(loaded.core) for module in part.modules()]
    blocks = max((list(one) for one in inside if isinstance(one, nn.ModuleList)), key=len, default=[])
    read = getattr(loaded.core.config, "vision_feature_layer", None)
    if read is not None:
        states = range(len(blocks) + 1)
        blocks = blocks[: max(states[at] for at in ([read] if isinstance(read, int) else read))]
    parts = [getattr(block, "mlp", nn.Identity()) for block in blocks]
    found = [tuple(names[id(one)] for one in part.children() if isinstance(one, nn.Linear)) for part in parts]
    return tuple(layer for layer in found if layer)


def _laid_out(encoded: Sequence[Encoded], rows: list[PackedRow], *, is_flat: bool) -> Layout:
    first = [one.num_context for one in encoded]
    width = max(encoded[member].num_answer for row in rows for member in row.members)
    return lay_out(encoded, rows, first=first, width=width, flat=is_flat)


def _every(encoded: Sequence[Encoded], rows: list[PackedRow], *, layout: Layout, pooling: Pooling) -> list[Ints]:
    """For each question of the rows, in their order, the places of its tokens."""
    if layout.is_flat:
        return sequence_places(encoded, rows)
    length = layout.ids.shape[1]
    ends = [length if pooling.padding else row.num_tokens for row in rows]
    return [number * length + np.arange(end) for number, end in enumerate(ends)]


def _chosen(one: Encoded, places: Ints, *, at: Spot) -> Ints:
    """Of the places of a question's tokens those at a spot."""
    if at == "all":
        return places
    if at == "image":
        return places[one.image_positions]
    return places[one.num_context - 1 : one.num_context]


def _told(name: str, found: Tensor, *, take: TakeRows, count: int) -> None:
    """Tells of all rows, each of which counts as often."""
    values = found.flatten(0, -2).float()
    take(name, values, torch.full((len(values),), float(count), device=values.device))


def _places(encoded: Sequence[Encoded], rows: list[PackedRow], *, layout: Layout, pooling: Pooling) -> list[Places]:
    """For each question of the rows, in their order, the places of its image tokens and of its other tokens."""
    every = _every(encoded, rows, layout=layout, pooling=pooling)
    found = []
    for places, member in zip(every, (member for row in rows for member in row.members), strict=True):
        one = encoded[member]
        num_vision = sum(one.image_sizes[:1] if pooling.padding else one.image_sizes)
        is_vision = np.zeros(len(places), dtype=np.bool_)
        is_vision[one.image_positions[:num_vision]] = True
        found.append(Places(places[is_vision], places[~is_vision]))
    return found


def _means(asked: Sequence[Encoded], places: Sequence[Places], *, pooling: Pooling, layout: Layout) -> Tensor:
    """float32 [n, P], what makes each question's row of the outputs at all places."""
    weights = torch.zeros(len(asked), layout.ids.size)
    for row, (vision, text) in enumerate(places):
        if pooling.alpha is None or not len(vision) or not len(text):
            weights[row, np.concatenate([vision, text])] = 1.0 / (len(vision) + len(text))
            continue
        weights[row, vision] = pooling.alpha / len(vision)
        weights[row, text] = (1.0 - pooling.alpha) / len(text)
    return weights


def _sums(output: Tensor, weights: Tensor) -> Sums:
    """Sums of the rows that weights [n, P] make of outputs [P, D]."""
    rows = weights @ output
    return Sums(rows.sum(0).cpu().double(), rows.abs().sum(0).cpu().double(), len(rows))


def _picture_sums(asked: Sequence[Encoded], outputs: Mapping[str, Tensor], *, each_token: bool) -> Sums:
    """Sums of a projector's rows over questions with an image, from its outputs [*, D] for each image.

    A question has one row, the mean over each of its images, averaged; with `each_token` one for every image token.
    """
    shown = [one for one in asked if one.image_keys]
    if each_token:
        tokens = torch.cat([outputs[key] for one in shown for key in one.image_keys])
        return Sums(tokens.sum(0).cpu().double(), tokens.abs().sum(0).cpu().double(), len(tokens))
    means = {key: output.mean(0) for key, output in outputs.items()}
    rows = torch.stack([torch.stack([means[key] for key in one.image_keys]).mean(0) for one in shown])
    return Sums(rows.sum(0).cpu().double(), rows.abs().sum(0).cpu().double(), len(rows))


def _add(found: dict[str, Sums], name: str, sums: Sums) -> None:
    """Adds sums over further rows to those of a matrix."""
    if name in found:
        before = found[name]
        sums = Sums(before.total + sums.total, before.absolute + sums.absolute, before.num_rows + sums.num_rows)
    found[name] = sums
