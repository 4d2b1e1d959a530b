"""The command that `mmforget unlearn` prints asks the model what the same flags would make it forget."""

from __future__ import annotations

import argparse
import shlex

import pytest

from mmforget.cli import eval as eval_verb
from mmforget.cli import unlearn

GIVEN = ["--method", "npo", "--tasks", "medforget", "--output_path", "out"]
MODEL = "pretrained=a folder,peft=out/adapter"


def parsers() -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    ours, theirs = argparse.ArgumentParser(), argparse.ArgumentParser()
    unlearn.add_arguments(ours)
    eval_verb.add_arguments(theirs)
    return ours, theirs


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--forget_path", "inst_03/pat 12", "--apply_chat_template", "--limit", "0.5", "--device", "cpu"],
        ["--metadata", '{"seed": 3}', "--include_path", "a", "--include_path", "b c", "--gen_kwargs", "temperature=1"],
        ["--data", "my files", "--num_fewshot", "2"],
    ],
)
def test_the_command_can_be_typed_and_asks_the_same(flags: list[str]) -> None:
    ours, theirs = parsers()
    given = ours.parse_args([*GIVEN, "--model", "micro", *flags])
    words = shlex.split(unlearn.evaluation_command(given, model_args=MODEL))
    assert words[:2] == ["mmforget", "eval"]
    asked = theirs.parse_args(words[2:])
    assert (asked.model, asked.model_args, asked.data) == ("hf", MODEL, given.data or "synthetic")
    same = ("tasks", "include_path", "metadata", "forget_path", "limit", "num_fewshot", "device", "gen_kwargs")
    assert {name: getattr(asked, name) for name in same} == {name: getattr(given, name) for name in same}
    assert asked.apply_chat_template == given.apply_chat_template
