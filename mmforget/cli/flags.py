"""Flags that several verbs share, named as `lm_eval` names them, and how they become a RunConfig."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmforget.arguments import MAX_SEED, arguments_in, typed_arguments
from mmforget.cli.printing import tell
from mmforget.errors import UnknownName, UserError, cut

if TYPE_CHECKING:
    from mmforget.model.spec import ModelSpec
    from mmforget.pipeline.config import RunConfig

MODELS = ("micro", "hf")
SAME_MODEL = {"hf-multimodal": "hf", "hf-auto": "hf", "huggingface": "hf", "mmforget": "hf"}
"""lm_eval's names of Hugging Face models; text or image, `hf` loads either."""
BATCH_SIZES = {"micro": 64, "hf": 16}
"""Questions at once where nothing is asked for; a step of the micro model takes twice as long for 64 as for 16."""
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
MAX_COUNT = 2**31 - 1
"""Largest count, number of steps or size that a flag takes."""
AUTO_BATCH_SIZE = 64
"""Where `--batch_size auto` begins: a batch that memory does not hold is computed in halves."""
BETWEEN = ("merged", "stacked")
TRAINING_FLAGS = (
    "lora_r", "lora_alpha", "lora_target_modules", "lr", "epochs", "max_steps", "train_batch_size",
    "grad_accumulation", "weight_decay", "bf16", "save_steps", "report_to", "eval_steps", "stop", "keep",
)  # fmt: skip
HUGGING_FACE_NAMES = {
    "--learning_rate": "--lr",
    "--num_train_epochs": "--epochs",
    "--per_device_train_batch_size": "--train_batch_size",
    "--gradient_accumulation_steps": "--grad_accumulation",
    "--lora_rank": "--lora_r",
    "--target_modules": "--lora_target_modules",
    "--fp16": "--bf16",
    "--output_dir": "--output_path",
    "--model_name_or_path": "--model_args pretrained=",
}
"""What the Hugging Face Trainer, PEFT and their scripts call our flags."""


def positive_int(text: str) -> int:
    """An integer of at least 1, else argparse's own complaint with the value and what is allowed."""
    return _integer(text, least=1, most=MAX_COUNT)


def modules(text: str) -> tuple[str, ...] | str:
    """Names of layers, separated by commas; anything else is one regular expression."""
    names = comma_list(text)
    return names if all(re.fullmatch(r"\w+", name) for name in names) else text


def whole_number(text: str) -> int:
    """An integer of at least 0."""
    return _integer(text, least=0, most=MAX_COUNT)


def seed(text: str) -> int:
    """A seed that every library takes."""
    return _integer(text, least=0, most=MAX_SEED)


def _integer(text: str, *, least: int, most: int) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not is_number or not least <= int(text) <= most:
        raise argparse.ArgumentTypeError(
            f"'{cut(text, limit=80)}' is not a whole number of at least {least} and at most {most}"
        )
    return int(text)


def positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0")
    return value


def seed_list(text: str) -> tuple[int, ...]:
    """Different whole numbers of at least 0, separated by commas, else argparse's own complaint."""
    parts = comma_list(text)
    if not parts or not all(part.isdecimal() and part.isascii() for part in parts):
        raise argparse.ArgumentTypeError(
            f"'{cut(text, limit=80)}' is not a list of whole numbers of at least 0, such as 0,1,2"
        )
    seeds = tuple(seed(part) for part in parts)
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"'{cut(text, limit=80)}' names a seed twice; each is trained once")
    return seeds


def batch_size(text: str) -> int | str:
    """A whole number of at least 1, or lm_eval's `auto` or `auto:N`."""
    return "auto" if re.fullmatch(r"auto(:\d+(\.\d+)?)?", text) else positive_int(text)


