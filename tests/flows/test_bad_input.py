"""What users get wrong: one clear message on stderr, exit status 2, no traceback, nothing lost."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.commands import Said, command
from tests.helpers import tiny_image, tiny_llava
from tests.processes import alone
from tests.processes import command as in_process

RUN = ("run", "--model", "micro", "--tasks", "fiubench", "--methods", "npo", "--output_path")


def refused(said: Said, *parts: str) -> None:
    assert said.status == 2, (said.out, said.err)
    assert said.out == ""
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llava(tmp_path_factory.mktemp("llava") / "model")


def evaluate(model: Path, *words: str | Path) -> Said:
    return command("eval", "--model", "hf", "--model_args", f"pretrained={model}", "--limit", "2", "--quiet", *words)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (("--tasks", "fiubenhc"), ("unknown task 'fiubenhc'", "did you mean 'fiubench'")),
        (("--methods", "npoo"), ("unknown method 'npoo'", "did you mean 'npo'")),
        (("--methods", ","), ("--methods names none",)),
        (("--methods", "npo+pdd"), ("unknown method 'pdd'", "did you mean 'pd'")),
        (("--methods", "npo,siu"), ("siu", "describes none", "mmubench")),
        (("--methods", "npo,npo+pd"), ("'npo+pd'", "harmless images", "safe_eraser")),
        (("--forget_path", "00000002/a"), ("forget_path '00000002/a' has 2 parts",)),
        (("--judge", "oracle"), ("unknown judge 'oracle'", "hf:MODEL")),
        (("--attacks", "role_play(budget=0)"), ("budget=0 is not allowed", "give 1 to 4")),
        (("--attacks", "role_plya"), ("unknown attack 'role_plya'", "did you mean 'role_play'")),
        (("--attacks", "quantisation", "--methods", "icu"), ("needs a model's weights", "'icu' puts a guard")),
        (("--attacks", "tuned_lens", "--methods", "whp_logit"), ("needs a model's hidden states", "'whp_logit'")),
        (("--attacks", "attacker_model"), ("give --attacker FOLDER", "--attacker micro")),
        (("--attacks", "attacker_model", "--attacker", "nowhere"), ("--attacker nowhere", "never fetched")),
        (("--method_args", "betta=1"), ("unknown --method_args argument 'betta'", "'beta'")),
        (("--method_args", "beta=minus"), ("beta", "'minus'", "a number")),
        (("--method_args", "beta=-1"), ("beta=-1", "above 0")),
        (("--model", "mirco"), ("unknown model 'mirco'", "'micro'")),
        (("--recipe", "relesed"), ("unknown recipe 'relesed'", "'released'")),
        (("--metadata", "{bad"), ("--metadata is not valid JSON",)),
        (("--metadata", '{"profile": "cleen"}'), ("'cleen'", "'clean'")),
        (("--metadata", '{"num_subject": 3}'), ("num_subject", "num_subjects")),
        (("--data", "nowhere"), ("--data nowhere", "no such file or folder")),
        (("--batch_size", "0"), ("'0' is not a whole number of at least 1",)),
        (("--stage_one_args", "max_stps=3"), ("max_stps", "max_steps")),
        (("--include_path", "nowhere"), ("--include_path nowhere", "no such folder")),
        (("--device", "cuda:7"), ("cuda",)),
        (("--modle", "micro"), ("unknown flag '--modle'", "'--model'")),
    ],
)
def test_flags_that_are_wrong(change: tuple[str, ...], parts: tuple[str, ...], tmp_path: Path) -> None:
    refused(command(*RUN, tmp_path / "out", *change), *parts)
    assert not (tmp_path / "out" / "fiubench").exists()


def test_an_output_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    refused(command(*RUN, tmp_path / "out"), str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_path_in_a_folder_that_cannot_be_written() -> None:
    refused(command(*RUN, "/proc/out"), "/proc/out", "--output_path")


def test_a_full_disk(model: Path, tmp_path: Path) -> None:
    """/dev/full answers every write as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    cache = tmp_path / "responses.sqlite"
    cache.symlink_to("/dev/full")
    said = evaluate(model, "--tasks", "fiubench_forget_gen", "--data", "synthetic", "--use_cache", cache)
    refused(said, str(cache))


