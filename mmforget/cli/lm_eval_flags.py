"""The flags of `lm_eval run` that only `mmforget eval` has: what they mean there, or what to do instead."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from mmforget.cli.flags import BOOLEANS, seed
from mmforget.errors import UnknownName, UserError
from mmforget.reading import read_text

if TYPE_CHECKING:
    from mmforget.pipeline.config import Asking

SEEDS = (0, 1234, 1234, 1234)
"""lm_eval's own: random, numpy, torch and the choice of examples."""
LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
ELSEWHERE = "results stay here: give --output_path and upload results_<time>.json from there"
REFUSED: Mapping[str, str] = {
    "--cache_requests": "lm_eval finds kept prompts by a task's name alone and would ask old prompts about changed "
    "rows; leave it out: prompts are made in seconds, and answers are kept with --use_cache FILE",
    "--check_integrity": "it runs tests that lm_eval does not install; 'mmforget validate TASK' opens the data, "
    "renders every row and scores",
    "--trust_remote_code": "a model's own code is run only where it is allowed for that model: "
    "--model_args trust_remote_code=True",
    "--wandb_args": ELSEWHERE,
    "--wandb_config_args": ELSEWHERE,
    "--trackio_args": ELSEWHERE,
    "--hf_hub_log_args": ELSEWHERE,
}


class _Refused(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: str | None = None
    ) -> NoReturn:
        parser.error(f"{option_string} is not taken: {REFUSED[str(option_string)]}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("as in lm_eval run")
    group.add_argument("--config", "-C", metavar="FILE", help="YAML with flags by name; those typed count more")
    group.add_argument(
        "--log_samples", "-s", action="store_true", help="keep every answer of every task, lm_eval's too"
    )
    group.add_argument("--samples", "-E", type=_samples, metavar="JSON", help="documents by task: '{\"task\": [0, 5]}'")
    group.add_argument("--system_instruction", metavar="TEXT", help="before every conversation")
    group.add_argument(
        "--fewshot_as_multiturn", nargs="?", const=True, type=_boolean, metavar="BOOL",
        help="examples as turns of their own; default with --apply_chat_template",
    )  # fmt: skip
    group.add_argument(
        "--seed", type=_seeds, metavar="N[,N,N,N]",
        help="random, numpy, torch, examples (default 0,1234,1234,1234); for micro one number is also that of training",
    )  # fmt: skip
    group.add_argument("--predict_only", "-x", action="store_true", help="keep answers, compute no metric")
    group.add_argument("--write_out", "-w", action="store_true", help="show the first prompt of each task")
    group.add_argument("--show_config", action="store_true", help="print all results as JSON before the table")
    group.add_argument("--confirm_run_unsafe_code", action="store_true", help="allow tasks that run generated code")
    group.add_argument("--verbosity", "-v", type=str.upper, choices=LEVELS, help="what lm_eval logs")
    for flag, reason in REFUSED.items():
        group.add_argument(flag, nargs="*", action=_Refused, metavar="", help=f"not taken: {reason}")


def asking_from(args: argparse.Namespace) -> Asking:
    """Raises UserError where flags exclude or need one another, as lm_eval does."""
    from mmforget.pipeline.config import Asking

    if args.samples is not None and args.limit is not None:
        raise UserError("--samples and --limit exclude each other; give one of them")
    if (args.log_samples or args.predict_only) and not args.output_path:
        flag = "--predict_only" if args.predict_only else "--log_samples"
        raise UserError(f"{flag} writes answers to a folder; add --output_path DIR")
    if args.fewshot_as_multiturn and not args.apply_chat_template:
        raise UserError("--fewshot_as_multiturn makes turns of a conversation; add --apply_chat_template")
    if args.verbosity:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("lm_eval").setLevel(args.verbosity)
    return Asking(args.system_instruction, args.fewshot_as_multiturn, args.samples, args.seed or SEEDS)


def with_config(words: Sequence[str], *, parser: argparse.ArgumentParser) -> list[str]:
    """The words of a command line with those that its --config stands for put before them, typed flags left out."""
    known = parser._option_string_actions
    typed = {known[name].dest for word in words if (name := word.partition("=")[0]) in known}
    path = next((_value(words, place) for place, word in enumerate(words) if _is_config(word)), None)
    if path is None:
        return list(words)
    found: list[str] = []
    for name, value in _read(Path(path).expanduser()).items():
        action = known.get(f"--{name}")
        if action is None or name == "config":
            raise UnknownName(
                f"key in --config {path}", name=name, known=[flag[2:] for flag in known if flag[:2] == "--"]
            )
        if action.dest not in typed:
            found += _words(action, value)
    return [*found, *words]


def _is_config(word: str) -> bool:
    return word.partition("=")[0] in ("--config", "-C")


def _value(words: Sequence[str], place: int) -> str | None:
    _, equals, value = words[place].partition("=")
    return value if equals else next(iter(words[place + 1 : place + 2]), None)


def _read(path: Path) -> dict[str, Any]:
    import yaml

    from mmforget.yaml_text import parse_yaml

    try:
        found = parse_yaml(read_text(path))
    except (UserError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"--config {path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise UserError(f"--config {path}: must hold flags by name, not a {type(found).__name__}")
    return {str(name): value for name, value in found.items()}


def _words(action: argparse.Action, value: Any) -> Iterator[str]:
    """A flag as it would be typed; nothing for what is empty, which stands for the default."""
    flag = next(name for name in action.option_strings if name.startswith("--"))
    if value is None or value is False or value in ("", [], {}):
        if value is False and action.type is _boolean:
            yield f"{flag}=false"
        return
    if value is True:
        yield flag
    elif isinstance(value, dict):
        yield f"{flag}={json.dumps(value, ensure_ascii=False)}"
    elif isinstance(value, list) and action.nargs is None and action.type is None:
        yield from (f"{flag}={item}" for item in value)
    else:
        items = value if isinstance(value, list) else [value]
        yield f"{flag}={','.join(map(str, items))}"


def _samples(text: str) -> dict[str, Any]:
    """A JSON object of lists of numbers, written out or in a file."""
    path = Path(text).expanduser()
    try:
        found = json.loads(text if text.lstrip().startswith("{") else read_text(path))
    except (UserError, ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"'{text}' is neither JSON nor a file of it ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(numbers, list) for numbers in found.values()):
        raise argparse.ArgumentTypeError(f"'{text}' is not an object of lists, as in '{{\"task\": [0, 5]}}'")
    return found


def _boolean(text: str) -> bool:
    if text.lower() not in BOOLEANS:
        raise argparse.ArgumentTypeError(f"'{text}' is neither true nor false")
    return BOOLEANS[text.lower()]


def _seeds(text: str) -> tuple[int | None, ...]:
    """One seed for all, or four, of which the last may be left out and any may be None."""
    parts = [part.strip().lower() for part in text.split(",")]
    seeds = tuple(None if part == "none" else seed(part) for part in parts)
    if len(seeds) not in (1, 3, 4):
        raise argparse.ArgumentTypeError(
            f"'{text}' holds {len(seeds)} seeds; give one, or four: random,numpy,torch,examples"
        )
    return seeds * 4 if len(seeds) == 1 else (*seeds, *SEEDS[len(seeds) :])
