"""All of lm_eval that is no promise of its own: its task objects, task manager, evaluator and loggers.

Nothing else in mmforget imports lm_eval, so a release that moves something is mended here. What is relied on:

- `api.model.TemplateLM`: the base class of the adapter, with `_loglikelihood_tokens` to override and `cache_hook`;
- `api.task.Task`: `get_config`, `set_config`, `set_fewshot_seed`, `dataset` (split to rows, read when asked for),
  `eval_docs`, `fewshot_context` (replaced where documents have turns), `resolve_field`, `construct_requests`,
  `doc_to_target`, `doc_to_choice`, `features`, `process_results`, `aggregation`, `instances` with `doc`, `doc_id`,
  `idx`, `task_name`, `request_type`, `args` and `resps`, and the module's own `tqdm`;
- `api.utils.maybe_delimit`: two texts with a delimiter between them;
- `api.group.Group` and `tasks.TaskManager`: `load`, `match_tasks`, `all_tasks`, its `_check_duplicates`, its index, and
  the sorted names of each kind that it makes of that;
- `tasks._index`: entries of a name with a kind, a file and tags, whose files are read when a task is loaded;
- `tasks._yaml_loader.load_yaml`: a task file with its functions;
- `evaluator.evaluate`: loaded tasks and groups in, results out; what it logs, under `evaluator_utils` and `api.task`;
- `utils.env`, the Jinja environment of all task templates, and its `from_string`;
- `loggers.utils`, `utils.make_table`, `utils.set_torch_seed`: what `lm_eval run` adds to results, prints and seeds.

`benchmark/task_files.py` shares Python files beside tasks with lm_eval under the names that `load_yaml` gives them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM as TemplateLM

from mmforget.lm.own_tasks import KnownTask, known_tasks

logger = logging.getLogger(__name__)

MODULES = ("lm_eval.evaluator", "lm_eval.tasks")
"""What takes seconds to import, for processes that are to begin with it."""
TASK_LOG, EVALUATOR_LOG = "lm_eval.api.task", "lm_eval.evaluator_utils"
CHATTER = ("Custom kwargs can be passed", "fewshot_split is None", "are not consistent. Defaulting to None")
"""What lm_eval warns about every task with rows of its own, and every group that holds forgotten and kept rows."""

# -- finding and loading tasks -----------------------------------------------------------------------------------------


def task_manager(folders: Iterable[str | Path], *, defaults: bool, metadata: Mapping[str, Any]) -> Any:
    """lm_eval's task manager over folders of task files; with its own tasks as well, where a name may be one of them.

    Args:
        metadata: what loaders of rows get.
    """
    from lm_eval.tasks import TaskManager

    class Manager(TaskManager):  # type: ignore[misc]
        """A task that two groups share is no error."""

        @staticmethod
        def _check_duplicates(built: list[Any]) -> None:
            """Both groups hold the same task, which runs once."""

    manager = Manager(include_path=list(folders), include_defaults=False, metadata=dict(metadata))
    if defaults:
        _add(manager, own_index())
    return manager


def own_index() -> dict[str, Any]:
    """lm_eval's own tasks, groups and tags as its index has them, without what their files say: that is read anew."""
    import lm_eval.tasks
    from lm_eval.tasks._index import Entry, Kind

    folder = Path(lm_eval.tasks.__file__).parent
    found = known_tasks(folder, read=_read_index)
    return {
        name: Entry(name, Kind[one.kind], one.file and folder / one.file, tags=set(one.tags))
        for name, one in found.items()
    }


def _read_index(folder: Path) -> dict[str, KnownTask]:
    from lm_eval.tasks._index import TaskIndex

    return {
        name: KnownTask(
            entry.kind.name, entry.yaml_path and str(entry.yaml_path.relative_to(folder)), tuple(sorted(entry.tags))
        )
        for name, entry in TaskIndex.build([folder]).items()
    }


def _add(manager: Any, index: Mapping[str, Any]) -> None:
    """Names that a manager knows besides; its own come first, as those of `--include_path` do for lm_eval."""
    for name in sorted(index.keys() & manager.task_index.keys()):
        logger.warning("task '%s' of a folder stands for lm_eval's own of this name", name)
    manager._index = {**index, **manager.task_index}
    by_kind: dict[str, list[str]] = {}
    for name, entry in sorted(manager.task_index.items()):
        by_kind.setdefault(entry.kind.name, []).append(name)
    manager._all_tasks = sorted(manager.task_index)
    manager._all_subtasks = sorted([*by_kind.get("TASK", ()), *by_kind.get("PY_TASK", ())])
    manager._all_groups, manager._all_tags = by_kind.get("GROUP", []), by_kind.get("TAG", [])


def task_file(path: Path) -> Any:
    """A task file as lm_eval's command line loads it, with its functions: another form of a name for `load`."""
    from lm_eval.tasks._yaml_loader import load_yaml

    return load_yaml(path)


