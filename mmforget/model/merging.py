"""An adapter that is in the weights for a while: what can be quantised, pruned or trained as one, and is put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmforget import parallel
from mmforget.errors import UserError
from mmforget.model.fingerprint import join
from mmforget.model.loaded import ADAPTER, LoadedModel
from mmforget.results.files import writing


class Whole(NamedTuple):
    """A model whose weights hold everything.

    Attributes:
        loaded: the model, without an adapter.
        files: by name of a layer, where its weight lies as it is without the adapter; none for the other layers.
    """

    loaded: LoadedModel
    files: Mapping[str, Path]

    def before(self, layer: str) -> Tensor | None:
        """The weight of a layer without the adapter, on the CPU; None where the model carried none."""
        if not self.files:
            return None
        file = self.files.get(layer)
        weight: Tensor = self.loaded.core.get_submodule(layer).weight
        return weight.detach().cpu() if file is None else load_file(file)["weight"]


@contextmanager
def merged(loaded: LoadedModel, *, folder: Path) -> Iterator[Whole]:
    """Inside, the adapter is merged into the weights, in place; afterwards `loaded` is what it was, bit by bit.

    Meanwhile the weights before lie in files of `folder`, one a layer, and in no memory. `loaded` must not be used
    inside.

    Raises UserError for an adapter on quantised weights or on routed experts, and where the files cannot be written.
    """
    if not loaded.has_adapter:
        yield Whole(loaded, {})
        return
    core = loaded.core
    tuned, copies = _adapted(loaded)
    files = {name: folder / f"merged-{number}.safetensors" for number, name in enumerate(tuned)}
    config = core.__dict__.pop("peft_config", None)
    with ExitStack() as undone:
        undone.callback(lambda: core.__dict__.update({} if config is None else {"peft_config": config}))
        for name, wrapper in copies.items():
            undone.callback(core.set_submodule, name, wrapper)
            core.set_submodule(name, wrapper.modules_to_save[ADAPTER])
        for name, layer in tuned.items():
            undone.enter_context(kept(layer.get_base_layer(), files[name]))
            undone.callback(_taken_out, core, name, layer)
            layer.merge(adapter_names=[ADAPTER])
            core.set_submodule(name, layer.get_base_layer())
        fingerprint = join("merged", loaded.fingerprint)
        spec = replace(loaded.spec, peft=None, merge_peft=False)
        whole = replace(loaded, model=core, spec=spec, fingerprint=fingerprint, base_fingerprint=fingerprint)
        yield Whole(whole, files)


@contextmanager
def kept(layer: nn.Module, file: Path) -> Iterator[None]:
    """Afterwards the weights of a layer are as they were, bit by bit; meanwhile they lie in a file alone."""
    weights = dict(layer.named_parameters())

    def write() -> None:
        with writing(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, file)

    parallel.on_main(write)
    try:
        yield
    finally:
        saved = load_file(file)
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(saved[name])


def _taken_out(core: nn.Module, name: str, layer: Any) -> None:
    """The adapter's layer beside its base again; the base's weights are put back by `kept`."""
    layer.merged_adapters.clear()
    core.set_submodule(name, layer)


def _adapted(loaded: LoadedModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """The layers that an adapter adds something to, and those that it has its own copy of, by name in the core."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    if loaded.quantisation is not None:
        raise UserError(
            f"an adapter cannot be merged into quantised weights ({loaded.quantisation}): it would round away"
        )
    tuned: dict[str, Any] = {}
    copies: dict[str, Any] = {}
    for name, module in loaded.core.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            copies[name] = module
        elif isinstance(module, BaseTunerLayer):
            if type(module).__name__ == "ParamWrapper":
                raise UserError(f"an adapter on routed experts ({name}) cannot be merged for a while")
            tuned[name] = module
    return tuned, copies