class Joined(argparse.Action):
    """Several words, and a flag given again, as one comma list, as lm_eval takes them."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        earlier = getattr(namespace, self.dest) or ""
        setattr(namespace, self.dest, ",".join(filter(None, (earlier, *values))))


def joined(group: Any, *flags: str, **settings: Any) -> None:
    """A flag whose values may stand apart, as lm_eval has them: they are joined by commas."""
    group.add_argument(*flags, nargs="+", action=Joined, **settings)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model", "-M", default="hf", metavar="KIND", help="micro (embedded) or hf (any Hugging Face model)"
    )
    joined(
        group, "--model_args", "-a", default="", metavar="K=V,...",
        help="pretrained=, dtype=, load_in_4bit=, peft=ADAPTER (on the base it was made on, in the same quantisation); "
        "or a JSON object",
    )  # fmt: skip
    group.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:0; default: a GPU where there is one")
    group.add_argument(
        "--batch_size", "-b", type=batch_size, metavar="N",
        help="questions at once; default 16, micro 64; auto: --max_batch_size, else 64, halved where memory is short",
    )  # fmt: skip
    group.add_argument("--max_batch_size", type=positive_int, metavar="N", help="where --batch_size auto begins")
    group.add_argument(
        "--apply_chat_template", nargs="?", const=True, default=False, metavar="NAME",
        help="wrap prompts in the model's chat template, or in the one of that name",
    )  # fmt: skip
    joined(group, "--gen_kwargs", default="", metavar="K=V,...", help="override generation settings")


def add_task_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("tasks and data")
    joined(
        group, "--tasks", "-t", required=True, metavar="NAMES",
        help="tasks, groups or globs, with commas or blanks between; for eval also YAML files and folders of them",
    )  # fmt: skip
    group.add_argument("--include_path", action="append", default=[], metavar="DIR", help="further task folders")
    group.add_argument("--data", metavar="WHERE", help="hub, synthetic or a folder of official files")
    add_metadata_flag(group)
    group.add_argument("--forget_path", metavar="PATH", help="forget this subtree, e.g. inst_03/pat_0012")
    group.add_argument(
        "--limit", "-L", type=positive_float, metavar="N",
        help="questions a task, or their share where below 1, for a quick look only",
    )  # fmt: skip
    group.add_argument(
        "--num_fewshot", "-f", type=whole_number, metavar="N", help="examples before each question (text tasks)"
    )


def add_metadata_flag(group: Any) -> None:
    joined(
        group, "--metadata", default="", metavar="K=V,...",
        help="loader settings, e.g. num_subjects=24 or '{\"num_subjects\": 24}'",
    )  # fmt: skip


def add_request_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("requests one after another (default: all is forgotten at once)")
    group.add_argument(
        "--requests", type=positive_int, metavar="N",
        help="divide what is to be forgotten into N parts, by subject, and forget one after another",
    )  # fmt: skip
    group.add_argument(
        "--between", choices=BETWEEN,
        help="merge each request's adapter into the weights (default), or train the next one upon it",
    )  # fmt: skip


def add_judge_flags(parser: argparse.ArgumentParser, *, default: str | None = "rules") -> None:
    parser.add_argument(
        "--judge",
        default=default,
        metavar="WHO",
        help="labels answers where a metric asks it: rules, none, hf:MODEL, classifier:FOLDER (for gibberish), "
        "remote:MODEL (sends answers away), or another package's NAME:k=v,...",
    )


def add_output_flags(parser: argparse.ArgumentParser, *, required: bool = False, trains: bool = True) -> None:
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output_path", "-o", required=required, metavar="DIR", help="folder for records; resumed if there"
    )
    group.add_argument("--use_cache", "-c", metavar="FILE", help="response cache, default: inside the output folder")
    group.add_argument("--feature_folder", metavar="DIR", help="keep image features on disk, for further runs too")
    if trains:
        group.add_argument("--seed", type=seed, metavar="N", help="seed of training (default: the recipe's, else 0)")
    group.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    group.add_argument("--quiet", action="store_true", help="no progress bars")


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training (default: the benchmark's recipe)")
    group.add_argument(
        "--lora_r", type=whole_number, metavar="N", help="rank of adapters; 0: none, the language model itself trains"
    )
    group.add_argument("--lora_alpha", type=positive_int, metavar="N")
    group.add_argument("--lr", type=positive_float, metavar="X")
    group.add_argument("--epochs", type=positive_float, metavar="N")
    group.add_argument("--max_steps", type=positive_int, metavar="N")
    group.add_argument("--train_batch_size", type=positive_int, metavar="N", help="questions a training step")
    group.add_argument("--grad_accumulation", type=positive_int, metavar="N", help="training steps an update")
    group.add_argument("--weight_decay", type=float, metavar="X")
    group.add_argument("--bf16", nargs="?", const="true", metavar="BOOL", help="compute in bfloat16; false: do not")
    group.add_argument(
        "--lora_target_modules", type=modules, metavar="NAMES",
        help="which layers get adapters: names such as q_proj,v_proj, or a regular expression",
    )  # fmt: skip
    group.add_argument("--save_steps", type=positive_int, metavar="N", help="steps between checkpoints")
    group.add_argument("--report_to", metavar="TRACKER", help="a Hugging Face Trainer tracker, e.g. wandb")


def add_watching_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("looks at methods while they train, on subjects that are in no reported number")
    group.add_argument("--eval_steps", type=positive_int, metavar="N", help="updates between two looks")
    group.add_argument(
        "--stop", metavar="RULE,...", help="end a training early, e.g. 'forget<0.3,utility<0.8*start,patience=3'"
    )
    group.add_argument("--keep", metavar="WHICH", help="last (default), best:forget, best:utility or best:balance")


def add_tuning_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings of methods (default: those of the recipe)")
    group.add_argument(
        "--tune", type=positive_int, metavar="N",
        help="try N settings of each method's grid, the recipe's first, on subjects that are in no reported number, "
        "and go on with the best",
    )  # fmt: skip


def add_recipe_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recipe")
    group.add_argument("--recipe", metavar="NAME", help="released or micro; default: micro for --model micro")
    group.add_argument("--stage_one_args", default="", metavar="K=V,...", help="change stage one, e.g. max_steps=500")


def add_seed_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("seeds (one seed: intervals cover subjects only, and the row gets no rank)")
    group.add_argument("--seeds", type=seed_list, metavar="N,N,...", help="train every method with each, e.g. 0,1,2")
    group.add_argument(
        "--stage_one_seeds",
        type=seed_list,
        metavar="N,N,...",
        help="train a retain model with each, to see how far two of them differ; the first also trains the target",
    )


def add_worker_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--workers", type=positive_int, metavar="N", help="micro models trained at once; default: one a core"
    )


def add_method_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method_args", default="", metavar="K=V,...", help="e.g. beta=0.1,retain_weight=1.0")


def add_target_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("target and retain model (default: both are trained from --model_args)")
    group.add_argument("--target_model", metavar="MODEL", help="a model that has already memorised everything")
    group.add_argument("--retain_model", metavar="MODEL", help="one trained the same way without the forget set")


def parse_metadata(text: str) -> dict[str, Any]:
    """The settings of --metadata. Raises UserError with the position of the fault."""
    return typed_arguments(text, owner="--metadata")


def _metadata(text: str, *, forget_path: str | None) -> dict[str, Any]:
    """The loader settings, with --forget_path as one of them."""
    found = parse_metadata(text)
    if forget_path is None:
        return found
    if found.get("forget_path") not in (None, forget_path):
        raise UserError(f"--forget_path {forget_path} and --metadata forget_path differ; give one of them")
    return {**found, "forget_path": forget_path}


def comma_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _stage_one_seeds(seeds: tuple[int, ...] | None, *, retain_model: str | None) -> tuple[int, ...]:
    if seeds and retain_model:
        raise UserError(
            f"--retain_model names one, and --stage_one_seeds {','.join(map(str, seeds))} would train others; give "
            "one of them"
        )
    return seeds or ()


def _one_seed(seed: int | None, seeds: tuple[int, ...] | None) -> int | None:
    if seed is not None and seeds:
        raise UserError(
            f"--seed {seed} and --seeds {','.join(map(str, seeds))} both say how to train; give one of them"
        )
    return seed


def config_from(args: argparse.Namespace) -> RunConfig:
    """The resolved configuration of a verb's flags. Raises UserError where flags contradict one another."""
    from mmforget.attacks.naming import attack_names
    from mmforget.pipeline.config import Asking, RunConfig

    given: dict[str, Any] = dict(vars(args))
    given["model"] = SAME_MODEL.get(given["model"], given["model"])
    if given["model"] not in MODELS:
        raise UnknownName("model", name=given["model"], known=MODELS)
    model_args = arguments_in(given["model_args"], owner="--model_args")
    if given["model"] == "hf" and "pretrained" not in model_args and not given.get("target_model"):
        raise UserError("--model hf needs --model_args pretrained=PATH_OR_HUB_ID; or try --model micro")
    for folder in given["include_path"]:
        tell(f"mmforget: --include_path {folder}: Python beside its task files is run")
    return RunConfig(
        model=given["model"],
        model_args=model_args,
        tasks=comma_list(given["tasks"]),
        include_path=tuple(given["include_path"]),
        data=given["data"],
        metadata=_metadata(given["metadata"], forget_path=given.get("forget_path")),
        methods=comma_list(given.get("methods") or given.get("method") or ""),
        method_args=arguments_in(given.get("method_args", ""), owner="--method_args"),
        recipe=given.get("recipe") or ("micro" if given["model"] == "micro" else "released"),
        training={k: given[k] for k in TRAINING_FLAGS if given.get(k) is not None},
        stage_one=arguments_in(given.get("stage_one_args") or "", owner="--stage_one_args"),
        target_model=given_model(given.get("target_model"), model_args=model_args, device=given["device"]),
        retain_model=given_model(given.get("retain_model"), model_args=model_args, device=given["device"]),
        device=given["device"],
        batch_size=_batch_size(given),
        apply_chat_template=given["apply_chat_template"],
        gen_kwargs=typed_arguments(given["gen_kwargs"], owner="--gen_kwargs"),
        num_fewshot=given["num_fewshot"],
        limit=given["limit"],
        seed=_one_seed(given["seed"], given.get("seeds")),
        seeds=given.get("seeds") or (),
        stage_one_seeds=_stage_one_seeds(given.get("stage_one_seeds"), retain_model=given.get("retain_model")),
        output_path=given["output_path"],
        use_cache=given["use_cache"],
        feature_folder=given["feature_folder"],
        judge=given.get("judge") or "rules",
        attacks=() if given.get("attacks") is None else attack_names(given["attacks"]),
        attacker=given.get("attacker"),
        workers=given.get("workers"),
        one_at_a_time=bool(given.get("one_at_a_time")),
        requests=given.get("requests"),
        tune=given.get("tune"),
        between=_between(given.get("between"), requests=given.get("requests"), alone=bool(given.get("one_at_a_time"))),
        asking=given.get("asking") or Asking(),
    )


