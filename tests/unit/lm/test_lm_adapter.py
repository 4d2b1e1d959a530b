"""The adapter against plain Hugging Face forwards and generation, and all that lm_eval may ask of it."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.model import CachingLM
from lm_requests import adapter, request
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from mmforget.attacks.blank_image import BlankImage
from mmforget.attacks.picturing import blank
from mmforget.errors import BadData, RunFailed, UserError
from mmforget.lm import batching
from mmforget.lm.adapter import MMForgetLM
from mmforget.lm.cache import ResponseCache
from mmforget.model.chat import render_chat
from mmforget.model.encode import Encoded, encode, encode_prompt
from mmforget.model.feature_cache import FeatureCache
from mmforget.types import TokenScores
from tests.helpers import tiny_image, tiny_llama, tiny_llava

QUESTION = "<image>\nwhat is the name of this person?"


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("llama"))


def plain_image_scores(folder: Path, context: str, answer: str, images: list[Any]) -> tuple[list[float], bool]:
    """Log-probs of the answer's tokens from the stock processor and one forward pass, nothing of ours in between."""
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    whole = processor(text=context + answer, images=images, return_tensors="pt")
    num_context = processor(text=context, images=images, return_tensors="pt")["input_ids"].shape[1]
    with torch.no_grad():
        logprobs = model(**whole).logits[0].float().log_softmax(-1)
    ids = whole["input_ids"][0]
    at = range(num_context, len(ids))
    values = [float(logprobs[position - 1, ids[position]]) for position in at]
    return values, all(int(logprobs[position - 1].argmax()) == int(ids[position]) for position in at)


def mixed_requests() -> list[Any]:
    """Five questions with one image, with two, and without, one after the other."""
    two = "<image> and <image>\nwho is older?"
    return [
        request("loglikelihood", QUESTION, " Anna Meier is the person in the picture.", images=[tiny_image(1)]),
        request("loglikelihood", "what is his blood type?", " his blood type is o positive."),
        request("loglikelihood", QUESTION, " she lives in Bern.", images=[tiny_image(1)]),
        request("loglikelihood", two, " Anna.", images=[tiny_image(1), tiny_image(2)]),
        request("loglikelihood", QUESTION, " Anna.", images=[tiny_image(2)]),
    ]


@pytest.mark.parametrize("batch_size", [1, 8])
@pytest.mark.parametrize("packed", [True, False])
def test_image_log_likelihood_equals_a_plain_forward(llava: Path, batch_size: int, packed: bool) -> None:
    lm = adapter(llava, batch_size=batch_size, packed=packed)
    requests = mixed_requests()
    for one, found in zip(requests, lm.loglikelihood(requests), strict=True):
        images = one.args[2]["visual"] if len(one.args) == 3 else None
        expected, greedy = plain_image_scores(llava, one.args[0], one.args[1], images)
        assert isinstance(found, TokenScores)
        assert found.token_logprobs == pytest.approx(expected, abs=1e-5)
        assert found[0] == pytest.approx(sum(expected), abs=1e-4)
        assert found[1] is greedy
    assert lm.engine.features.num_encoded == 2


@pytest.mark.parametrize("batch_size", [1, 8])
def test_with_a_chat_template_too(llava: Path, batch_size: int) -> None:
    lm = adapter(llava, batch_size=batch_size)
    context = lm.apply_chat_template([{"role": "user", "content": QUESTION}])
    assert context == "USER: <image>\nwhat is the name of this person? ASSISTANT:"
    requests = [
        request("loglikelihood", context, answer, images=[tiny_image(seed)])
        for seed in (1, 2)
        for answer in ("Anna Meier.", " his blood type.")
    ]
    for one, found in zip(requests, lm.loglikelihood(requests), strict=True):
        expected, _ = plain_image_scores(llava, context, one.args[1], one.args[2]["visual"])
        assert found.token_logprobs == pytest.approx(expected, abs=1e-5)


