"""Command lines with words missing, doubled, swapped and wrong. Nothing is trained: what would be is only planned."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from tools.fuzzing.records import write_records
from tools.fuzzing.trials import SCRATCH, Kind, Outcome, command, copy, told, watched

PLANNED = ("run", "target", "unlearn", "eval")
MICRO = ("--model", "micro", "--tasks", "fiubench")
LINES = (
    ("run", *MICRO, "--methods", "ga,npo", "--output_path", SCRATCH, "--method_args", "beta=0.1", "--json"),
    ("run", *MICRO, "--methods", "ga+pd", "--output_path", SCRATCH, "--metadata", '{"num_subjects": 24}'),
    ("target", *MICRO, "--stage_one_args", "max_steps=5", "--seed", "3", "--output_path", SCRATCH),
    ("unlearn", *MICRO, "--method", "npo", "--lora_r", "4", "--lr", "1e-3", "--output_path", SCRATCH),
    ("eval", *MICRO, "--limit", "4", "--gen_kwargs", "max_gen_toks=8", "--batch_size", "8"),
    ("eval", "--model", "hf", "--model_args", "pretrained=nowhere,dtype=float32", "--tasks", "fiubench_forget_gen"),
    ("run", *MICRO, "--methods", "npo", "--seeds", "0,1", "--stage_one_seeds", "2,3", "--output_path", SCRATCH),
    ("run", *MICRO, "--methods", "ga", "--workers", "2", "--train_batch_size", "4", "--output_path", SCRATCH),
    ("eval", *MICRO, "--seed", "1,2,3,4", "--samples", '{"fiubench_forget_gen": [0]}', "--num_fewshot", "0"),
    ("leaderboard", "runs", "--json"),
    ("leaderboard", "runs/npo", "runs/npo_1", "--json", "--verify"),
    ("leaderboard", "runs", "--json", "--output_path", SCRATCH),
    ("rescore", "runs/npo", "--json"),
    ("ls", "methods", "--json"),
    ("ls", "tasks", "--include_path", "runs"),
    ("validate", "npo", "--json"),
    ("validate", "rouge_l"),
    ("validate", "runs/npo"),
)
WORDS = (
    *(
        "",
        " ",
        "-",
        "--",
        "---x",
        "=",
        ",",
        ",,,",
        "a=b=c",
        "x" * 5000,
        "\x1b[2J",
        "\ud800",
        "日本",
        "'",
        '"',
        "{",
        "[]",
    ),
    *(
        "{}",
        '{"a": NaN}',
        "{" * 3000,
        "9" * 5000,
        "-1",
        "0",
        "nan",
        "inf",
        "1e999",
        "None",
        "True",
        "*",
        "**",
        "[",
        "?",
    ),
    *(
        ".",
        "..",
        "/",
        "~",
        "runs",
        "runs/npo/run.yaml",
        "nowhere",
        "/dev/null",
        "npo",
        "fiubench*",
        "ga+ga",
        "+",
        "ga+",
    ),
    *(
        "0,0",
        "4294967296",
        "²",
        "beta=0.1",
        "beta=x",
        "lr=-1",
        "num_subjects=1",
        "--json",
        "--seed",
        "--help",
        "--version",
        "@file",
        "a\nb",
        "%s",
    ),
)


def prepare(folder: Path) -> None:
    """Sound records to point at."""
    write_records(folder / "runs")


def trial(folder: Path, rng: random.Random, place: Path) -> Outcome:
    """One case on a damaged copy of what lies in `folder`."""
    copy(folder / "runs", place / "runs")
    words = drawn(rng)
    os.chdir(place)
    return watched(place, lambda: told(command(words), what=json.dumps([word[:60] for word in words])))


def drawn(rng: random.Random) -> list[str]:
    """A command line with one to three changes."""
    words = list(rng.choice(LINES))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(1, len(words)) if len(words) > 1 else 0
        how = rng.random()
        if how < 0.15 and len(words) > 1:
            del words[place]
        elif how < 0.25:
            words.insert(place, words[place])
        elif how < 0.4:
            words.insert(place, rng.choice(WORDS))
        elif how < 0.5:
            other = list(rng.choice(LINES))
            words.insert(place, rng.choice(other))
        elif how < 0.55:
            words[0] = rng.choice(("runn", "", *PLANNED, "rescore", "ls", "validate", "leaderboard"))
        else:
            words[place] = rng.choice(WORDS)
    is_planned = any(verb in words for verb in PLANNED)
    # No model is trained, and nobody is asked over the network.
    return [*words, "--dry-run"] if is_planned and "--dry-run" not in words else words


KIND = Kind("commands", prepare, trial)
