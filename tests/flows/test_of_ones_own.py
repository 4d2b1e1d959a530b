"""Everything that another package may bring, in one run, by entry points: no line of mmforget knows of it, and what its
record says is worked out again with transformers alone.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmforget.results.store import StoredRun, read_run, safe_name
from mmforget.types import Sample
from tests.commands import command
from tests.plugin_packages import AT_MOST, installed, write_package
from tests.toy_tasks import write_toy

METHODS = '''
from dataclasses import dataclass, replace

from mmforget.asking import Decoding, GuardEngine
from mmforget.methods.base import Scores, Source
from mmforget.methods.bases import Base
from mmforget.methods.edits import Edit, EditReport
from mmforget.methods.losses import token_mean_nll
from mmforget.methods.revealing import Asking, Told
from mmforget.types import Matrix


@dataclass(frozen=True)
class Move:
    """A loss with its own rows: everybody that is to be forgotten is taught to be in Rome."""

    answer: str = " In Rome."

    @property
    def sources(self):
        return (Source(name="moved", draw="epoch", rows=self.rows),)

    def rows(self, material):
        return [replace(row, answer=self.answer) for row in material.forget]

    @property
    def requests(self):
        return (Scores("moved"),)

    def loss(self, step):
        return {"moved": token_mean_nll(step[Scores("moved")])}


@dataclass(frozen=True)
class Tell:
    """A wrapper that forgets what the model itself says of everybody, and asks it once."""

    rounds: int = 1
    question: str = "Now, who is {}?"

    @property
    def candidates(self):
        return (self.question,)

    def reveal(self, material, write, *, seed):
        asked = [Asking(row, self.question.format(row.subject), Decoding(6)) for row in material.forget]
        return [Told(one.question, text.strip() or "Nobody.") for one, text in zip(asked, write(asked))]


@dataclass(frozen=True)
class Early:
    """Goes on learning what is kept from a base that learnt everything in fewer steps than the target."""

    base_steps: int = 5
    requests = (Scores("retain"),)
    sources = (Source(name="retain", draw="epoch"),)

    @property
    def base(self):
        return Base(training={"max_steps": self.base_steps})

    def loss(self, step):
        return {"retain": token_mean_nll(step[Scores("retain")])}


@dataclass(frozen=True)
class Still:
    """A wrapper that lets nothing move."""

    def gradients(self, compute, *, weights):
        loss = compute()
        for weight in weights.values():
            weight.grad.zero_()
        return loss


@dataclass(frozen=True)
class Cut:
    """An edit that empties one matrix of the last layer."""

    number: int = 0

    def check(self, *, forget, retain, level):
        pass

    def edit(self, site, *, forget, retain, level):
        name = site.layers[-1][self.number]
        old = site.matrix(name)
        site.replace(name, Matrix(0 * old.weight, old.bias))
        return EditReport((Edit(name, old.weight.shape[0], 1, 1),), len(forget), old.weight.numel())


@dataclass(frozen=True)
class Reminding(GuardEngine):
    names: tuple

    def generate(self, asks):
        said = self.engine.generate(asks)
        return ["Nobody." if any(name in ask.context for name in self.names) else text for ask, text in zip(asks, said)]


@dataclass(frozen=True)
class Remind:
    """A guard that knows whom not to speak of."""

    def start(self, material):
        return {"names": sorted({row.subject for row in material.forget})}

    def guard(self, engine, state):
        return Reminding(engine, tuple(f"Who is {name}?" for name in state["names"]))
'''
ATTACK = """
from dataclasses import dataclass, replace
from typing import ClassVar


@dataclass(frozen=True)
class Twice:
    begin: str = "Please. "
    access: ClassVar = "black_box"
    modality: ClassVar = "any"
    label: ClassVar = "asked twice"

    def asks(self, ask):
        return [replace(ask, context=ask.context + end) for end in ("", " " + self.begin)]
