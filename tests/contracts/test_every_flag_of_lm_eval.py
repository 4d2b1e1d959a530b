"""Every flag of `lm_eval run` is taken by `mmforget eval`, meaning the same, or refused with what to do instead."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from lm_eval._cli.run import Run
from lm_eval._cli.utils import key_val_to_dict

from mmforget.arguments import split_top_level, typed_arguments
from mmforget.cli import flags, lm_eval_flags
from mmforget.cli.lm_eval_flags import REFUSED
from mmforget.cli.main import build_parser
from mmforget.errors import UnknownName, UserError
from mmforget.pipeline.config import RunConfig
from mmforget.pipeline.measuring import settings_of

ALWAYS = ("--tasks", "a", "--model_args", "pretrained=m", "--output_path", "out")
VALUES: dict[str, tuple[str, ...]] = {
    "--config": (),
    "--tasks": ("a", "b,c"),
    "--model": ("hf-multimodal",),
    "--model_args": ("pretrained=n", "dtype=float32"),
    "--apply_chat_template": ("chatml",),
    "--limit": ("0.5",),
    "--use_cache": ("answers",),
    "--num_fewshot": ("3",),
    "--batch_size": ("auto:4",),
    "--max_batch_size": ("32",),
    "--device": ("cpu",),
    "--gen_kwargs": ("temperature=0", "until=['.', ',']"),
    "--output_path": ("x.json",),
    "--log_samples": (),
    "--samples": ('{"a": [2, 0]}',),
    "--system_instruction": ("Be brief.",),
    "--fewshot_as_multiturn": ("false",),
    "--include_path": ("folder",),
    "--verbosity": ("error",),
    "--write_out": (),
    "--show_config": (),
    "--predict_only": (),
    "--seed": ("1,2,None,4",),
    "--confirm_run_unsafe_code": (),
    "--metadata": ("num_subjects=24", "profile=released"),
}


def stock_parser() -> argparse.ArgumentParser:
    """The parser of `lm_eval run` as the installed lm_eval has it."""
    verbs = argparse.ArgumentParser().add_subparsers()
    return Run(verbs)._parser  # type: ignore[no-any-return]


def stock_flags() -> list[list[str]]:
    return [list(action.option_strings) for action in stock_parser()._actions if action.dest != "help"]


def parsed(*words: str) -> argparse.Namespace:
    return build_parser().parse_args(["eval", *ALWAYS, *words])


def config(*words: str) -> RunConfig:
    args = parsed(*words)
    args.asking = lm_eval_flags.asking_from(args)
    return flags.config_from(args)


def long(names: list[str]) -> str:
    return next(name for name in names if name.startswith("--"))


def test_every_flag_is_either_taken_or_refused() -> None:
    assert {long(names) for names in stock_flags()} == {*VALUES, *REFUSED}


@pytest.mark.parametrize("names", stock_flags(), ids=long)
def test_a_flag_parses_under_every_name_or_says_what_to_do(
    names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text("limit: 3")
    values = (str(tmp_path / "c.yaml"),) if long(names) == "--config" else VALUES.get(long(names), ())
    for name in names:
        if name in REFUSED:
            with pytest.raises(SystemExit) as caught:
                parsed(name, "x=1")
            assert caught.value.code == 2
            said = capsys.readouterr().err
            assert said.count("\n") == 1
            assert f"{name} is not taken: {REFUSED[name]}" in said
            continue
        assert getattr(parsed(name, *values), long(names)[2:]) != getattr(parsed(), long(names)[2:])


@pytest.mark.parametrize(
    ("words", "field", "wanted"),
    [
        (("-t", "b", "c,d"), "tasks", ("a", "b", "c", "d")),
        (("--model", "hf-multimodal"), "model", "hf"),
        (("-L", "0.5"), "limit", 0.5),
        (("-b", "auto"), "batch_size", 64),
        (("-b", "auto:3", "--max_batch_size", "8"), "batch_size", 8),
        (("-b", "4", "--max_batch_size", "8"), "batch_size", 4),
        (("--apply_chat_template",), "apply_chat_template", True),
        (("--apply_chat_template", "rag"), "apply_chat_template", "rag"),
        (
            ("--metadata", "num_subjects=24", "profile=released"),
            "metadata",
            {"num_subjects": 24, "profile": "released"},
        ),
        (("--metadata", '{"num_subjects": 24}'), "metadata", {"num_subjects": 24}),
        (("--metadata", '{"seed": 1}', "--metadata", "num_subjects=3"), "metadata", {"seed": 1, "num_subjects": 3}),
    ],
)
def test_what_a_flag_means(words: tuple[str, ...], field: str, wanted: Any) -> None:
    assert getattr(config(*words), field) == wanted


def test_settings_are_those_of_lm_eval() -> None:
    asked = settings_of(config("--apply_chat_template", "--gen_kwargs", "max_gen_toks=8", "until=['a,b', 'c']"))
    assert asked.gen_kwargs == {"max_gen_toks": 8, "until": ["a,b", "c"]}
    assert (asked.fewshot_as_multiturn, asked.seeds) == (True, (0, 1234, 1234, 1234))
    asked = settings_of(config("--apply_chat_template", "--fewshot_as_multiturn", "false", "--seed", "1,2,3"))
    assert (asked.fewshot_as_multiturn, asked.seeds) == (False, (1, 2, 3, 1234))
    assert settings_of(config("--seed", "7")).seeds == (7, 7, 7, 7)
    assert settings_of(config("--samples", '{"a": [1]}')).samples == {"a": [1]}


def test_documents_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"a": [1]}')
    assert settings_of(config("--samples", str(tmp_path / "s.json"))).samples == {"a": [1]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--samples", '{"a": [1]}', "--limit", "3"), "--samples and --limit exclude each other"),
        (("--fewshot_as_multiturn",), "add --apply_chat_template"),
        (("--gen_kwargs", "max_gen_toks"), "'max_gen_toks' has no value"),
        (("--metadata", "[1]"), "'[1]' has no value"),
        (("--model_args", '{"dtype": }'), "--model_args is not valid JSON"),
        (("--model_args", "pretrained=n"), "'pretrained' is given twice"),
        (("--model", "vllm"), "unknown model 'vllm'"),
    ],
)
def test_what_is_refused_in_one_line(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as caught:
        settings_of(config(*words))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flag", ["--log_samples", "--predict_only"])
def test_answers_need_a_place(flag: str) -> None:
    args = build_parser().parse_args(["eval", "--tasks", "a", "--model_args", "pretrained=m", flag])
    with pytest.raises(UserError, match=f"{flag} writes answers to a folder; add --output_path"):
        lm_eval_flags.asking_from(args)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--batch_size", "many"), ("--seed", "1,2"), ("--samples", "{a"), ("--num_fewshot", "-1"), ("--limit", "0")],
)
def test_a_value_that_is_none_is_one_line(flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(f"{flag}={value}")
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_config_file_stands_for_flags_and_typed_ones_count_more(tmp_path: Path) -> None:
    """The keys are those of lm_eval, whose own files name what is empty, too."""
    file = tmp_path / "c.yaml"
    file.write_text(
        "model: hf\ntasks: [x, y]\nmodel_args: {pretrained: n, dtype: float32}\nlimit: 5\nnum_fewshot: 0\n"
        "include_path: [one, two]\nseed: [1, 2, 3, 4]\nlog_samples: true\nwrite_out: false\ncache_requests: {}\n"
        "gen_kwargs: {until: ['a, b']}\nsystem_instruction: '- be brief'\napply_chat_template: true\n"
        "fewshot_as_multiturn: false\nwandb_args: {}\n"
    )
    args = build_parser().parse_args(["eval", "--config", str(file), "--limit", "2", "-o", "out"])
    args.asking = lm_eval_flags.asking_from(args)
    found = flags.config_from(args)
    assert (found.tasks, found.limit, found.num_fewshot) == (("x", "y"), 2.0, 0)
    assert found.include_path == ("one", "two")
    assert args.log_samples
    assert not args.write_out
    asked = settings_of(found)
    assert asked.gen_kwargs == {"until": ["a, b"]}
    assert (asked.system_instruction, asked.seeds) == ("- be brief", (1, 2, 3, 4))
    assert (asked.apply_chat_template, asked.fewshot_as_multiturn) == (True, False)
    again = build_parser().parse_args(["eval", f"--config={file}", "-t", "z", "-a", "pretrained=k"])
    assert (again.tasks, again.model_args) == ("z", "pretrained=k")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limt: 3", "unknown key in --config"),
        ("[1]", "must hold flags by name"),
        ("a: [", "cannot be read"),
        ("a: " + "[" * 65 + "]" * 65, "nested deeper than 64 levels"),
    ],
)
def test_a_config_file_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises((UserError, UnknownName), match=said):
        build_parser().parse_args(["eval", "--config", str(tmp_path / "c.yaml")])


@pytest.mark.parametrize(
    "text",
    [
        "pretrained=gpt2,dtype=float32",
        "a=1,b=2.5,c=true,d=False,e=1e-3",
        "until=['a,b', 'c'],max=[1,2]",
        'x={"a": 1},y=(1,2)',
        "path=/a/b-c.d,empty=",
    ],
)
def test_arguments_mean_what_they_mean_to_lm_eval(text: str) -> None:
    found = typed_arguments(text, owner="--gen_kwargs")
    assert found == key_val_to_dict(text)
    assert typed_arguments(json.dumps(found), owner="--gen_kwargs") == json.loads(json.dumps(found))


def test_a_quote_that_is_never_closed_is_a_letter() -> None:
    assert split_top_level("pretrained=/home/o'brien/m,dtype=auto") == ["pretrained=/home/o'brien/m", "dtype=auto"]
