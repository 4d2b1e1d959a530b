"""The one trial that decides whether an unknown model's sequences share prefixes: right, reported, and unnoticed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from model_questions import encode_all, largest_difference, logprobs, plain_logprobs, text_only, train
from transformers import (
    DeepseekV2Config,
    DeepseekV3Config,
    DiffLlamaConfig,
    FalconConfig,
    GPT2Config,
    HrmTextConfig,
    MistralConfig,
    Olmo2Config,
    RwkvConfig,
)
from transformers.models.olmo2.modeling_olmo2 import Olmo2ForCausalLM, Olmo2Model

from mmforget.errors import UserError
from mmforget.model import selfcheck
from mmforget.model.encode import encode_prompt
from mmforget.model.families import other_text, text
from mmforget.model.generation import generate
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.lora import LoraSettings, attach, load_adapter, save_adapter
from mmforget.model.scoring import score
from tests.helpers import tiny_llama
from tests.tiny_models import tiny_text


@pytest.fixture(autouse=True)
def nothing_said() -> None:
    selfcheck._say.cache_clear()


@pytest.fixture(scope="module")
def olmo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text(tmp_path_factory.mktemp("models") / "olmo", Olmo2Config)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(one.levelno, one.getMessage()) for one in caplog.records if one.name == selfcheck.__name__]


def test_what_passes_is_said_once(olmo: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mmforget"):
        for _ in range(2):
            assert load_model(ModelSpec(str(olmo))).shares_prefixes
    ((level, message),) = said(caplog)
    assert level == logging.INFO
    assert "model type 'olmo2': it passed the check for shared prefixes" in message
    assert "computed once" in message


def test_what_fails_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_text(tmp_path, FalconConfig, alibi=False)
    for _ in range(2):
        loaded = load_model(ModelSpec(str(folder)))
    assert not loaded.shares_prefixes
    assert loaded.family is other_text
    assert loaded.core.config._attn_implementation == "sdpa"
    ((level, message),) = said(caplog)
    assert level == logging.WARNING
    assert "model type 'falcon': it failed the check for shared prefixes (log-probs differ by" in message
    assert "computed one by one" in message


LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 12}
EXPERTS = {"n_routed_experts": 4, "num_experts_per_tok": 2, "topk_group": 1, "moe_intermediate_size": 16}
DECODED: dict[str, tuple[Any, dict[str, Any], bool]] = {
    "two attention calls a layer": (DiffLlamaConfig, {}, False),
    "layers gone through more than once": (HrmTextConfig, {}, False),
    "values narrower than keys": (
        DeepseekV3Config,
        {**LATENT, **EXPERTS, "n_group": 2, "num_key_value_heads": 4},
        True,
    ),
    "values of another width than keys, in groups": (
        DeepseekV2Config,
        {**LATENT, **EXPERTS, "n_group": 1, "num_key_value_heads": 4, "head_dim": 8},
        True,
    ),
}


@pytest.mark.parametrize("name", DECODED)
def test_text_is_that_of_generate_where_scores_agree(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kind, settings, continues = DECODED[name]
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path, kind, **settings))))
    assert loaded.shares_prefixes
    assert loaded.continues_prefixes == continues
    warned = [message for level, message in said(caplog) if level == logging.WARNING]
    assert len(warned) == (not continues)
    assert all("it failed the check for shared prompts (log-probs differ by" in message for message in warned)
    prompts = [encode_prompt(loaded, one.context) for one in text_only()[::4]] + [encode_prompt(loaded, "what is her")]
    wanted = [
        loaded.model.generate(torch.tensor([one.ids]), max_new_tokens=8, do_sample=False)[0, len(one) :].tolist()
        for one in prompts
    ]
    assert generate(loaded, prompts, max_new_tokens=8) == loaded.tokenizer.batch_decode(
        wanted, skip_special_tokens=True
    )


def test_sequences_that_padding_would_change_are_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RWKV reads what stands in front of a shorter prompt, whatever the mask says."""
    folder = tiny_text(tmp_path, RwkvConfig, attention_hidden_size=32, context_length=256)
    loaded = load_model(ModelSpec(str(folder)))
    assert not loaded.pads
    questions = text_only()
    with torch.no_grad():
        found = score(loaded, encode_all(loaded, questions)).token_logprobs
        assert largest_difference(found, [plain_logprobs(loaded, question) for question in questions]) < 1e-5
    assert any("padding changes its numbers" in message for _, message in said(caplog))
    prompts = [encode_prompt(loaded, text) for text in ("who?", "what is the name of this person?", "where does she")]
    wanted = [
        loaded.model.generate(torch.tensor([one.ids]), max_new_tokens=8, do_sample=False)[0, len(one) :].tolist()
        for one in prompts
    ]
    texts = loaded.tokenizer.batch_decode(wanted, skip_special_tokens=True)
    assert generate(loaded, prompts, max_new_tokens=8) == texts