def _between(between: str | None, *, requests: int | None, alone: bool) -> str | None:
    if requests is None and between is not None:
        raise UserError(
            f"--between {between} is about requests one after another; give their number, e.g. --requests 5"
        )
    if requests is not None and alone:
        raise UserError(
            f"--requests {requests} forgets one part after another and keeps what was forgotten, --one_at_a_time puts "
            "the model back after each subject; give one of them"
        )
    return between


def given_model(text: str | None, *, model_args: Mapping[str, Any], device: str | None) -> ModelSpec | None:
    """What --target_model names: a path or hub id, loaded as --model_args says, or whole model arguments.

    The adapter and the guard of --model_args are those of their own model, and no other's.
    """
    from mmforget.model.spec import ModelSpec

    if not text:
        return None
    if "=" in text:
        return ModelSpec.parse(text, device=device)
    own = {"pretrained", "revision", "peft", "merge_peft", "guard"}
    shared = {name: value for name, value in model_args.items() if name not in own}
    return ModelSpec.from_mapping({**shared, "pretrained": text}, device=device)


def _batch_size(given: Mapping[str, Any]) -> int:
    if given["batch_size"] == "auto":
        return given["max_batch_size"] or AUTO_BATCH_SIZE
    return given["batch_size"] or BATCH_SIZES[given["model"]]