def test_trailing_blanks_belong_to_the_answer(llava: Path) -> None:
    lm = adapter(llava)
    spaced, tight = lm.loglikelihood(
        [
            request("loglikelihood", QUESTION + " ", "Anna.", images=[tiny_image(1)]),
            request("loglikelihood", QUESTION, " Anna.", images=[tiny_image(1)]),
        ]
    )
    assert spaced.token_logprobs == tight.token_logprobs


def test_an_empty_context_scores_behind_bos_and_ignores_the_image(llava: Path) -> None:
    lm = adapter(llava)
    with_image, without = lm.loglikelihood(
        [request("loglikelihood", "", " Anna.", images=[tiny_image(1)]), request("loglikelihood", "", " Anna.")]
    )
    assert with_image.token_logprobs == without.token_logprobs
    assert math.isfinite(without[0])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_generation_equals_plain_generate(llava: Path, batch_size: int, packed: bool) -> None:
    lm = adapter(llava, batch_size=batch_size, packed=packed)
    processor, model = AutoProcessor.from_pretrained(llava), AutoModelForImageTextToText.from_pretrained(llava).eval()
    settings = {"do_sample": False, "max_gen_toks": 12, "until": []}
    requests = [request("generate_until", QUESTION, settings, images=[tiny_image(seed)]) for seed in (1, 2, 1)]
    requests.append(request("generate_until", "where does she live?", settings))
    for one, found in zip(requests, lm.generate_until(requests), strict=True):
        images = one.args[2]["visual"] if len(one.args) == 3 else None
        inputs = processor(text=one.args[0], images=images, return_tensors="pt")
        with torch.no_grad():
            output = model.generate(**inputs, max_new_tokens=12, do_sample=False)
        expected = processor.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert found == expected


def test_generation_stops_at_until(llava: Path) -> None:
    lm = adapter(llava)
    whole = lm.generate_until([request("generate_until", QUESTION, {"max_gen_toks": 12}, images=[tiny_image(1)])])[0]
    stop = whole[3:5]
    cut = lm.generate_until(
        [request("generate_until", QUESTION, {"max_gen_toks": 12, "until": stop}, images=[tiny_image(1)])]
    )[0]
    assert cut == whole[: whole.index(stop)]


def test_rolling_equals_a_plain_forward_with_bos(llama: Path) -> None:
    lm = adapter(llama)
    text = "she lives in the town of Bern, in a small house by the river."
    tokenizer, model = AutoTokenizer.from_pretrained(llama), AutoModelForCausalLM.from_pretrained(llama).eval()
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]])
    with torch.no_grad():
        logprobs = model(ids).logits[0].log_softmax(-1)
    expected = float(logprobs[:-1].gather(1, ids[0, 1:, None]).sum())
    found = lm.loglikelihood_rolling([request("loglikelihood_rolling", text), request("loglikelihood_rolling", "")])
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1] == 0.0


