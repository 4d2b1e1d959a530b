"""A method with a base of its own: made once for all requests, told in the record, named by another command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmforget.results.store import StoredRun, read_run
from tests.commands import Said, command
from tests.helpers import tiny_llava

accountants = pytest.importorskip("opacus.accountants")
ARGS = "epsilon=8,delta=1e-6,accountant=rdp,base_lr=0.05,base_max_steps=2,base_batch_size=3"
WORDS = (
    "--device", "cpu", "--data", "synthetic", "--recipe", "micro", "--max_steps", "2", "--train_batch_size", "2",
    "--lora_r", "4",
    "--limit", "2", "--quiet", "--allow_weak_target", "--batch_size", "32", "--gen_kwargs", "max_gen_toks=4",
    "--metadata", "num_subjects=6",
)  # fmt: skip
pytestmark = pytest.mark.slow
HOME = "fiubench"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("model") / "llava")


def run(model: Path, out: Path, *words: str, args: str = ARGS) -> Said:
    given = ("run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--target_model", str(model))
    more = ("--retain_model", str(model), "--tasks", HOME, "--method_args", args, "--output_path", out)
    return command(*given, *more, *WORDS, *words)


@pytest.fixture(scope="module")
def done(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    said = run(model, out, "--methods", "dp2", "--seeds", "0,1")
    assert said.status == 0, said.err
    return out


def records(done: Path) -> list[StoredRun]:
    return [read_run(done / HOME / "dp2" / f"seed_{seed}") for seed in (0, 1)]


def base(done: Path) -> Path:
    (found,) = (done / "models" / HOME).glob("fiubench-base-*/model")
    return found


def test_one_base_serves_both_seeds_and_its_privacy_is_in_their_records(done: Path) -> None:
    """The epsilon is what opacus counts for the updates that the record tells of."""
    for stored in records(done):
        told = stored.record.training["base"]
        privacy = told["privacy"]
        assert privacy == json.loads((base(done) / "privacy.json").read_text())
        assert (privacy["num_steps"], privacy["unit"], privacy["sampling"]) == (2, "record", "poisson")
        assert (told["num_steps"], told["settings"]["lr"], told["settings"]["batch_size"]) == (2, 0.05, 3)
        counted = accountants.RDPAccountant()
        for _ in range(privacy["num_steps"]):
            counted.step(noise_multiplier=privacy["noise_multiplier"], sample_rate=privacy["sampling_rate"])
        assert privacy["epsilon"] == pytest.approx(counted.get_epsilon(delta=1e-6), rel=1e-6)
        assert 0 < privacy["epsilon"] <= privacy["epsilon_asked"] == 8
    first, second = (stored.record.model_info for stored in records(done))
    assert first["fingerprint"] != second["fingerprint"]
    assert first["base_fingerprint"] == second["base_fingerprint"]


def test_the_gate_and_the_references_are_those_of_the_target(done: Path) -> None:
    target = read_run(done / HOME / "target").record
    for stored in records(done):
        assert stored.record.references["target"] == target.model_info["fingerprint"]
        assert stored.record.model_info["base_fingerprint"] != target.model_info["fingerprint"]


def test_another_request_finds_the_base(done: Path, model: Path) -> None:
    before = base(done).stat().st_mtime_ns
    said = run(model, done, "--methods", "dp2", "--seeds", "2")
    assert said.status == 0, said.err
    assert base(done).stat().st_mtime_ns == before


def unlearn(pretrained: Path, out: Path, args: str = ARGS) -> Said:
    kept = [word for word in WORDS if word not in ("--allow_weak_target",)]
    at = kept.index("--limit")
    del kept[at : at + 2]
    given = ("unlearn", "--model", "hf", "--model_args", f"pretrained={pretrained},dtype=float32", "--tasks", HOME)
    return command(*given, "--method", "dp2", "--method_args", args, "--output_path", out, "--json", *kept)


def test_a_request_starts_from_a_base_that_is_named(done: Path, tmp_path: Path) -> None:
    said = unlearn(base(done), tmp_path)
    assert said.status == 0, said.err
    assert json.loads(said.out)["base"]["privacy"]["epsilon_asked"] == 8


@pytest.mark.parametrize(
    ("words", "args", "said"),
    [
        (("--methods", "dp2"), ARGS.replace("epsilon=8", "epsilon=0"), "epsilon=0.0 is not allowed"),
        (("--methods", "dp2"), ARGS.replace("epsilon=8", "epsilon=-1"), "epsilon=-1.0 is not allowed"),
        (("--methods", "dp2", "--requests", "2"), ARGS, "starts every request from a base of its own"),
        (("--methods", "dp2", "--one_at_a_time"), ARGS, "starts from a base of its own"),
    ],
)
def test_what_cannot_be_is_one_line(words: tuple[str, ...], args: str, said: str, model: Path, tmp_path: Path) -> None:
    found = run(model, tmp_path, *words, args=args)
    assert found.status == 2
    assert said in found.err
    assert "Traceback" not in found.err


def test_a_base_is_named_as_what_it_is(done: Path, model: Path, tmp_path: Path) -> None:
    """A model that is none, one of other privacy, and one that a target would be trained from."""
    cases = [
        (unlearn(model, tmp_path / "one"), "is none; make it with `mmforget target --method dp2`"),
        (unlearn(base(done), tmp_path / "two", ARGS.replace("epsilon=8", "epsilon=9")), "epsilon=8.0 there, 9.0 asked"),
    ]
    words = ("--tasks", HOME, "--method_args", ARGS, "--output_path", tmp_path / "three", "--methods", "dp2", *WORDS)
    cases.append(
        (
            command("run", "--model", "hf", "--model_args", f"pretrained={base(done)}", *words),
            "name --target_model, too",
        )
    )
    only = ("run", "--model", "hf", "--target_model", str(model), "--retain_model", str(model))
    cases.append((command(*only, *words), "give --model_args pretrained=MODEL, what the target was trained from"))
    for found, said in cases:
        assert found.status == 2, found.err
        assert said in found.err