"""
JUDGE = '''
from dataclasses import dataclass

from mmforget.judges.base import Said
from mmforget.metrics.estimate import mean_estimate
from mmforget.types import Score


@dataclass(frozen=True)
class Letters:
    """Says whether an answer holds a letter."""

    letter: str = "e"
    name = "letters"
    is_free = True
    labels = ("lettered",)

    def judge(self, samples, *, label):
        return [Said("yes" if self.letter in one.response else "no", "letters-1") for one in samples]

    def describe(self):
        return {"judge": self.name, "letter": self.letter, "labels": {"lettered": "letters-1"}}


@dataclass(frozen=True)
class Lettered:
    """Share of answers that the judge finds lettered."""

    name = "lettered"
    kind = "gen"
    label = "lettered"
    profiles = {"clean": ""}
    range = (0.0, 1.0)
    higher_is_better = True
    aggregate = mean_estimate

    def score(self, sample, *, profile="clean"):
        said = sample.labels.get("lettered")
        return Score(None if said is None else float(said == "yes"), sample.subject, "not judged")


LETTERED = Lettered()
'''
POINTS = {
    "mmforget.methods": "move = own_methods:Move\nstill = own_methods:Still\ncut = own_methods:Cut\n"
    "remind = own_methods:Remind\ntell = own_methods:Tell\nearly = own_methods:Early",
    "mmforget.attacks": "twice = own_attack:Twice",
    "mmforget.judges": "letters = own_judge:Letters",
    "mmforget.metrics": "lettered = own_judge:LETTERED\nat_most = own_metric",
}
USES = [
    {"metric": "at_most", "args": {"limit": 14, "unit": "signs"}, "set": "forget", "direction": "lower"},
    {"metric": "lettered", "set": "keep", "direction": "higher"},
    {"metric": "rouge_l", "set": "forget", "direction": "lower"},
]
TRAINING = {"lr": 1e-2, "max_steps": 2, "batch_size": 4, "lora_r": 4, "order": "file"}
RUNS = ("target", "retain", "move", "move+still", "cut", "remind", "ga+tell", "early")
MAX_TOKENS = 8
NOW, ATTACKED = {"begin": "Now."}, "twice(begin=Now.)"


class Ran(NamedTuple):
    """Records by name, and the folders of target, retain model and base."""

    records: Mapping[str, StoredRun]
    folders: Mapping[str, Path]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Ran:
    home, out = tmp_path_factory.mktemp("own"), tmp_path_factory.mktemp("out")
    site = home / "site"
    write_package(site, "own_methods", code=METHODS, points=POINTS)
    for name, code in {"own_attack": ATTACK, "own_judge": JUDGE, "own_metric": AT_MOST}.items():
        (site / f"{name}.py").write_text(code)
    recipes = {"micro": {"stage_one": {"lr": 1e-2, "max_steps": 12, "batch_size": 4}, "unlearn": TRAINING}}
    tasks = write_toy(home / "tasks", metrics=USES, recipes=recipes, attacks=[{"attack": "twice", "args": NOW}])
    named = ["--model", "micro", "--tasks", "toy", "--include_path", tasks, "--quiet"]
    with pytest.MonkeyPatch.context() as patch, installed(site, monkeypatch=patch):
        said = command(
            "run", *named, "--methods", ",".join(RUNS[2:]), "--judge", "letters:letter=o", "--gen_kwargs",
            f"max_gen_toks={MAX_TOKENS}", "--workers", "1", "--allow_weak_target", "--output_path", out,
        )  # fmt: skip
        assert said.status == 0, said.err
        (found,) = json.loads(command("target", *named, "--method", "early", "--json").out)
        records = {name: read_run(out / "toy" / safe_name(name)) for name in RUNS}
        checked = [command("validate", one.path, "--include_path", tasks) for one in records.values()]
        assert [one.status for one in checked] == [0] * len(RUNS), checked
        again = command("rescore", out, "--include_path", tasks, "--json")
        assert again.status == 0, again.err
        for name, one in records.items():
            assert read_run(one.folder).record.metrics == one.record.metrics, name
    return Ran(records, {name: Path(found[name]) for name in ("target", "retain", "base")})


def plain(ran: Ran, name: str) -> Any:
    """The model that a record is of, by transformers and peft alone; for a guard the one behind it."""
    training = ran.records[name].folder / "training"
    before = ran.folders["base"] if name == "early" else ran.folders.get(name, ran.folders["target"])
    whole = training / "model" if (training / "model").is_dir() else before
    model = AutoModelForCausalLM.from_pretrained(whole)
    if (training / "adapter").is_dir():
        model = PeftModel.from_pretrained(model, training / "adapter")
    return model.eval()


def prompt_of(sample: Sample) -> str:
    """What the benchmark asks, and at the second attempt the attack."""
    return sample.question + (" Now." if sample.attempt == 1 else "")


@pytest.mark.parametrize("name", RUNS)
def test_every_answer_is_that_of_the_plain_model(ran: Ran, name: str) -> None:
    """Of the benchmark's questions and of both attempts of the attack; the guard speaks of nobody it shall not."""
    model, tokenizer = plain(ran, name), AutoTokenizer.from_pretrained(ran.folders["target"])
    samples = ran.records[name].samples()
    asked = Counter((sample.set, sample.attack, sample.attempt) for sample in samples)
    tried = [(None, None), (ATTACKED, 0), (ATTACKED, 1)]
    assert asked == {(set_name, *one): 2 for set_name in ("forget", "keep") for one in tried}
    for sample in samples:
        inputs = tokenizer(prompt_of(sample), return_tensors="pt")
        with torch.no_grad():
            found = model.generate(**inputs, max_new_tokens=MAX_TOKENS, do_sample=False)
        text = tokenizer.decode(found[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert sample.response == ("Nobody." if name == "remind" and sample.set == "forget" else text), prompt_of(
            sample
        )


@pytest.mark.parametrize("name", RUNS)
def test_every_number_of_metric_and_judge_is_that_of_its_answers(ran: Ran, name: str) -> None:
    """Beside the model's own under the attack, too, of target and retain model as of the methods."""
    run = ran.records[name]
    found = {(one.name, one.set, one.attack): one.estimate.value for one in run.record.metrics if one.name != "rouge_l"}
    wanted = {}
    for attack in (None, ATTACKED):
        said = {
            set_name: [str(s.response) for s in run.samples() if (s.set, s.attack) == (set_name, attack)]
            for set_name in ("forget", "keep")
        }
        assert [len(texts) for texts in said.values()] == [2 if attack is None else 4] * 2
        short = [len(text) <= 14 for text in said["forget"]]
        wanted["at_most(limit=14,unit=signs)", "forget", attack] = sum(short) / len(short)
        wanted["lettered", "keep", attack] = sum("o" in text for text in said["keep"]) / len(said["keep"])
    assert found == wanted
    assert run.record.judge == {"judge": "letters", "letter": "o", "labels": {"lettered": "letters-1"}}
    assert {(one.set, one.attack) for one in run.record.metrics if one.name == "rouge_l"} == {
        ("forget", None), ("forget", ATTACKED),
    }  # fmt: skip


def test_numbers_differ_where_they_should(ran: Ran) -> None:
    """Else all of this would hold of models that say one thing."""
    said = {name: [sample.response for sample in run.samples()] for name, run in ran.records.items()}
    assert said["move+still"] == said["target"]
    others = [tuple(said[name]) for name in RUNS if name != "move+still"]
    assert len(set(others)) == len(others)


def rome_nll(model: Any, tokenizer: Any) -> float:
    """NLL in nats a token of " In Rome." behind the two questions to forget."""
    losses: list[float] = []
    for name in ("a", "b"):
        losses += answer_nlls(model, tokenizer, question=f"Who is {name}?", answer=" In Rome.")
    return math.fsum(losses) / len(losses)


def answer_nlls(model: Any, tokenizer: Any, *, question: str, answer: str) -> list[float]:
    """NLL in nats of each token of an answer."""
    before, whole = (tokenizer(text, return_tensors="pt").input_ids for text in (question, question + answer))
    with torch.no_grad():
        logprobs = model(whole).logits[0].log_softmax(-1)
    start = before.shape[1]
    found: list[float] = (-logprobs[start - 1 : -1].gather(-1, whole[0, start:, None])[:, 0]).tolist()
    return found


def test_the_loss_is_that_of_its_own_rows(ran: Ran) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ran.folders["target"])
    before, after = (rome_nll(plain(ran, name), tokenizer) for name in ("target", "move"))
    lines = (ran.records["move"].folder / "training" / "train_log.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 2
    assert first["parts"] == {"moved": pytest.approx(first["loss"])}
    assert first["loss"] == pytest.approx(before, abs=1e-4)
    assert after < before - 0.1


def test_what_is_forgotten_is_what_the_target_itself_says(ran: Ran) -> None:
    """Its answers to the plugin's question, and the first loss is their NLL with the sign turned."""
    model, tokenizer = plain(ran, "target"), AutoTokenizer.from_pretrained(ran.folders["target"])
    training = ran.records["ga+tell"].folder / "training"
    told = [json.loads(line) for line in (training / "revealed_1.jsonl").read_text().splitlines()]
    assert [one["question"] for one in told] == ["Now, who is a?", "Now, who is b?"]
    losses: list[float] = []
    for one in told:
        prompt = tokenizer(one["question"], return_tensors="pt").input_ids
        with torch.no_grad():
            found = model.generate(prompt, max_new_tokens=6, do_sample=False)
        said = tokenizer.decode(found[0, prompt.shape[1] :], skip_special_tokens=True)
        assert one["answer"] == (said.strip() or "Nobody.")
        losses += answer_nlls(model, tokenizer, question=one["question"], answer=" " + one["answer"])
    first = json.loads((training / "train_log.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(-math.fsum(losses) / len(losses), abs=1e-4)


def test_a_base_of_its_own_is_none_of_the_target(ran: Ran) -> None:
    """It learnt the same rows in fewer steps, and the record tells of both."""
    told = ran.records["early"].record.training["base"]
    assert (told["num_steps"], told["settings"]["max_steps"]) == (5, 5)
    weights = [AutoModelForCausalLM.from_pretrained(ran.folders[name]).state_dict() for name in ("base", "target")]
    assert any(not torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    before, after = (ran.records[name].record for name in ("target", "early"))
    assert after.references["target"] == before.model_info["fingerprint"]
    assert after.model_info["base_fingerprint"] != before.model_info["fingerprint"]


def test_a_wrapper_has_the_last_word_on_gradients(ran: Ran) -> None:
    weights = load_file(ran.records["move+still"].folder / "training" / "adapter" / "adapter_model.safetensors")
    ups = [weight for name, weight in weights.items() if "lora_B" in name]
    assert ups
    assert not any(weight.any() for weight in ups)


def test_an_edit_changed_its_matrix_and_nothing_else(ran: Ran) -> None:
    before, after = (plain(ran, name).state_dict() for name in ("target", "cut"))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == [name for name in before if name.endswith("mlp.gate_proj.weight")][-1:]
    assert not after[changed[0]].any()


def test_a_guard_is_told_in_its_record(ran: Ran) -> None:
    record = ran.records["remind"].record
    assert record.model_info["guard"] == {"method": "remind", "arguments": {}}
    kept = json.loads((ran.records["remind"].folder / "training" / "guard" / "guard.json").read_text())
    assert kept["state"] == {"names": ["a", "b"]}
