"""Every model type of transformers as a tiny random model: does mmforget score and write as Hugging Face does?

    python tools/sweep_models.py --out sweep.jsonl --limit 50     # the next 50 types; again for those after
    python tools/sweep_models.py --out sweep.jsonl --table docs/models.md

Each type is built in a child process of its own, with a time limit. A type that no tiny configuration builds is listed
with what was in the way. Scores are compared with the model's own forward, text with its own `generate`, one question
at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from transformers.models.auto.configuration_auto import CONFIG_MAPPING  # noqa: E402
from transformers.models.auto.modeling_auto import (  # noqa: E402
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from mmforget.errors import UserError, one_line  # noqa: E402
from mmforget.model.encode import encode, encode_prompt  # noqa: E402
from mmforget.model.generation import generate  # noqa: E402
from mmforget.model.load import ModelSpec, load_model  # noqa: E402
from mmforget.model.loaded import LoadedModel  # noqa: E402
from mmforget.model.scoring import score  # noqa: E402
from tests import tiny_models  # noqa: E402
from tests.helpers import tiny_image, tiny_llava, tiny_tokenizer  # noqa: E402

TIMEOUT_S = 90
NAMES: dict[int, str] = {
    32: "hidden_size d_model n_embd dim model_dim embedding_size word_embed_proj_dim",
    64: "intermediate_size ffn_dim d_ff n_inner dff decoder_ffn_dim ffn_hidden_size",
    2: "num_hidden_layers n_layer num_layers n_layers decoder_layers num_decoder_layers num_key_value_heads "
    "num_kv_heads num_experts_per_tok moe_topk moe_k linear_num_key_heads",
    4: "num_attention_heads n_head n_heads num_heads decoder_attention_heads num_experts num_local_experts "
    "n_routed_experts moe_num_experts linear_num_value_heads",
    256: "max_position_embeddings n_positions n_ctx max_seq_len seq_length",
    16: "moe_intermediate_size shared_expert_intermediate_size expert_ffn_hidden_size q_lora_rank kv_lora_rank "
    "state_size mamba_d_state rotary_dim",
    8: "head_dim qk_nope_head_dim qk_rope_head_dim v_head_dim attention_head_dim linear_key_head_dim "
    "linear_value_head_dim mamba_n_heads mamba_d_head",
    1: "n_group topk_group n_groups first_k_dense_replace n_shared_experts mamba_n_groups num_mem_blocks bos_token_id",
}
SIZES: dict[str, Any] = {name: size for size, names in NAMES.items() for name in names.split()} | {
    **{"attn_layer_indices": [1], "attn_layer_period": 2, "attn_layer_offset": 1, "full_attention_interval": 2},
    **{"attention_types": [[["global", "local"], 1]], "full_attn_idxs": [1]},
    **{"vocab_size": 400, "eos_token_id": 2, "pad_token_id": 0, "is_decoder": True, "dropout": 0.0, "use_cache": True},
}
"""What a tiny configuration has under the names that configurations use."""
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"num_key_value_heads": 4, "num_kv_heads": 4},
    {"head_dim": None, "rotary_dim": 4},
    {"num_key_value_heads": 4, "head_dim": None, "num_hidden_layers": 4},
    {"num_hidden_layers": 4, "n_layer": 4, "num_layers": 4},
    {"layer_types": ["linear_attention", "full_attention"]},
    {"layer_types": ["mamba", "attention"]},
    {"layer_types": ["conv", "full_attention"]},
    {"num_heads": 8, "num_attention_heads": 8, "head_dim": 8, "n_groups": 1, "state_size": 8},
)
"""Changes of `SIZES` that are tried in turn; None leaves a key to its default."""
IMAGE_TEXT: dict[str, Any] = {
    "llava": tiny_llava,
    "llava_next": tiny_models.tiny_llava_next,
    "qwen2_vl": tiny_models.tiny_qwen_vl,
    "qwen2_5_vl": lambda folder: tiny_models.tiny_qwen_vl(folder, version="2.5"),
    "idefics3": tiny_models.tiny_idefics3,
    "gemma3": tiny_models.tiny_gemma3,
}
"""Image-text types whose processor is made here, too."""
QUESTIONS = (
    ("what is the name of this person?", " Anna Meier is the person in the picture."),
    ("what is the name of this person?", " she lives in Bern"),
    ("what is the name of this dog?", " asthma."),
    ("who pays?", " the green cross pays 120 dollars a month."),
)
TOLERANCE = 1e-4


def all_types() -> list[tuple[str, str]]:
    """Every type with what it is: `causal` or `image-text`."""
    images = dict.fromkeys(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES, "image-text")
    return sorted((dict.fromkeys(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, "causal") | images).items())


def measure(kind: str, modality: str, folder: Path) -> dict[str, Any]:
    """What happened to one type, as a line of the table."""
    found: dict[str, Any] = {"type": kind, "modality": modality}
    try:
        build(kind, modality, folder)
    except Exception as error:
        return found | {"built": False, "why": f"{type(error).__name__}: {one_line(error)[:160]}"}
    try:
        loaded = load_model(ModelSpec(str(folder), device="cpu"))
    except UserError as error:
        return found | {"built": True, "refused": one_line(error).replace(str(folder), "it")}
    try:
        return found | {"built": True} | compare(loaded, modality)
    except Exception as error:
        return found | {
            "built": True,
            "why": f"{type(error).__name__}: {one_line(error)[:300]}".replace(f"{folder}", "it"),
        }


def build(kind: str, modality: str, folder: Path) -> None:
    if modality == "image-text":
        if kind not in IMAGE_TEXT:
            raise NotImplementedError("no tiny processor for it is made here")
        IMAGE_TEXT[kind](folder)
        return
    faults = []
    for variant in VARIANTS:
        try:
            model = tiny(kind, SIZES | variant)
            ids = torch.arange(4, 20)[None]
            with torch.no_grad():
                model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, pad_token_id=0)
                if not bool(model(input_ids=ids, use_cache=False).logits.isfinite().all()):
                    raise ValueError("its logits are not finite")
            model.save_pretrained(folder)
            tiny_tokenizer().save_pretrained(folder)
            return
        except Exception as error:
            faults.append(error)
    raise faults[0]


def tiny(kind: str, sizes: dict[str, Any]) -> Any:
    """A random model of a type, with weights larger than usual, so that wordings change its answers."""
    known = CONFIG_MAPPING[kind]().to_dict()
    given = {name: value for name, value in sizes.items() if name in known and value is not None}
    config = CONFIG_MAPPING[kind](**given)
    with torch.device("meta"):
        whole = transformers.AutoModelForCausalLM.from_config(config)
    if sum(weight.numel() for weight in whole.parameters()) > 2e7:
        raise ValueError("its configuration has no small size under the usual names")
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(4)
    return model


def compare(loaded: LoadedModel, modality: str) -> dict[str, Any]:
    images = [tiny_image(1)] if modality == "image-text" else []
    before = f"{loaded.image_text}\n" if images else ""
    if images and loaded.family.NAME == "qwen_vl":
        before = f"<|vision_start|>{loaded.image_text}<|vision_end|>\n"
    encoded = [encode(loaded, before + question, answer, images) for question, answer in QUESTIONS]
    prompts = [encode_prompt(loaded, before + question, images) for question, _ in QUESTIONS]
    inputs = [_inputs(loaded, before + question + answer, images) for question, answer in QUESTIONS]
    asked = [_inputs(loaded, before + question, images) for question, _ in QUESTIONS]
    with torch.no_grad():
        scored = score(loaded, encoded).token_logprobs
        wanted = [
            _logprobs(loaded, one, num_context=whole.num_context) for one, whole in zip(inputs, encoded, strict=True)
        ]
        difference = max(float((row[: len(one)] - one).abs().max()) for row, one in zip(scored, wanted, strict=True))
        texts = generate(loaded, prompts, max_new_tokens=8)
        own = [_text(loaded, one) for one in asked]
    return {
        "shares": loaded.shares_prefixes,
        "continues": loaded.continues_prefixes,
        "score_difference": difference,
        "texts_equal": sum(one == other for one, other in zip(texts, own, strict=True)),
        "texts": len(own),
    }


def _inputs(loaded: LoadedModel, text: str, images: Sequence[Any]) -> dict[str, Any]:
    if loaded.processor is None:
        return {"input_ids": loaded.tokenizer(text, return_tensors="pt")["input_ids"]}
    return dict(loaded.processor(text=text, images=list(images) or None, return_tensors="pt"))


def _logprobs(loaded: LoadedModel, inputs: dict[str, Any], *, num_context: int) -> torch.Tensor:
    ids = inputs["input_ids"][0]
    logprobs = loaded.core(**inputs, use_cache=False).logits[0].float().log_softmax(-1)
    return logprobs[num_context - 1 : -1].gather(-1, ids[num_context:, None])[:, 0]


def _text(loaded: LoadedModel, inputs: dict[str, Any]) -> str:
    if "attention_mask" not in inputs:
        inputs = inputs | {"attention_mask": torch.ones_like(inputs["input_ids"])}
    output = loaded.core.generate(**inputs, max_new_tokens=8, do_sample=False, pad_token_id=0)
    new = output[0, inputs["input_ids"].shape[1] :]
    return str(loaded.tokenizer.decode(new, skip_special_tokens=True))


def guarded(kind: str, modality: str) -> dict[str, Any]:
    """`measure` in a child process, ended where it takes too long."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with tempfile.TemporaryDirectory(prefix="sweep-") as place:
            line = json.dumps(measure(kind, modality, Path(place) / "model"))
        os.write(write, line.encode())
        os._exit(0)
    os.close(write)
    ready, _, _ = select.select([read], [], [], TIMEOUT_S)
    if not ready:
        os.kill(child, signal.SIGKILL)
    text = os.fdopen(read).read()
    _, status = os.waitpid(child, 0)
    if text:
        return dict(json.loads(text))
    why = f"took longer than {TIMEOUT_S} s" if not ready else f"ended with status {status}"
    return {"type": kind, "modality": modality, "built": False, "why": why}


