"""States that attacks keep, against plain Hugging Face; models are compared by what is stored of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_attacking import Closed, asked_in_words, made
from toy_benchmark import write_toy
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.asking import Guard
from mmforget.benchmark.find import find
from mmforget.errors import UserError
from mmforget.evaluation.aggregate import aggregate
from mmforget.evaluation.run import Evaluation
from mmforget.lm.adapter import MMForgetLM
from mmforget.model.load import ModelSpec, load_model
from mmforget.model.loaded import guarded
from mmforget.results.samples import read_samples, write_labelled, write_samples
from mmforget.types import Estimate, Sample
from tests.helpers import tiny_llama, tiny_llava

KEY = "representations"
TASKS = ("toy_forget_gen", "toy_keep_gen")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return asked_in_words(tmp_path_factory.mktemp("toy") / "tasks", answer="a river in Bern.")


def model(place: Path, *, seed: int = 0, moved: float = 0.0) -> MMForgetLM:
    """A random model, its last layer alone moved by so much."""
    loaded = load_model(ModelSpec(str(tiny_llama(place, seed=seed, num_layers=4)), device="cpu"))
    with torch.no_grad():
        weight = loaded.core.get_decoder().layers[-1].mlp.down_proj.weight
        weight += moved * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return MMForgetLM(loaded, progress=False)


def kept(done: Evaluation, key: str = KEY) -> list[Sample]:
    return [sample for sample in done.samples if sample.attack == key]


def numbers(folder: Path, done: Evaluation, **others: list[Sample]) -> dict[tuple[str, str, str], Estimate]:
    found = aggregate(find("toy", [folder]), done.samples, **others)
    return {(one.name, one.profile, one.set): one.estimate for one in found if one.attack == KEY}


def test_what_is_kept_is_what_a_stock_model_has_there(folder: Path, tmp_path: Path) -> None:
    """One question at a time or several, pooled over the places that predict the answer, before any final norm."""
    lm = model(tmp_path / "m")
    done = made(folder, lm, KEY, "representations(pool=last)")
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "m")
    seen: list[torch.Tensor] = []
    for layer in stock.model.layers:
        layer.register_forward_hook(lambda _, __, out: seen.append(out[0] if isinstance(out, tuple) else out))
    for sample, last in zip(kept(done), kept(done, "representations(pool=last)"), strict=True):
        front = len(tokenizer(sample.question).input_ids)
        seen.clear()
        with torch.no_grad():
            stock(torch.tensor([tokenizer(f"{sample.question} {sample.answer}").input_ids]))
        for number, share in enumerate(("0.25", "0.5", "0.75", "1")):
            there = seen[number][0, front - 1 : -1]
            assert sample.states[share].array() == pytest.approx(there.mean(dim=0).numpy(), abs=1e-4)
            assert last.states[share].array() == pytest.approx(there[-1].numpy(), abs=1e-4)
    alone = made(folder, MMForgetLM(lm.loaded, batch_size=1, progress=False), KEY)
    for one, other in zip(kept(done), kept(alone), strict=True):
        assert one.states["1"].array() == pytest.approx(other.states["1"].array(), abs=1e-5)


def test_a_model_is_itself_and_one_changed_at_the_end_is_the_target_but_there(folder: Path, tmp_path: Path) -> None:
    """Target, one whose last layer alone differs, and one that never saw anything, a retain model: the last is far from
    the target at every depth, and the one in between is as the target below its last layer."""
    target, retain = (made(folder, model(tmp_path / f"{seed}", seed=seed), KEY, tasks=TASKS) for seed in (0, 1))
    last = made(folder, model(tmp_path / "l", moved=3.0), KEY, tasks=TASKS)
    others = {"target": target.samples, "retain": retain.samples}
    own, end, gold = (numbers(folder, one, **others) for one in (target, last, retain))
    whole = ("cka(to=target)", "clean", "forget")
    assert own[whole].value == pytest.approx(1.0)
    assert gold["cka", "clean", "forget"].value == pytest.approx(1.0)
    between, far = end[whole].value, gold[whole].value
    assert between is not None
    assert far is not None
    assert far < between < 1.0
    assert (own[whole].higher_is_better, own["cka", "clean", "forget"].higher_is_better) == (False, True)
    assert own["cka(to=target)", "clean", "keep"].higher_is_better is True
    assert {set_name for _, _, set_name in own} == {"forget", "keep"}
    assert numbers(folder, last)[whole].value is None
    assert numbers(folder, last)[whole].reasons == ("no target model to compare with",)
    shares = {
        share: all(a.states[share] == b.states[share] for a, b in zip(kept(target), kept(last), strict=True))
        for share in ("0.25", "0.5", "0.75", "1")
    }
    assert shares == {"0.25": True, "0.5": True, "0.75": True, "1": False}


def test_states_lie_beside_the_samples_and_come_back(folder: Path, tmp_path: Path) -> None:
    done = made(folder, model(tmp_path / "m"), KEY, "logit_lens")
    files = write_samples(tmp_path, done.samples, model="m")
    assert "states.safetensors" in files
    assert read_samples(tmp_path, files=files) == done.samples
    again = write_labelled(tmp_path, done.samples, stored=files, time="later")
    assert read_samples(tmp_path, files=again) == done.samples
    (tmp_path / "states.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not the file this record was computed from"):
        read_samples(tmp_path, files=files)


def test_no_other_number_is_made_of_them(folder: Path, tmp_path: Path) -> None:
    found = aggregate(find("toy", [folder]), made(folder, model(tmp_path / "m"), KEY).samples)
    assert {one.name.partition("(")[0] for one in found if one.attack == KEY} == {"cka", "knn_overlap"}


def test_a_guard_that_shows_no_states_is_one_line(folder: Path, tmp_path: Path) -> None:
    loaded = model(tmp_path / "m").loaded
    closed = guarded(loaded, Guard("closed", Closed(), {}, None, loaded.fingerprint))
    with pytest.raises(UserError, match="attack 'representations': the guard gives no hidden states"):
        made(folder, MMForgetLM(closed, progress=False), KEY)


def test_pictures_are_looked_at(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "tasks")
    lm = MMForgetLM(load_model(ModelSpec(str(tiny_llava(tmp_path / "m")), device="cpu")), progress=False)
    found = kept(made(folder, lm, KEY))
    assert len(found) == 6
    assert len({one.states["1"] for one in found}) == 6
