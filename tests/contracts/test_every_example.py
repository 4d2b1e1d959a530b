"""Every command that help, README and docs show can be typed as it stands: verb, flags and their values exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmforget.arguments import arguments_in
from mmforget.cli.flags import MODELS, comma_list, parse_metadata
from mmforget.cli.main import VERBS, build_parser
from mmforget.methods.base import METHODS
from mmforget.methods.build import arguments
from mmforget.model.spec import ModelSpec

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "tasks/README.md",
    *(f"{path.parent.name}/{path.name}" for folder in ("data_cards", "docs") for path in (ROOT / folder).glob("*.md")),
)
FENCED = re.compile(r"^ *```(?:sh|bash|console)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """Lines that start with `mmforget`, continued over a backslash at the end, up to a pipe or a comment."""
    for line in text.replace("\\\n", " ").splitlines():
        words = line.strip().removeprefix("$ ")
        if words.startswith("mmforget "):
            yield re.split(r" [|#] ?", words)[0].strip()


def from_help() -> list[tuple[str, str]]:
    choices = next(action.choices for action in build_parser()._actions if isinstance(action.choices, dict))
    return [(f"{verb} --help", line) for verb in VERBS for line in commands(str(choices[verb].epilog))]


def from_documents() -> list[tuple[str, str]]:
    return [
        (name, line)
        for name in DOCUMENTS
        for block in FENCED.findall((ROOT / name).read_text())
        for line in commands(block)
    ]


SHOWN = [*from_help(), *from_documents()]


def test_every_verb_and_the_readme_show_some() -> None:
    places = [place for place, _ in SHOWN]
    assert {f"{verb} --help" for verb in VERBS} <= set(places)
    assert places.count("README.md") >= len(VERBS)


@pytest.mark.parametrize("place, line", SHOWN, ids=[f"{place}: {line[:60]}" for place, line in SHOWN])
def test_a_command_that_is_shown_can_be_typed(place: str, line: str) -> None:
    args = vars(build_parser().parse_args(shlex.split(line)[1:]))
    assert args.get("model", "hf") in MODELS
    parse_metadata(args.get("metadata") or "")
    arguments_in(args.get("stage_one_args") or "", owner="--stage_one_args")
    if args.get("model_args"):
        ModelSpec.parse(
            args["model_args"] if "pretrained=" in args["model_args"] else f"pretrained=X,{args['model_args']}"
        )
    names = comma_list(args.get("methods") or args.get("method") or "")
    assert {part for name in names for part in name.split("+")} <= set(METHODS.names())
    known = {argument for name in names for argument in arguments(name)}
    assert set(arguments_in(args.get("method_args") or "", owner="--method_args")) <= known