def group_of(name: str, *, tasks: Mapping[str, Any], version: str) -> Any:
    """Loaded tasks as a group of lm_eval's."""
    from lm_eval.api.group import Group

    group = Group(name, alias=name, metadata={"version": version})
    for task in tasks.values():
        group.add(task)
    return group


# -- a loaded task -----------------------------------------------------------------------------------------------------


def metadata_of(task: Any) -> Mapping[str, Any]:
    """What its file says under `metadata`; empty where that is no mapping."""
    found = task.get_config("metadata")
    return found if isinstance(found, Mapping) else {}


def num_docs(task: Any) -> int:
    """Documents that it would be asked about, whatever the limit."""
    return len(task.eval_docs)


def rows_and_pictures(task: Any) -> tuple[Sequence[Mapping[str, Any]], Callable[[Mapping[str, Any]], Any]]:
    """All documents that it would be asked about, whatever the limit, and what shows the pictures of one."""
    return task.eval_docs, task.doc_to_image


def ids_of(task: Any) -> list[Any]:
    """The `id` of every such document; no picture is read."""
    found: list[Any] = task.eval_docs["id"][:]
    return found


def unlisted_metrics(task: Any, *, score: Callable[[str], Any]) -> list[str]:
    """What `process_results` returns and `metric_list` does not list, for the first document with its right answer.

    Args:
        score: a candidate answer's log-likelihood, as a model would return it.
    """
    doc = task.eval_docs[0]
    requests = task.construct_requests(doc, task.fewshot_context(doc, 0), metadata=(task.task_name, 0, 1))
    if generates(task):
        results = [task.doc_to_target(doc)]
    elif isinstance(requests, list):
        results = [score(request.arguments[1]) for request in requests]
    else:
        found = score(requests.arguments[-1])
        results = [found[0] if task.OUTPUT_TYPE == "loglikelihood_rolling" else found]
    return sorted(set(task.process_results(doc, results)) - set(task.aggregation()))


def choices_of(task: Any) -> Callable[[Mapping[str, Any]], Sequence[str]]:
    """What a task of choices scores of a document."""
    found: Callable[[Mapping[str, Any]], Sequence[str]] = task.doc_to_choice
    return found


def show_turns(task: Any) -> None:
    """Under a chat template, every message of a document with turns is one of the prompt's, as in training.

    lm_eval itself shows what `doc_to_text` makes of them as one message of a user; so it stays without a template, and
    where examples stand in front.
    """
    if "turns" not in task.features:
        return
    from lm_eval.api.utils import maybe_delimit

    plain = task.fewshot_context

    def fewshot_context(doc: Mapping[str, Any], num_fewshot: int, **settings: Any) -> Any:
        chat = settings.get("chat_template") if settings.get("apply_chat_template") else None
        if chat is None or num_fewshot or not doc["turns"]:
            return plain(doc, num_fewshot, **settings)
        told = [settings.get("system_instruction"), task.resolve_field(doc, task.get_config("description"))]
        instruction = maybe_delimit(*told, task.get_config("fewshot_delimiter"))
        system = [{"role": "system", "content": instruction}] if instruction else []
        prefix = settings.get("gen_prefix")
        begun = [{"role": "assistant", "content": prefix}] if prefix else []
        return chat([*system, *doc["turns"][:-1], *begun], add_generation_prompt=not prefix)

    task.fewshot_context = fewshot_context


def delimiter_of(task: Any, *, template: bool | str = False) -> str:
    """What stands between a question and its answer; in a chat template nothing, unless the answer's turn is begun."""
    prefix = str(task.get_config("gen_prefix") or "")
    return "" if template and (not prefix or prefix[-1].isspace()) else str(task.get_config("target_delimiter"))


def requests_of(task: Any) -> list[Any]:
    """The requests that were made of its documents."""
    return list(task.instances)


def docs_asked(task: Any) -> list[Mapping[str, Any]]:
    """The documents that were asked, each once, in order."""
    return list({request.doc_id: request.doc for request in task.instances}.values())


def answers_of(requests: Iterable[Any]) -> list[Any]:
    """The first answer to each request."""
    return [request.resps[0] for request in requests]


def runs_unsafe_code(task: Any) -> bool:
    """Whether it runs code that the model writes."""
    return bool(getattr(task, "UNSAFE_CODE", False))


def generates(task: Any) -> bool:
    """Whether the model writes its answers."""
    return bool(task.OUTPUT_TYPE == "generate_until")


def set_gen_kwargs(task: Any, values: Mapping[str, Any]) -> None:
    """Generation settings over the task's own."""
    task.set_config(key="generation_kwargs", value=dict(values), update=True)


def set_no_metrics(task: Any) -> None:
    """Answers are kept, and no metric of them computed."""
    task.set_config(key="process_results", value=_no_metrics)


def _no_metrics(doc: Any, results: Any) -> dict[str, float]:
    return {}