def test_what_a_configuration_rules_out_is_not_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selfcheck, "_probe", None)
    folder = tiny_text(tmp_path, MistralConfig, sliding_window=8)
    with caplog.at_level(logging.INFO, logger="mmforget"):
        assert not load_model(ModelSpec(str(folder))).shares_prefixes
    assert "model type 'mistral': its layers see the last 8 tokens only" in said(caplog)[0][1]


def test_known_types_are_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfcheck, "_probe", None)
    assert load_model(ModelSpec(str(tiny_llama(tmp_path)))).shares_prefixes


def test_the_outcome_is_remembered(olmo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under an adapter, after training, and with an adapter from a file: nothing is tried again."""
    loaded = load_model(ModelSpec(str(olmo)))
    monkeypatch.setattr(selfcheck, "_probe", None)
    before = logprobs(loaded)
    adapted = train(attach(loaded, LoraSettings(r=2)))
    assert adapted.shares_prefixes
    questions = text_only()
    wanted = [plain_logprobs(adapted, question).detach() for question in questions]
    with torch.no_grad():
        found = score(adapted, encode_all(adapted, questions)).token_logprobs
    assert largest_difference(found, wanted) < 1e-5
    assert float((found - before).abs().max()) > 1e-3
    folder = save_adapter(adapted, tmp_path / "adapter")
    monkeypatch.undo()
    again = load_adapter(load_model(ModelSpec(str(olmo))), folder)
    assert again.shares_prefixes
    assert torch.equal(logprobs(again), found)


def test_with_an_unmerged_adapter(olmo: Path, tmp_path: Path) -> None:
    adapter = save_adapter(train(attach(load_model(ModelSpec(str(olmo))), LoraSettings(r=2))), tmp_path / "adapter")
    loaded = load_model(ModelSpec(str(olmo), peft=str(adapter)))
    assert loaded.shares_prefixes
    assert loaded.family is text


@pytest.mark.parametrize("settings", [{"load_in_4bit": True}, {"load_in_8bit": True}, {"dtype": "bfloat16"}])
def test_in_lower_precision(olmo: Path, settings: dict[str, Any]) -> None:
    pytest.importorskip("bitsandbytes")
    loaded = load_model(ModelSpec(str(olmo), device="cpu", **settings))
    assert loaded.shares_prefixes
    assert loaded.family is text


def test_rows_that_are_not_heard_of_fail_in_lower_precision_too(tmp_path: Path) -> None:
    folder = tiny_text(tmp_path, FalconConfig, alibi=False)
    assert not load_model(ModelSpec(str(folder), dtype="bfloat16")).shares_prefixes


def test_nobody_notices(olmo: Path) -> None:
    """Random numbers go on as without the trial, and nothing is left in training or with a gradient."""
    torch.manual_seed(5)
    loaded = load_model(ModelSpec(str(olmo)))
    state = torch.get_rng_state()
    loaded = selfcheck.settle(loaded)
    assert torch.equal(torch.get_rng_state(), state)
    assert not loaded.model.training
    assert all(weight.grad is None for weight in loaded.model.parameters())


def test_a_model_whose_layers_raise(olmo: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    """Custom code that takes no arguments it does not know."""
    plain = Olmo2Model.forward

    def strict(self: Any, input_ids: Any = None, attention_mask: Any = None, use_cache: Any = None, **rest: Any) -> Any:
        if "rows" in rest:
            raise TypeError("unexpected keyword\n argument 'rows'")
        return plain(self, input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache, **rest)

    monkeypatch.setattr(Olmo2Model, "forward", strict)
    loaded = load_model(ModelSpec(str(olmo)))
    assert not loaded.shares_prefixes
    assert "(TypeError: unexpected keyword argument 'rows')" in said(caplog)[0][1]
    questions = text_only()
    wanted = [plain_logprobs(loaded, question).detach() for question in questions]
    with torch.no_grad():
        assert largest_difference(score(loaded, encode_all(loaded, questions)).token_logprobs, wanted) < 1e-5


def test_a_head_that_adds_something_small(olmo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capped logits are told from others although they differ by less than bfloat16 rounds."""
    plain = Olmo2ForCausalLM.forward

    def capped(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(self, *args, **kwargs)
        output.logits = 200 * (output.logits / 200).tanh()
        return output

    monkeypatch.setattr(Olmo2ForCausalLM, "forward", capped)
    for dtype in ("float32", "bfloat16"):
        loaded = load_model(ModelSpec(str(olmo), dtype=dtype))
        assert loaded.family is other_text
        assert loaded.shares_prefixes


def test_a_text_model_that_reads_in_both_directions(olmo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token sees the last one."""
    plain = Olmo2ForCausalLM.forward

    def changed(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = plain(self, *args, **kwargs)
        output.logits = output.logits + output.logits[:, -1:]
        return output

    monkeypatch.setattr(Olmo2ForCausalLM, "forward", changed)
    with pytest.raises(UserError, match="model type 'olmo2' reads text in both directions .log-probs differ by"):
        load_model(ModelSpec(str(olmo)))


def test_a_model_that_cannot_be_called(olmo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Olmo2Model, "forward", None)
    with pytest.raises(UserError, match="model type 'olmo2' gives no logits for token ids: TypeError"):
        load_model(ModelSpec(str(olmo)))


def test_the_trial_sequences_share_beginnings(tmp_path: Path) -> None:
    """One root, a branch that forks, and one that ends where another goes on; no special token."""
    loaded = load_model(ModelSpec(str(tiny_text(tmp_path, GPT2Config, n_embd=32, n_layer=2, n_head=4))))
    first, left, right, inner, last = (one.ids for one in selfcheck._probe(loaded))
    root = first[: selfcheck.NUM_SHARED]
    assert all(ids[: len(root)] == root for ids in (left, right, inner, last))
    assert left[: len(inner)] == right[: len(inner)] == inner
    assert len({ids[len(root)] for ids in (first, inner, last)}) == 3
    assert not set(loaded.tokenizer.all_special_ids) & {*first, *left, *right, *last}


OWN_CODE = """
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig


class SumsForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        \"\"\"Each token sees the sum of all before it: no attention, and nothing to tell about rows.\"\"\"
        states = self.model.embed_tokens(input_ids).cumsum(1)
        return CausalLMOutputWithPast(logits=self.lm_head(states))
"""


@pytest.mark.parametrize("name", ["OwnForCausalLM", "SumsForCausalLM"])
def test_code_that_comes_with_the_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tiny_llama(tmp_path / "model")
    (folder / "own.py").write_text(OWN_CODE)
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": f"own.{name}"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": code}))
    loaded = load_model(ModelSpec(str(folder), trust_remote_code=True))
    assert type(loaded.core).__name__ == name
    assert loaded.shares_prefixes == (name == "OwnForCausalLM")
    assert loaded.family is (text if loaded.shares_prefixes else other_text)
    questions = text_only()
    wanted = [plain_logprobs(loaded, question).detach() for question in questions]
    with torch.no_grad():
        assert largest_difference(score(loaded, encode_all(loaded, questions)).token_logprobs, wanted) < 1e-5
