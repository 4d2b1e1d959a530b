"""The verbs and flags are part of the product: a new one is a decision, made here."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from mmforget.cli.flags import config_from
from mmforget.cli.lm_eval_flags import REFUSED
from mmforget.cli.main import VERBS, build_parser
from mmforget.training.settings import settings_from

TASKS = {"--tasks", "--include_path", "--data", "--metadata", "--forget_path", "--limit", "--num_fewshot"}
MODEL = {"--model", "--model_args", "--device", "--batch_size", "--apply_chat_template", "--gen_kwargs"}
MODEL |= {"--max_batch_size"}
OUTPUT = {"--output_path", "--use_cache", "--feature_folder", "--seed", "--dry-run", "--json", "--quiet"}
SHORT = {"-t", "-L", "-f", "-M", "-a", "-b", "-o", "-c"}
LM_EVAL = {"--config", "--log_samples", "--samples", "--system_instruction", "--fewshot_as_multiturn", "--predict_only"}
LM_EVAL |= {
    "--write_out",
    "--show_config",
    "--confirm_run_unsafe_code",
    "--verbosity",
    "-C",
    "-s",
    "-E",
    "-x",
    "-w",
    "-v",
}
TRAINING = {"--recipe", "--lora_r", "--lora_alpha", "--lr", "--epochs", "--max_steps", "--train_batch_size"}
TRAINING |= {"--save_steps", "--report_to", "--grad_accumulation", "--weight_decay", "--bf16", "--lora_target_modules"}
TARGET = {"--target_model", "--retain_model", "--stage_one_args"}
SEEDS = {"--seeds", "--stage_one_seeds", "--workers"}
COMMON = TASKS | MODEL | OUTPUT | SHORT

BLANK_IMAGE = {"--no_blank_image", "--no_blank_control"}
"""One flag; the second is what it was called."""

FLAGS = {
    "run": COMMON
    | TRAINING
    | TARGET
    | {"--methods", "--method_args", "--allow_weak_target", "--judge", "--one_at_a_time", "--attacks", "--attacker"}
    | {"--requests", "--between", "--eval_steps", "--stop", "--keep", "--tune"}
    | SEEDS,
    "target": COMMON | TARGET | {"--recipe", "--workers", "--method", "--method_args"},
    "unlearn": COMMON | TRAINING | {"--method", "--method_args", "--stage_one_args"},
    "eval": COMMON | LM_EVAL | set(REFUSED) | BLANK_IMAGE | {"--stage_one_args", "--recipe", "--judge"},
    "attack": COMMON | TARGET | {"--attacks", "--attacker", "--recipe"},
    "distance": COMMON | TARGET | {"--measures", "--null_model", "--stage_one_seeds", "--recipe"},
    "meta": COMMON
    | {
        "--size",
        "--after",
        "--methods",
        "--method_args",
        "--attacks",
        "--attacker",
        "--recipe",
        "--stage_one_args",
        "--workers",
    },
    "rescore": {
        "--include_path",
        "--judge",
        "--json",
        "--from",
        "--to",
        "--log",
        "--name",
        "--output_path",
        "--reference",
        "--profile",
    },
    "compare": {"--json"},
    "leaderboard": {"--output_path", "--json", "--verify", "--merge", "--schema", "--formats"},
    "ls": {"--include_path", "--json", "--verbose", "-v"},
    "validate": {"--include_path", "--data", "--metadata", "--json", "--confirm_run_unsafe_code"},
    "new": {"--output_path", "--forget"},
    "report": {"--output_path"},
}


def parsers() -> dict[str, argparse.ArgumentParser]:
    actions = build_parser()._actions
    verbs = next(action for action in actions if isinstance(action, argparse._SubParsersAction))
    return dict(verbs.choices)


def test_the_verbs_are_these() -> None:
    assert set(VERBS) == set(FLAGS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_flags_are_these(verb: str) -> None:
    found = {flag for action in parsers()[verb]._actions for flag in action.option_strings}
    assert found - {"-h", "--help"} == FLAGS[verb]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples_that_name_it(verb: str) -> None:
    assert f"mmforget {verb} " in str(parsers()[verb].epilog)


def test_help_and_ls_import_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from mmforget.cli.main import main\n"
        "main(['ls'])\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'lm_eval', 'datasets', 'matplotlib', 'scipy', 'numpy'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flag", "ours"),
    [
        ("--learning_rate", "--lr"),
        ("--gradient_accumulation_steps", "--grad_accumulation"),
        ("--lora_rank", "--lora_r"),
    ],
)
def test_names_of_hugging_face_get_a_hint(flag: str, ours: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["unlearn", "--method", "npo", "--tasks", "x", "--output_path", "o", flag, "1"])
    assert f"unknown flag '{flag}'; did you mean '{ours}'?" in capsys.readouterr().err


def test_training_can_be_changed_by_flags() -> None:
    words = ["--grad_accumulation", "4", "--weight_decay", "0", "--bf16", "--lora_target_modules", "q_proj,v_proj"]
    micro = ["unlearn", "--model", "micro", "--method", "npo", "--tasks", "x", "--output_path", "o"]
    found = config_from(build_parser().parse_args([*micro, *words])).training
    assert found == {
        "grad_accumulation": 4,
        "weight_decay": 0.0,
        "bf16": "true",
        "lora_target_modules": ("q_proj", "v_proj"),
    }
    settings = settings_from({"lora": {"r": 2}}, found)
    assert (settings.grad_accumulation, settings.weight_decay, settings.bf16) == (4, 0.0, True)
    assert settings.lora is not None
    assert settings.lora.target_modules == ("q_proj", "v_proj")
    found = config_from(build_parser().parse_args([*micro, "--lora_target_modules", r".*\.q_proj", "--bf16", "false"]))
    assert found.training == {"lora_target_modules": r".*\.q_proj", "bf16": "false"}
