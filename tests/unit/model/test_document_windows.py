"""Documents longer than a model: the windows of stock lm_eval, in evaluation as in training."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from mmforget.errors import BadData
from mmforget.model.encode import document_windows
from mmforget.model.examples import encode_all, in_windows
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import LoadedModel
from mmforget.types import DocumentScore, Example
from tests.helpers import tiny_llama, tiny_llava

SENTENCE = "she lives in the town of Bern. "


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llama(tmp_path_factory.mktemp("llama") / "m")), device="cpu"))


@pytest.mark.parametrize("num_tokens", [0, 1, 511, 512, 513, 1024, 1025, 1400])
def test_windows_are_those_of_lm_eval(llama: LoadedModel, num_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 512 positions; whatever the tokens are."""
    assert llama.max_length == 512
    ids = [5 + place % 200 for place in range(num_tokens)]
    monkeypatch.setitem(vars(llama), "token_ids", lambda text: tuple(ids))
    pairs = get_rolling_token_windows(
        token_list=ids, prefix_token=llama.tokenizer.bos_token_id, max_seq_len=512, context_len=1
    )
    wanted = [
        (tuple(context + continuation), len(context)) for context, continuation in map(make_disjoint_window, pairs)
    ]
    found = document_windows(llama, "text")
    assert [(one.ids, one.num_context) for one in found] == wanted
    assert sum(one.num_answer for one in found) == num_tokens
    assert all(one.positions.max() < 512 for one in found)


def test_a_long_document_is_trained_in_its_windows(llama: LoadedModel) -> None:
    example = Example("d", "s", "", SENTENCE * 100, delimiter="", is_document=True)
    short = Example("e", "s", "", SENTENCE, delimiter="", is_document=True)
    question = Example("q", "s", "who?", " Anna.")
    parts = in_windows(llama, [short, example, question])
    wanted = document_windows(llama, example.answer)
    assert len(wanted) > 1
    assert [part.window for part in parts] == [None, *range(len(wanted)), None]
    encoded = encode_all(llama, parts, append_eos=True, source="rows")
    assert [one.ids for one in encoded[1:-1]] == [one.ids for one in wanted]
    assert encoded[-1].ids[-1] == llama.tokenizer.eos_token_id != encoded[0].ids[-1]
    with pytest.raises(BadData, match=r"row 'd': a document of \d windows of 512 tokens"):
        encode_all(llama, [example], append_eos=True, source="rows")


def test_a_document_holds_no_image(tmp_path: Path) -> None:
    llava = load_model(ModelSpec(str(tiny_llava(tmp_path)), device="cpu"))
    example = Example("d", "s", "", "see <image> here", delimiter="", is_document=True)
    with pytest.raises(BadData, match="row 'd': a document cannot hold an image"):
        encode_all(llava, [example], append_eos=False, source="rows")


def test_a_score_of_a_document_is_a_number_that_remembers_its_tokens() -> None:
    score = DocumentScore((-1.0, -2.5))
    again = copy.deepcopy(score)
    assert (score, again, again.token_logprobs) == (-3.5, -3.5, (-1.0, -2.5))