def test_no_network_for_the_hub(model: Path) -> None:
    revision = json.dumps({"revision": "0" * 40})
    said = evaluate(model, "--tasks", "fiubench_forget_gen", "--data", "hub", "--metadata", revision)
    refused(said, "--data synthetic", "--data FOLDER")


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    said = evaluate(tmp_path / "nothing", "--tasks", "fiubench_forget_gen", "--data", "synthetic")
    refused(said, "nothing", "no folder")


def test_an_adapter_that_does_not_fit(model: Path, tmp_path: Path) -> None:
    from mmforget.model.load import load_model
    from mmforget.model.lora import LoraSettings, attach, save_adapter
    from mmforget.model.spec import ModelSpec

    other = load_model(ModelSpec(str(tiny_llava(tmp_path / "other", hidden_size=32))))
    save_adapter(attach(other, LoraSettings(r=2, alpha=4, dropout=0.0)), tmp_path / "adapter")
    words = ("eval", "--model", "hf", "--model_args", f"pretrained={model},peft={tmp_path / 'adapter'}")
    said = command(*words, "--tasks", "fiubench_forget_gen", "--data", "synthetic", "--limit", "2", "--quiet")
    refused(said, "adapter")


def test_4_bit_and_8_bit_at_once(model: Path) -> None:
    words = ("eval", "--model", "hf", "--model_args", f"pretrained={model},load_in_4bit=True,load_in_8bit=True")
    refused(command(*words, "--tasks", "fiubench_forget_gen", "--data", "synthetic"), "load_in_4bit and load_in_8bit")


def test_a_task_file_that_does_not_parse_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("task: x\n  metadata: [")
    said = command(*RUN, tmp_path / "out", "--include_path", tmp_path)
    refused(said, "broken.yaml")


def test_two_tasks_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text("group: fiubench\ntask: [fiubench_forget_gen]\n")
    refused(command(*RUN, tmp_path / "out", "--include_path", tmp_path), "fiubench", "again.yaml")


def test_two_plugins_of_one_name(tmp_path: Path) -> None:
    """A package that registers a second `npo` is named together with ours, and nothing else runs."""
    site = tmp_path / "site"
    info = site / "forgetters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: forgetters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmforget.methods]\nnpo = forgetters:Npo\n")
    done = alone(with_site, site, [*RUN, tmp_path / "out"], home=tmp_path)
    assert done.status == 2
    assert "two plugins are named 'npo' (method): mmforget and forgetters" in done.err
    assert "Traceback" not in done.err


def test_a_broken_plugin_is_named_and_breaks_no_other(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "forgetters-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: forgetters\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mmforget.methods]\namnesia = forgetters:Amnesia\n")
    (site / "forgetters.py").write_text("raise RuntimeError('half installed')\n")
    asked = ("--dry-run", "--tasks", "fiubench")
    bad = alone(with_site, site, [*RUN, tmp_path / "out", *asked, "--methods", "amnesia"], home=tmp_path)
    assert bad.status == 2
    assert "method 'amnesia' from forgetters cannot be loaded: RuntimeError: half installed" in bad.err
    good = alone(with_site, site, [*RUN, tmp_path / "out", *asked, "--methods", "npo"], home=tmp_path)
    assert good.status == 0, good.err


def test_an_image_that_is_no_image(model: Path, tmp_path: Path) -> None:
    from tests.unit.protocols.official_files import write_official

    folder = write_official(tmp_path / "data")
    pictures = sorted((folder / "SFHQ").glob("*"))
    pictures[0].write_text("not a picture")
    pictures[1].write_bytes(pictures[1].read_bytes()[:45])
    pictures[2].unlink()
    tiny_image(0).save(pictures[3])
    said = evaluate(model, "--tasks", "fiubench_forget1_gen", "--data", folder)
    refused(said, pictures[0].name, pictures[1].name, pictures[2].name)


def with_site(site: Path, words: Sequence[str | Path]) -> None:
    """A command in a process of its own, where the packages of a folder are installed, too."""
    sys.path.insert(0, str(site))
    in_process(words)