def sweep(out: Path, *, limit: int | None, types: Sequence[str]) -> None:
    done = {line["type"] for line in lines(out)}
    left = [one for one in all_types() if one[0] not in done and (not types or one[0] in types)]
    for kind, modality in left[:limit]:
        found = guarded(kind, modality)
        with out.open("a") as file:
            file.write(json.dumps(found) + "\n")
        print(json.dumps(found), flush=True)
    print(f"{max(0, len(left) - (limit or len(left)))} types left")


def lines(out: Path) -> Iterator[dict[str, Any]]:
    if out.exists():
        yield from map(json.loads, out.read_text().splitlines())


def table(out: Path) -> str:
    found = sorted(lines(out), key=lambda line: str(line["type"]))
    compared = [line for line in found if "texts" in line]
    refused = [line for line in found if "refused" in line]
    failed = [line for line in found if line["built"] and not {"texts", "refused"} & line.keys()]
    rest = [line for line in found if not line["built"]]
    rows = [f"| `{line['type']}` | {_way(line)} | {_scores(line)} | {_texts(line)} |" for line in compared]
    return "\n".join(
        [
            "# Model types",
            "",
            "Every type that `AutoModelForCausalLM` and `AutoModelForImageTextToText` of transformers "
            f"{transformers.__version__} know, built as a tiny random model and compared, one question at a time, with "
            "its own forward and its own greedy `generate` (`python tools/sweep_models.py`). *together* means that "
            "what questions begin with is computed once; *each alone* is slower and gives the same numbers. The same "
            "trial runs when a model is loaded, so a type that is not listed is used rightly, too, or refused.",
            "",
            "| type | scores / text are computed | scores | text |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Refused when loaded",
            "",
            *(f"- `{line['type']}`: {line['refused']}" for line in refused),
            *["", "## Loaded, and then raised", ""][: 3 * bool(failed)],
            *(f"- `{line['type']}`: {line['why']}" for line in failed),
            "",
            "## Not built by this sweep",
            "",
            "No statement is made about these; loading tries them as any other.",
            "",
            *(f"- `{line['type']}` ({line['modality']}): {line['why']}" for line in rest),
            "",
        ]
    )


def _way(line: dict[str, Any]) -> str:
    return " / ".join("together" if line[name] else "each alone" for name in ("shares", "continues"))


def _scores(line: dict[str, Any]) -> str:
    difference = line["score_difference"]
    return "equal" if difference <= TOLERANCE else f"**differ by {difference:.2g}**"


def _texts(line: dict[str, Any]) -> str:
    return "equal" if line["texts_equal"] == line["texts"] else f"**{line['texts_equal']} of {line['texts']} equal**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="what has been found, one JSON object a line")
    parser.add_argument("--limit", type=int, help="at most so many types in this call")
    parser.add_argument("--types", default="", help="only these, separated by commas")
    parser.add_argument("--table", type=Path, help="write the table of what has been found, and measure nothing")
    given = parser.parse_args()
    if given.table is not None:
        given.table.write_text(table(given.out))
        return
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    sweep(given.out, limit=given.limit, types=[one for one in given.types.split(",") if one])


if __name__ == "__main__":
    main()