def test_rolling_goes_over_a_text_longer_than_the_model(llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    """512 positions: 700 tokens need two windows, each token predicted once."""
    lm = adapter(llama)
    text = "a river by the town. " * 200
    num_tokens = len(lm.tok_encode(text, add_special_tokens=False))
    assert num_tokens > 600
    (score,) = lm.engine.rolling([text])
    assert len(score.token_logprobs) == num_tokens
    rolled = [request("loglikelihood_rolling", "a river"), request("loglikelihood_rolling", text, doc_id=1)]
    with caplog.at_level(logging.WARNING):
        assert lm.loglikelihood_rolling(rolled)[1].token_logprobs == score.token_logprobs
    windows = math.ceil(num_tokens / 512)
    said = f"1 of 2 documents are longer than the model's 512 tokens and read in {windows} windows of these"
    assert caplog.messages.count(said) == 1


def test_a_text_model_scores_like_a_plain_forward(llama: Path) -> None:
    lm = adapter(llama)
    tokenizer, model = AutoTokenizer.from_pretrained(llama), AutoModelForCausalLM.from_pretrained(llama).eval()
    context, answers = "what is his blood type?", [" o positive.", " his blood type is o positive."]
    found = lm.loglikelihood([request("loglikelihood", context, answer) for answer in answers])
    for answer, scores in zip(answers, found, strict=True):
        ids = tokenizer(context + answer, return_tensors="pt").input_ids
        begin = len(tokenizer(context).input_ids)
        with torch.no_grad():
            logprobs = model(ids).logits[0].log_softmax(-1)
        expected = [float(logprobs[at - 1, ids[0, at]]) for at in range(begin, ids.shape[1])]
        assert scores.token_logprobs == pytest.approx(expected, abs=1e-5)


def test_a_text_model_refuses_images_by_name(llama: Path) -> None:
    with pytest.raises(UserError, match="task toy"):
        adapter(llama).loglikelihood([request("loglikelihood", QUESTION, " a", images=[tiny_image(1)])])


def test_grey_images_answer_for_themselves(llava: Path) -> None:
    lm = adapter(llava)
    asked = [request("loglikelihood", QUESTION, " Anna.", images=[tiny_image(seed)]) for seed in (1, 2)]
    seen = lm.loglikelihood(asked)
    blanked = [answer for (answer,) in lm.attempts(asked, method="loglikelihood", attack=BlankImage().asks, label="")]
    (grey,) = lm.loglikelihood([request("loglikelihood", QUESTION, " Anna.", images=[blank((48, 48)).image])])
    assert blanked[0].token_logprobs == blanked[1].token_logprobs == grey.token_logprobs
    assert seen[0].token_logprobs != blanked[0].token_logprobs
    assert lm.loglikelihood(asked)[0] == seen[0]


def test_equal_requests_are_computed_once(llava: Path) -> None:
    lm = adapter(llava)
    once = adapter(llava)
    asked = request("loglikelihood", QUESTION, " Anna.", images=[tiny_image(1)])
    assert len(set(lm.loglikelihood([asked] * 5))) == 1
    once.loglikelihood([asked])
    assert lm.engine.num_tokens == once.engine.num_tokens
    assert lm.cost().num_requests == 5


def test_answers_come_from_the_cache_and_never_from_another_model(llava: Path, tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path / "cache.db")
    settings = {"max_gen_toks": 6}
    scored, generated = mixed_requests(), [request("generate_until", QUESTION, settings, images=[tiny_image(1)])]
    rolled = [request("loglikelihood_rolling", "a river")]
    first = adapter(llava, cache=cache)
    expected = (first.loglikelihood(scored), first.generate_until(generated), first.loglikelihood_rolling(rolled))
    again = adapter(llava, cache=ResponseCache(tmp_path / "cache.db"))
    assert (
        again.loglikelihood(scored),
        again.generate_until(generated),
        again.loglikelihood_rolling(rolled),
    ) == expected
    assert [a.token_logprobs for a in again.loglikelihood(scored)] == [a.token_logprobs for a in expected[0]]
    assert again.engine.num_tokens == 0
    assert again.cost().num_cached == again.cost().num_requests + 0 == 12
    other = adapter(tiny_llava(tmp_path / "other", seed=5), cache=cache)
    assert other.loglikelihood(scored) != expected[0]
    assert other.cost().num_cached == 0


def test_an_interrupted_run_continues_with_the_same_bits(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies after two batches; the next one computes only the rest and ends the same."""
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", 0)
    requests = [
        request("loglikelihood", QUESTION, answer, images=[tiny_image(seed)], doc_id=seed)
        for seed in range(6)
        for answer in (" Anna Meier.", " his blood type is o positive.", " Bern.")
    ]
    undisturbed = adapter(llava, batch_size=2)
    expected = [scores.token_logprobs for scores in undisturbed.loglikelihood(requests)]

    class Killed(Exception):
        pass

    cache = ResponseCache(tmp_path / "cache.db")
    broken = adapter(llava, batch_size=2, cache=cache)
    compute, calls = broken.engine.score, []

    def dies(*args: Any, **settings: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return compute(*args, **settings)

    broken.engine.score = dies  # type: ignore[method-assign]
    with pytest.raises(Killed):
        broken.loglikelihood(requests)
    kept = len(cache)
    assert 0 < kept < len(requests)
    resumed = adapter(llava, batch_size=2, cache=ResponseCache(tmp_path / "cache.db"))
    assert [scores.token_logprobs for scores in resumed.loglikelihood(requests)] == expected
    assert resumed.cost().num_cached == kept
    assert resumed.engine.features.num_encoded < 6


def test_interrupted_generation_continues_with_the_same_texts(
    llava: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five pictures with two questions each, a picture a batch; the process dies in the third batch."""
    monkeypatch.setattr(batching, "MIN_BATCH_TOKENS", 0)
    requests = [
        request("generate_until", f"<image>\n{text}", {"max_gen_toks": 12}, images=[tiny_image(seed)], doc_id=seed)
        for text in ("what is the name of this person?", "where does she live?")
        for seed in range(5)
    ]
    expected = adapter(llava, batch_size=2).generate_until(requests)
    broken = adapter(llava, batch_size=2, cache=ResponseCache(tmp_path / "cache.db"))
    compute, sizes = broken.engine.generate, []

    def dies(encoded: Any, **settings: Any) -> Any:
        sizes.append(len(encoded))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return compute(encoded, **settings)

    broken.engine.generate = dies  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.generate_until(requests)
    assert sizes == [2, 2, 2]
    resumed = adapter(llava, batch_size=2, cache=ResponseCache(tmp_path / "cache.db"))
    assert resumed.generate_until(requests) == expected
    assert resumed.cost().num_cached == 4
    assert resumed.engine.features.num_encoded == 3


def test_tokens_that_the_language_model_computed(llava: Path) -> None:
    """Counted with sets of beginnings: what requests share is computed once, new tokens but the last once each."""
    lm = adapter(llava)
    asked = [
        request("loglikelihood", QUESTION, answer, images=[tiny_image(seed)])
        for seed in (1, 2)
        for answer in (" Anna Meier.", " Anna lives in Bern.", " his blood type.")
    ]
    lm.loglikelihood(asked)
    ids = [encode(lm.loaded, *one.args[:2], one.args[2]["visual"]) for one in asked]
    assert lm.cost().num_tokens == distinct_tokens(ids)
    lm, settings = adapter(llava), {"max_gen_toks": 6, "until": []}
    asked = [
        request("generate_until", f"<image>\n{text}", settings, images=[tiny_image(1)])
        for text in ("who?", "where does she live?")
    ]
    lm.loaded.core.generation_config.eos_token_id = None
    lm.generate_until(asked)
    prompts = [encode_prompt(lm.loaded, one.args[0], one.args[2]["visual"]) for one in asked]
    assert lm.cost().num_tokens == distinct_tokens(prompts) + 2 * 5
    plain = adapter(llava, packed=False)
    plain.loaded.core.generation_config.eos_token_id = None
    plain.generate_until(asked)
    assert plain.cost().num_tokens == 2 * max(map(len, prompts)) + 2 * 5


def distinct_tokens(encoded: list[Encoded]) -> int:
    return len({(one.image_keys, one.ids[:size]) for one in encoded for size in range(1, len(one) + 1)})


def test_lm_evals_own_cache_finds_every_partial_answer(llava: Path, tmp_path: Path) -> None:
    """The hook is called with the request's own arguments, images included, so lm_eval's --use_cache resumes too."""
    requests = mixed_requests()
    expected = adapter(llava).loglikelihood(requests)
    lm = adapter(llava)
    caching = CachingLM(lm, str(tmp_path / "lm_eval.db"))
    lm.loglikelihood(requests[:3])
    caching.loglikelihood(requests)
    assert lm.cost().num_requests == 3 + 2
    assert [tuple(value) for value in caching.loglikelihood(requests)] == [tuple(value) for value in expected]


def test_a_model_of_nans_answers_with_nans(llava: Path) -> None:
    lm = adapter(llava)
    with torch.no_grad():
        for weight in lm.loaded.model.parameters():
            weight.fill_(math.nan)
    scores = lm.loglikelihood(mixed_requests())
    assert all(math.isnan(value) for found in scores for value in found.token_logprobs)
    assert not any(found[1] for found in scores)
    texts = lm.generate_until([request("generate_until", QUESTION, {"max_gen_toks": 4}, images=[tiny_image(1)])])
    assert isinstance(texts[0], str)


def test_made_from_lm_evals_model_arguments(llava: Path) -> None:
    config = {"batch_size": "4", "device": "cpu", "max_batch_size": None}
    lm = MMForgetLM.create_from_arg_string(f"pretrained={llava},dtype=float32,packed=False", config)
    same = MMForgetLM.create_from_arg_obj({"pretrained": str(llava), "dtype": "float32"}, config)
    assert (lm.batch_size, lm.engine.packed, same.engine.packed) == (4, False, True)
    assert str(same.device) == "cpu"
    info = lm.get_model_info()
    assert info["model_args"] == f"pretrained={llava.name},dtype=float32,device=cpu"
    assert info["model_sha"] == same.loaded.fingerprint
    most = {"batch_size": "auto", "max_batch_size": 8}
    assert MMForgetLM.create_from_arg_string(f"pretrained={llava}", most).batch_size == 8
    with pytest.raises(UserError, match="packed=Flase is neither True nor False"):
        MMForgetLM.create_from_arg_string(f"pretrained={llava},packed=Flase", config)
    with pytest.raises(UserError, match="'dtype' has no value"):
        MMForgetLM.create_from_arg_string(f"pretrained={llava},dtype", config)
    with pytest.raises(UserError, match="pretrainde"):
        MMForgetLM.create_from_arg_string(f"pretrainde={llava}")


def test_chat_templates(llava: Path, llama: Path) -> None:
    image_lm, text_lm = adapter(llava), adapter(llama)
    continued = image_lm.apply_chat_template(
        [{"role": "user", "content": "<image> who?"}, {"role": "assistant", "content": "It is"}],
        add_generation_prompt=False,
    )
    assert continued == "USER: <image> who? ASSISTANT: It is"
    assert text_lm.apply_chat_template([{"role": "user", "content": "who?"}]) == "USER: who? ASSISTANT:"
    assert "add_generation_prompt" in (image_lm.chat_template(True) or "")
    assert image_lm.chat_template(False) is None
    text_lm.tokenizer.chat_template = None
    with pytest.raises(UserError, match="no chat template"):
        text_lm.apply_chat_template([{"role": "user", "content": "who?"}])


def test_several_tasks_in_one_call_keep_their_order(llava: Path) -> None:
    requests = [
        request("loglikelihood", QUESTION, f" {number}.", images=[tiny_image(number % 2)], task=f"task{number % 3}")
        for number in range(9)
    ]
    together = adapter(llava).loglikelihood(requests)
    for one, found in zip(requests, together, strict=True):
        assert adapter(llava).loglikelihood([one])[0].token_logprobs == pytest.approx(found.token_logprobs, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "last", "message"),
    [
        ("loglikelihood", " who?" * 600, "takes 512"),
        ("generate_until", {"until": [], "max_gen_toks": 500}, "exceed the 512 tokens"),
    ],
)
def test_a_row_that_does_not_fit_ends_it_before_any_work(llava: Path, kind: str, last: Any, message: str) -> None:
    """It stands in the second task, and nothing of the first has been computed; the message names task and row."""
    lm = adapter(llava)
    short: Any = " Anna." if kind == "loglikelihood" else {"until": [], "max_gen_toks": 3}
    requests = [
        request(kind, QUESTION, short, images=[tiny_image(1)], task="first"),
        request(kind, QUESTION, last, images=[tiny_image(1)], task="second", doc_id=7),
    ]
    requests[1].doc = {"id": "p0003/07"}
    with pytest.raises(UserError, match="task second, document 7 .row 'p0003/07'.: .*" + message):
        getattr(lm, kind)(requests)
    assert lm.engine.num_tokens == 0
    assert lm.engine.num_images_encoded == 0


def test_models_of_a_run_share_image_features(llava: Path, tmp_path: Path) -> None:
    """The second model, loaded anew, finds the first one's features, in memory and in a folder of an earlier run."""
    features = FeatureCache(folder=tmp_path)
    asked = [request("loglikelihood", QUESTION, " Anna.", images=[tiny_image(1)])]
    answers, costs = [], []
    for kept in (features, features, FeatureCache(folder=tmp_path)):
        lm = adapter(llava, features=kept)
        answers.append(lm.loglikelihood(asked))
        costs.append(lm.cost())
    assert answers[0] == answers[1] == answers[2]
    assert [cost.num_images_encoded for cost in costs] == [1, 0, 0]
    assert [cost.num_image_hits for cost in costs] == [0, 1, 1]


def test_another_models_image_token_becomes_the_placeholder() -> None:
    class Processor:
        chat_template, image_token = "there is one", "<|vision|>"

        def apply_chat_template(self, messages: list[dict[str, Any]], **settings: Any) -> str:
            assert settings == {"tokenize": False, "add_generation_prompt": True, "continue_final_message": False}
            kinds = [part["type"] for part in messages[0]["content"]]
            assert kinds == ["text", "image", "text", "image", "text"]
            return "".join(part.get("text", self.image_token) for part in messages[0]["content"])

    history = [{"role": "user", "content": "first <image> then <image> who?"}]
    found = render_chat(history, tokenizer=None, processor=Processor(), add_generation_prompt=True)
    assert found == "first <image> then <image> who?"


def test_out_of_memory_halves_the_batch(llava: Path, caplog: pytest.LogCaptureFixture) -> None:
    lm = adapter(llava, batch_size=8, packed=False)
    expected = [scores.token_logprobs for scores in lm.loglikelihood(mixed_requests())]
    compute = lm.engine._score

    def small(encoded: Any, **settings: Any) -> Any:
        if len(encoded) > 2:
            raise torch.OutOfMemoryError("too much")
        return compute(encoded, **settings)

    lm.engine._score = small  # type: ignore[method-assign]
    found = [scores.token_logprobs for scores in lm.loglikelihood(mixed_requests())]
    for left, right in zip(found, expected, strict=True):
        assert left == pytest.approx(right, abs=1e-5)
    assert "smaller --batch_size" in caplog.text

    def none(encoded: Any, **settings: Any) -> Any:
        raise torch.OutOfMemoryError("too much")

    lm.engine._score = none  # type: ignore[method-assign]
    with pytest.raises(RunFailed, match="does not fit"):
        lm.loglikelihood(mixed_requests())


def test_a_tokenizer_without_marks_of_beginning_and_end(llama: Path) -> None:
    """Scores and texts need neither; a whole document, which stands behind one of them, is refused in words."""
    lm = adapter(llama)
    wanted = lm.loglikelihood([request("loglikelihood", "<s>who?", " Anna.")])
    bare = adapter(llama)
    bare.tokenizer.bos_token = bare.tokenizer.eos_token = None
    assert bare.eot_token_id is None
    assert bare.loglikelihood([request("loglikelihood", "<s>who?", " Anna.")]) == wanted
    assert bare.generate_until([request("generate_until", "who?", {"max_gen_toks": 2})])
    with pytest.raises(UserError, match="neither BOS nor EOS"):
        bare.loglikelihood_rolling([request("loglikelihood_rolling", "who?")])


def test_all_requests_that_do_not_fit_are_named_at_once(llama: Path) -> None:
    """Nothing is computed then; a single one is a line of its own."""
    lm = adapter(llama)
    texts = (" Anna.", "", " Anna" * 600)
    requests = [request("loglikelihood", "who?", text, doc_id=number) for number, text in enumerate(texts)]
    with pytest.raises(BadData, match="3 requests to") as caught:
        lm.loglikelihood(requests)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        "task toy, document 1",
        "task toy, document 2",
    ]
    with pytest.raises(UserError) as alone:
        lm.loglikelihood(requests[:2])
    assert "\n" not in str(alone.value)
    assert str(alone.value).startswith("task toy, document 1: ")
