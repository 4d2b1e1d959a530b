"""Loading any Hugging Face causal or image-text model, quantised or not, with or without an adapter.

loaded = load_model(ModelSpec.parse("pretrained=llava-hf/llava-1.5-7b-hf,load_in_4bit=True"))
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmforget.errors import UserError, is_fault, one_line, shortened
from mmforget.model.choosing import check_settings
from mmforget.model.contradictions import refuse_contradictions
from mmforget.model.experts import describe
from mmforget.model.families import find_family, is_image_text
from mmforget.model.fingerprint import join, model_folder, weights_fingerprint
from mmforget.model.finite import in_words, not_finite
from mmforget.model.folder import ADVICE, blamed, check_folder
from mmforget.model.loaded import LoadedModel, save_model
from mmforget.model.processor import tokenizer_and_processor
from mmforget.model.quantize import (
    packed_parts,
    prepare_quantised,
    quantisation_config,
    quantisation_of,
    stored_quantisation,
)
from mmforget.model.selfcheck import settle
from mmforget.model.spec import DTYPES, ModelSpec
from mmforget.model.weight_count import require_weights, skeleton
from mmforget.unfinished import unfinished

__all__ = ["ModelSpec", "load_model", "save_merged"]

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
)
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load_model(spec: ModelSpec) -> LoadedModel:
    """The model of `spec`, in evaluation mode with all weights frozen, its tokenizer, processor and fingerprint.

    The class is chosen from the configuration. Only safetensors are read; code from a repository runs only with
    `trust_remote_code=True`. A model whose weights are no numbers is named. Raises UserError for whatever the user can
    have got wrong.
    """
    if spec.guard is not None:
        raise UserError(f"guard={spec.guard}: guards are put before models by eval; load this one without, or use that")
    loaded = _whole_model(spec)
    broken = not_finite(loaded.model)
    if broken:
        logger.warning("%s", in_words(broken, model=spec.pretrained))
    return loaded


def _whole_model(spec: ModelSpec) -> LoadedModel:
    """With its adapter, merged or beside it."""
    if spec.is_quantised and spec.merge_peft:
        return _merged_then_quantised(spec)
    loaded = _base_model(spec)
    if spec.peft is None:
        return loaded
    from mmforget.model.lora import load_adapter, merge_adapter

    loaded = load_adapter(loaded, Path(spec.peft))
    return merge_adapter(loaded) if spec.merge_peft else loaded


def save_merged(spec: ModelSpec, folder: Path) -> Path:
    """The model of `spec`, whose adapter is merged, saved whole and in full precision, unless it lies there already.

    Written aside and renamed, so that the folder is whole or not there. Raises UserError where it cannot be written.
    """
    if not folder.is_dir():
        whole = load_model(replace(spec, load_in_4bit=False, load_in_8bit=False, device="cpu", device_map=None))
        part = unfinished(folder)
        try:
            save_model(whole, part).rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _base_model(spec: ModelSpec) -> LoadedModel:
    check_place(spec)
    with _explained(spec, files=("config.json",), attempt=_config):
        config = _config(spec)
        family = find_family(config, custom_code=spec.trust_remote_code)
    with _explained(spec, files=("config.json", "generation_config.json"), attempt=_skeleton):
        model = _weights(spec, config=config, family=family)
    with _explained(spec, files=TOKENIZER_FILES, attempt=partial(_tokens, config=config)):
        tokenizer, processor = _tokens(spec, config=config)
    with _explained(spec, files=("generation_config.json",), attempt=partial(_settings, tokenizer=tokenizer)):
        check_settings(model.generation_config, tokenizer=tokenizer)
    with _explained(spec):
        fingerprint = weights_fingerprint(spec)
    model.requires_grad_(False).eval()
    if quantisation_of(model) == "8bit":
        # What a folder saved in 8 bit says of mixed precision is overruled.
        fingerprint = join(fingerprint, "threshold 0")
    loaded = LoadedModel(model, tokenizer, processor, family, spec, fingerprint, base_fingerprint=fingerprint)
    refuse_contradictions(loaded)
    _say_what_is_not_packed(loaded)
    return settle(loaded)


def _say_what_is_not_packed(loaded: LoadedModel) -> None:
    """Bitsandbytes packs no experts; a folder may be packed where `quantisation_config` leaves precision."""
    found = describe(loaded.core)
    if loaded.quantisation is not None and found is not None:
        logger.warning(
            "%s is loaded in %s, but its routed experts, %.0f %% of the weights, stay in full precision",
            loaded.spec.pretrained,
            loaded.quantisation,
            100 * found["share"],
        )
    packed = packed_parts(loaded.core, family=loaded.family)
    if packed:
        logger.warning(
            "%s is in %s in its %s, too, which mmforget itself would leave in full precision",
            loaded.spec.pretrained,
            loaded.quantisation,
            " and ".join(packed),
        )


def _merged_then_quantised(spec: ModelSpec) -> LoadedModel:
    """Merges in full precision, by way of a temporary folder, so that base plus adapter is rounded once, not twice."""
    with tempfile.TemporaryDirectory(prefix="mmforget-merged-") as folder:
        whole = save_merged(spec, Path(folder) / "merged")
        quantised = _base_model(replace(spec, pretrained=str(whole), revision=None, peft=None, merge_peft=False))
    return replace(quantised, spec=spec)


def check_place(spec: ModelSpec) -> None:
    """Raises UserError for what can be said about a wrong `pretrained` before any library is asked."""
    name = spec.pretrained
    path = Path(name).expanduser()
    if path.is_dir():
        check_folder(path)
        if (path / "adapter_config.json").is_file():
            raise _adapter_here(name, folder=path)
        if (path / "config.json").is_file():
            return
        raise UserError(f"{name} is a folder without a config.json, so not a Hugging Face model; name another folder")
    if path.exists():
        raise UserError(f"{name} is a file; pretrained= takes a folder or a hub id such as llava-hf/llava-1.5-7b-hf")
    if name.startswith((".", "/", "~")) or not HUB_ID.fullmatch(name):
        raise UserError(f"there is no folder {name} (pretrained=); check the path, or give a hub id like owner/name")


def _adapter_here(name: str, *, folder: Path) -> UserError:
    """What to say of a folder with an adapter where a model is wanted: transformers would put it on the weights."""
    weights = [path.name for path in sorted(folder.glob("*.safetensors*")) if not path.name.startswith("adapter_")]
    if not weights:
        return UserError(f"{name} is an adapter, not a model; give its base as pretrained=... and this as peft={name}")
    adapters = [path.name for path in sorted(folder.glob("adapter_*"))]
    return UserError(
        f"{name} holds weights ({weights[0]}) and an adapter ({', '.join(adapters)}), which may be merged into "
        "the weights already; move one of them to a folder of its own, and name that as pretrained=... or peft=..."
    )


def _config(spec: ModelSpec) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(spec.pretrained, **_source(spec))
    _dtype(spec, config=config)
    return config


def _skeleton(spec: ModelSpec) -> None:
    """Makes the model without its weights: what fails is at fault in its configuration."""
    from transformers import GenerationConfig

    config = _config(spec)
    skeleton(_auto(config), config=config)
    if (Path(spec.pretrained) / "generation_config.json").is_file():
        GenerationConfig.from_pretrained(spec.pretrained)


def _tokens(spec: ModelSpec, *, config: Any) -> tuple[Any, Any | None]:
    """Tokenizer and processor, which have read and written a word."""
    tokenizer, processor = tokenizer_and_processor(spec, config=config, source=_source(spec))
    tokenizer.decode(tokenizer.encode("a"), skip_special_tokens=True)
    int(min(tokenizer.model_max_length, 2**20))
    return tokenizer, processor


def _settings(spec: ModelSpec, *, tokenizer: Any) -> None:
    from transformers import GenerationConfig

    check_settings(GenerationConfig.from_pretrained(spec.pretrained), tokenizer=tokenizer)


def _auto(config: Any) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForImageTextToText if is_image_text(config) else AutoModelForCausalLM


def _source(spec: ModelSpec) -> dict[str, Any]:
    return {"revision": spec.revision or "main", "trust_remote_code": spec.trust_remote_code}


def _weights(spec: ModelSpec, *, config: Any, family: Any) -> Any:
    dtype = _dtype(spec, config=config)
    device = None if spec.device_map else spec.target_device()
    kwargs: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, **_source(spec)}
    quantisation = quantisation_config(spec, family=family, config=config, dtype=dtype)
    is_packed = quantisation is not None or stored_quantisation(config) is not None
    if stored_quantisation(config) is None and Path(spec.pretrained).is_dir():
        require_weights(
            Path(spec.pretrained),
            model_class=_auto(config),
            config=config,
            trust_remote_code=spec.trust_remote_code,
        )
    if quantisation is not None:
        kwargs["quantization_config"] = quantisation
    if is_packed and device is not None:
        kwargs["device_map"] = {"": str(device)}
    if spec.device_map is not None:
        kwargs["device_map"] = spec.device_map
    if spec.attn_implementation is not None:
        kwargs["attn_implementation"] = spec.attn_implementation
    # Otherwise transformers writes the shapes that differ to its log, and raises without them.
    kwargs["ignore_mismatched_sizes"] = True
    model, info = _auto(config).from_pretrained(spec.pretrained, output_loading_info=True, **kwargs)
    if getattr(model, "_hf_peft_config_loaded", False):
        # Of a local folder this was said before anything was loaded.
        raise UserError(
            f"{spec.pretrained} holds weights (config.json) and an adapter (adapter_config.json), which may be "
            "merged into the weights already; download it and move one of them to a folder of its own"
        )
    _check_weights(spec, info)
    if is_packed:
        prepare_quantised(model)
    return model if device is None or is_packed else model.to(device)


def _check_weights(spec: ModelSpec, info: Mapping[str, Any]) -> None:
    """Raises UserError for weights that are missing, or that have another shape than the configuration says."""
    if info["mismatched_keys"]:
        name, stored, wanted = sorted(info["mismatched_keys"])[0]
        raise UserError(
            f"{spec.pretrained}: {len(info['mismatched_keys'])} weights have another shape than config.json says, e.g. "
            f"{name} is {tuple(stored)} and should be {tuple(wanted)}; {ADVICE}"
        )
    if info["missing_keys"]:
        names = ", ".join(sorted(info["missing_keys"])[:5])
        raise UserError(
            f"{spec.pretrained}: {len(info['missing_keys'])} weights are missing, e.g. {names}; "
            "the checkpoint is incomplete or of another architecture than its config.json says"
        )


def _dtype(spec: ModelSpec, *, config: Any) -> torch.dtype:
    if spec.dtype != "auto":
        return DTYPES[spec.dtype]
    stored = config.dtype or config.get_text_config().dtype or torch.float32
    dtype = getattr(torch, stored, None) if isinstance(stored, str) else stored
    if dtype not in (*DTYPES.values(), torch.float64):
        raise UserError(f"{spec.pretrained}: config.json has dtype {shortened(stored)}; give dtype=float32 or another")
    return dtype


@contextmanager
def _explained(
    spec: ModelSpec, *, files: Sequence[str] = (), attempt: Callable[[ModelSpec], object] | None = None
) -> Iterator[None]:
    """Turns what transformers and the hub raise into a message that says what to do next.

    Args:
        files: of the model's folder, those that are read inside.
        attempt: what is done inside, done again: it finds out which key of the files is at fault.
    """
    from safetensors import SafetensorError

    try:
        yield
    except UserError:
        raise
    except SafetensorError as error:
        raise UserError(f"{spec.pretrained}: the weights are damaged ({one_line(error)}); {ADVICE}") from error
    except ImportError as error:
        raise UserError(f"{spec.pretrained} needs a package that cannot be used here: {one_line(error)}") from error
    except BaseException as error:
        # A wrong value can raise anything.
        if not is_fault(error):
            raise
        fault = _explanation(spec, error=error) or _fault_in(spec, error=error, files=files, attempt=attempt)
        raise UserError(fault) from error


def _fault_in(
    spec: ModelSpec, *, error: BaseException, files: Sequence[str], attempt: Callable[[ModelSpec], object] | None
) -> str:
    """What to say of an error that only the files of a model can explain: the key at fault, or the files."""
    where, present = None, list(files)
    with suppress(OSError, UserError):
        folder = model_folder(spec.pretrained, revision=spec.revision)
        present = [name for name in files if (folder / name).is_file()]
        if attempt is not None and not spec.trust_remote_code:
            where = blamed(
                folder, files=present, attempt=lambda copy: attempt(replace(spec, pretrained=str(copy), revision=None))
            )
    said = f"{type(error).__name__}: {one_line(error)[:300]}"
    return f"{spec.pretrained} cannot be loaded: {where or ' or '.join(present) or 'its files'} ({said}); {ADVICE}"


def _explanation(spec: ModelSpec, *, error: BaseException) -> str | None:
    """What to say of errors that do not lie in the files; None for any other."""
    names = {type(cause).__name__ for cause in _causes(error)}
    name, text = spec.pretrained, one_line(error)
    local = Path(name).expanduser().is_dir()
    if isinstance(error, torch.OutOfMemoryError):
        return f"{name} does not fit into the memory of the device; use load_in_4bit=True or device_map=auto ({text})"
    if "trust_remote_code" in text:
        return f"{name} brings its own code; if you trust its authors add trust_remote_code=True, which runs that code"
    if "GatedRepoError" in names:
        return f"{name} is gated on the hub; accept its licence there and log in with `hf auth login`"
    if "RevisionNotFoundError" in names:
        return f"{name} has no revision '{spec.revision}'; give an existing branch, tag or commit"
    if "RepositoryNotFoundError" in names:
        return (
            f"{name} is neither a local folder nor a repository on the hub; check the name, or log in if it is private"
        )
    if not local and (names & OFFLINE or "couldn't connect" in text):
        why = "HF_HUB_OFFLINE is set" if _is_offline() else "there is no network"
        return (
            f"{name} is not a local folder, not in the Hugging Face cache, and the hub cannot be asked ({why}); "
            "give the path of a local folder, --model micro, or run once with a network"
        )
    if "safetensors" in text:
        return (
            f"{name} holds no safetensors weights, and pickled ones are not loaded, since they can run code; name a "
            f"folder or revision that has them, e.g. revision=refs/pr/N on the hub ({text})"
        )
    return None


OFFLINE = frozenset(
    {"OfflineModeIsEnabled", "LocalEntryNotFoundError", "ConnectionError", "ConnectError", "ConnectTimeout"}
)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("TRANSFORMERS_OFFLINE") == "1"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
