"""One engine answers questions of many subjects, each under its own edit, as the model with that edit alone does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mmforget.asking import Ask, Decoding
from mmforget.errors import UserError
from mmforget.lm.answering import Answerer, Tally
from mmforget.lm.cache import ResponseCache
from mmforget.lm.engine import ModelEngine
from mmforget.methods.build import build
from mmforget.methods.material import Material
from mmforget.model.load import load_model
from mmforget.model.loaded import LoadedModel
from mmforget.model.lora import LoraSettings
from mmforget.model.spec import ModelSpec
from mmforget.results.fingerprint import hash_image
from mmforget.training.many import Edits, unlearn_many
from mmforget.training.settings import TrainSettings
from mmforget.types import Example, TokenScores
from tests.helpers import tiny_image, tiny_llava

SUBJECTS = ("Ann", "Bo", "Cy")
SETTINGS = TrainSettings(
    lr=5e-2, max_steps=3, batch_size=2, train_projector=False,
    lora=LoraSettings(r=1, alpha=1, target_modules=r".*layers\.1\.mlp\.down_proj"),
)  # fmt: skip
SAMPLED = Decoding(5, do_sample=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(ModelSpec(str(tiny_llava(tmp_path_factory.mktemp("llava"))), device="cpu"))


@pytest.fixture(scope="module")
def edits(base: LoadedModel) -> Iterator[Edits]:
    rows = {
        name: [Example(f"{name}/0", name, "<image>\nwho is this?", f" {name} Meier.", images=(tiny_image(at),))]
        for at, name in enumerate(SUBJECTS)
    }
    materials = {name: Material(forget=own) for name, own in rows.items()}
    with unlearn_many(base, materials, method=build("ga"), settings=SETTINGS) as found:
        yield found


def asks(kind: str) -> list[Ask]:
    """Two questions of every subject about one and the same picture, one of them equal for all."""
    picture, found = tiny_image(7), []
    for question in ("<image>\nwho pays?", "<image>\nwhere does {} live?"):
        for name in SUBJECTS:
            ask = Ask(
                kind, "toy", question.format(name), " in Bern." if kind == "score" else None, (picture,),
                (hash_image(picture),), Decoding(5) if kind == "generate" else None, row={"subject": name},
            )  # fmt: skip
            found.append(ask)
    return found


@pytest.fixture(scope="module")
def alone(edits: Edits, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedModel]:
    """Each edit as a model of its own, loaded from where it was saved."""
    folder = tmp_path_factory.mktemp("edits")
    return {name: load_model(replace(edits.base.spec, peft=str(edits.save(name, folder / name)))) for name in SUBJECTS}


def engine_of(loaded: LoadedModel, *, packed: bool = True) -> ModelEngine:
    return ModelEngine(loaded, batch_size=4, packed=packed)


@pytest.mark.parametrize("packed", [True, False])
def test_scores_texts_and_states_are_those_of_each_edit(
    packed: bool, edits: Edits, alone: dict[str, LoadedModel]
) -> None:
    engine = engine_of(edits.loaded, packed=packed)
    scored, said = engine.score(asks("score")), engine.generate(asks("generate"))
    states = engine.hidden(asks("score"), layers=(0, 1))
    drawn = [replace(ask, decoding=replace(SAMPLED, seed=at)) for at, ask in enumerate(asks("generate"))]
    sampled = engine.generate(drawn)
    for at, name in enumerate(SUBJECTS * 2):
        own = engine_of(alone[name], packed=False)
        (wanted,) = own.score(asks("score")[at : at + 1])
        assert scored[at].token_logprobs == pytest.approx(wanted.token_logprobs, abs=1e-5)
        assert said[at] == own.generate(asks("generate")[at : at + 1])[0]
        assert (states[at] - own.hidden(asks("score")[at : at + 1], layers=(0, 1))[0]).abs().max() < 1e-4
        assert sampled[at] == own.generate(drawn[at : at + 1])[0]
    assert len({one.token_logprobs for one in scored}) == len(scored)


@pytest.mark.parametrize("packed", [True, False])
def test_sampled_and_other_questions_are_put_together_where_prompts_share(packed: bool, edits: Edits) -> None:
    """The texts are those of two calls; questions that are not sampled come along with those that are as long."""
    engine, greedy = engine_of(edits.loaded, packed=packed), asks("generate")
    drawn = [replace(ask, decoding=replace(SAMPLED, seed=at)) for at, ask in enumerate(greedy)]
    shorter = [replace(ask, decoding=Decoding(2)) for ask in greedy[:2]]
    wanted = [text for asked in (greedy, drawn, shorter) for text in engine.generate(asked)]
    asked = [*greedy, *drawn, *shorter]
    planned = engine.batches(asked)
    assert engine.generate(asked) == wanted
    lengths = [{asked[index].decoding.max_new_tokens for index in batch} for batch in planned]  # type: ignore[union-attr]
    assert all(len(one) == 1 for one in lengths)
    mixed = [batch for batch in planned if len({asked[index].decoding.do_sample for index in batch}) == 2]  # type: ignore[union-attr]
    assert bool(mixed) == packed


def test_documents_are_read_under_each_edit(edits: Edits, alone: dict[str, LoadedModel]) -> None:
    read = [Ask("rolling", "toy", "", "she lives in Bern.", (), (), row={"subject": name}) for name in SUBJECTS]
    found = engine_of(edits.loaded).roll(read)
    for name, ask, one in zip(SUBJECTS, read, found, strict=True):
        assert one.token_logprobs == pytest.approx(engine_of(alone[name]).roll([ask])[0].token_logprobs, abs=1e-5)
    assert len({one.token_logprobs for one in found}) == len(SUBJECTS)


def test_answers_are_kept_by_edit(edits: Edits, alone: dict[str, LoadedModel], tmp_path: Path) -> None:
    """Equal questions of several subjects are not one; and whoever loads one edit finds its answers."""

    def answered(loaded: LoadedModel, asked: Sequence[Ask]) -> tuple[list[TokenScores], int]:
        tally = Tally()
        found = Answerer(engine_of(loaded), ResponseCache(tmp_path / "answers.sqlite"), tally).answer(
            asked, keep=lambda _: None
        )
        return found, tally.num_cached

    first, num_cached = answered(edits.loaded, asks("score"))
    assert num_cached == 0
    assert len({one.token_logprobs for one in first}) == len(first)
    again, num_cached = answered(alone["Bo"], asks("score")[1:2])
    assert (again, num_cached) == (first[1:2], 1)


def test_a_question_of_nobody_is_refused(edits: Edits) -> None:
    ask = replace(asks("score")[0], where="toy, row 3")
    with pytest.raises(UserError, match="toy, row 3: no row says which"):
        engine_of(edits.loaded).score([replace(ask, row=None)])
    with pytest.raises(UserError, match="'Di' is not among the 3 edits"):
        engine_of(edits.loaded).score([replace(ask, row={"subject": "Di"})])


def test_a_seed_makes_sampled_text_repeatable() -> None:
    (ask,) = asks("generate")[:1]
    free, own = replace(ask, decoding=SAMPLED), replace(ask, decoding=replace(SAMPLED, seed=3))
    assert (free.is_repeatable, own.is_repeatable) == (False, True)
    assert own.key("model") != replace(ask, decoding=replace(SAMPLED, seed=4)).key("model")


def test_draws_of_the_global_generator_are_left_alone(edits: Edits) -> None:
    drawn = [replace(ask, decoding=replace(SAMPLED, seed=1)) for ask in asks("generate")]
    torch.manual_seed(5)
    engine_of(edits.loaded).generate(drawn)
    found = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(found, torch.rand(3))
