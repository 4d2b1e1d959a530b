"""Models, adapters and processors with one wrong value or file: loaded, and asked one question."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.helpers import tiny_image, tiny_llama, tiny_llava
from tools.fuzzing.model_folders import cases
from tools.fuzzing.trials import Kind, Outcome, run, told, watched


def prepare(folder: Path) -> None:
    """A tiny LLaVA and a tiny Llama, and an adapter for the latter."""
    from mmforget.model.load import load_model
    from mmforget.model.lora import LoraSettings, attach, save_adapter
    from mmforget.model.spec import ModelSpec

    tiny_llava(folder / "llava")
    llama = tiny_llama(folder / "llama")
    save_adapter(
        attach(load_model(ModelSpec(str(llama), device="cpu")), LoraSettings(r=2, alpha=4)), folder / "adapter"
    )


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    source = folder / rng.choice(("llava", "llama", "llama", "adapter"))
    case = next(cases(rng.randrange(2**31), source))
    damaged = case.write(source, place / source.name)
    base, adapter = (folder / "llama", damaged) if source.name == "adapter" else (damaged, None)
    pictured = source.name == "llava"
    outcome = watched(
        damaged, lambda: told(run(lambda: ask(base, adapter, pictured=pictured)), what=f"{source.name} {case.name}")
    )
    shutil.rmtree(damaged, ignore_errors=True)
    return outcome


def ask(model: Path, adapter: Path | None, *, pictured: bool) -> int:
    """Loads a model and scores one answer."""
    import torch

    from mmforget.model.encode import encode
    from mmforget.model.load import load_model
    from mmforget.model.scoring import score
    from mmforget.model.spec import ModelSpec

    loaded = load_model(ModelSpec(str(model), device="cpu", peft=None if adapter is None else str(adapter)))
    images = (tiny_image(0),) if pictured else ()
    encoded = encode(loaded, ("<image>\n" if pictured else "") + "who is it?", " it is ann.", images)
    with torch.no_grad():
        score(loaded, [encoded])
    return 0


KIND = Kind("models", prepare, trial)