def set_num_fewshot(task: Any, wanted: int | None, *, seed: int | None) -> bool:
    """Sets how many examples stand before a question, and the seed of their choice; None leaves the task's number.

    Returns whether the wish was heard: a task that is asked without examples always is.
    """
    own = task.get_config("num_fewshot")
    if wanted is not None and own != 0:
        task.set_config(key="num_fewshot", value=wanted)
    elif own is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=seed)
    return wanted is None or own != 0


def change_image_columns(task: Any, change: Callable[[Any], Any]) -> None:
    """Gives the image columns of its rows another `datasets` feature, where images go to the model as they are.

    A task that works on documents or pictures by a function of its own keeps its rows.
    """
    given = task.get_config("doc_to_image")
    columns = [given] if isinstance(given, str) else given
    if not isinstance(columns, list) or not all(isinstance(column, str) for column in columns):
        return
    if task.get_config("process_docs") is not None or not isinstance(task.dataset, MutableMapping):
        return
    for name, rows in task.dataset.items():
        for column in columns:
            if column in getattr(rows, "features", {}):
                rows = rows.cast_column(column, change(rows.features[column]))
        task.dataset[name] = rows


# -- running -----------------------------------------------------------------------------------------------------------


def set_torch_seed(seed: int) -> None:
    """Seeds torch as lm_eval does."""
    from lm_eval import utils

    utils.set_torch_seed(seed)


def run_tasks(lm: Any, *, tasks: Mapping[str, Any], groups: Mapping[str, Any], **settings: Any) -> Any:
    """lm_eval's results of a model on loaded tasks; None in a process that is not the first of several.

    Args:
        settings: those of `lm_eval.evaluator.evaluate`.
    """
    from lm_eval.evaluator import evaluate

    return evaluate(lm=lm, task_dict={"tasks": dict(tasks), "groups": dict(groups)}, **settings)


def without_numbers(results: dict[str, Any], tasks: Iterable[str]) -> None:
    """Makes every number of these tasks in lm_eval's results NaN, and of the groups that hold one of them."""
    unknown = set(tasks)
    inside: Mapping[str, Sequence[str]] = results.get("group_subtasks") or {}
    for _ in inside:
        unknown |= {group for group, members in inside.items() if unknown & set(members)}
    for part in ("results", "groups"):
        for name in unknown & set(results.get(part) or ()):
            numbers = results[part][name]
            results[part][name] = {key: math.nan if "," in key else value for key, value in numbers.items()}


def keep_answer(lm: TemplateLM, request: Any, *, method: str, answer: Any) -> None:
    """Hands one answer to lm_eval's own cache, which looks it up by the request's arguments."""
    lm.cache_hook.add_partial(method, request.args, answer)


# -- what it says ------------------------------------------------------------------------------------------------------


def environment(*, in_repository: bool) -> dict[str, Any]:
    """What lm_eval says about the machine; slow to find out. Outside of a repository git would complain on stderr."""
    from lm_eval.loggers.utils import add_env_info, get_git_commit_hash

    found: dict[str, Any] = {"git_hash": get_git_commit_hash() if in_repository else None}
    add_env_info(found)
    return found


def add_tokenizer_info(results: dict[str, Any], lm: TemplateLM) -> None:
    """Adds what lm_eval says about a model's tokenizer."""
    from lm_eval.loggers import utils

    utils.add_tokenizer_info(results, lm)


def table(results: Mapping[str, Any], *, part: str = "results") -> str:
    """The results, or the `groups` among them, as the table that lm_eval prints."""
    from lm_eval.utils import make_table

    return str(make_table(results, part))


@contextmanager
def quiet() -> Iterator[None]:
    """Without lm_eval's remarks on tasks that are as they should be; every other warning passes."""

    def passes(record: logging.LogRecord) -> bool:
        return not any(text in record.getMessage() for text in CHATTER)

    loggers = [logging.getLogger(name) for name in (TASK_LOG, EVALUATOR_LOG)]
    for each in loggers:
        each.addFilter(passes)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(passes)


@contextmanager
def prompts_shown(wanted: bool) -> Iterator[None]:
    """With what lm_eval says of the first document of each task for --write_out, on stderr."""
    told = logging.getLogger(EVALUATOR_LOG)
    handler, level = logging.StreamHandler(), told.level
    if wanted:
        handler.addFilter(lambda record: record.levelno == logging.INFO)
        told.addHandler(handler)
        told.setLevel(logging.INFO)
    try:
        yield
    finally:
        told.removeHandler(handler)
        told.setLevel(level)


@contextmanager
def templates_kept() -> Iterator[None]:
    """Inside, a template of a task is compiled once; lm_eval compiles it for every field of every document."""
    from lm_eval import utils

    plain = utils.env.from_string
    utils.env.from_string = lru_cache(maxsize=256)(plain)
    try:
        yield
    finally:
        utils.env.from_string = plain


@contextmanager
def bars_off() -> Iterator[None]:
    """Without the bar that lm_eval shows for building every task's prompts, which takes no time worth showing."""
    from lm_eval.api import task as task_module

    original = task_module.tqdm
    task_module.tqdm = partial(original, disable=True)
    try:
        yield
    finally:
        task_module.tqdm = original
