"""Training shows what lm_eval asks: contexts, answers, candidates and images of the tasks equal the examples."""

from __future__ import annotations

import numpy as np
import pytest
from lm_eval.tasks import TaskManager

from mmforget.benchmark import DataSource, find
from mmforget.benchmark.find import task_folders
from mmforget.benchmark.rows import EmptySet, candidate_roles

DATA = DataSource("synthetic")


def manager(**metadata: object) -> TaskManager:
    folders = [str(folder) for folder in task_folders()]
    return TaskManager(include_path=folders, include_defaults=False, metadata={"data": "synthetic", **metadata})


@pytest.mark.parametrize("group", ["fiubench", "fiubench_text"])
def test_contexts_and_answers_are_those_of_the_examples(group: str) -> None:
    benchmark = find(group)
    # lm_eval merges the model's own arguments into what loaders get.
    tasks = manager(pretrained="x", dtype="float32", revision="main").load([group])["tasks"]
    assert set(tasks) == {task.name for task in benchmark.tasks}
    for spec in benchmark.tasks:
        task, examples = tasks[spec.name], benchmark.bind(DATA).examples(spec.set)
        assert len(task.eval_docs) == len(examples)
        for doc, example in list(zip(task.eval_docs, examples, strict=True))[:10]:
            context = task.fewshot_context(doc, 0)
            made = task.construct_requests(doc, context, metadata=(spec.name, 0, 1))
            requests = made if isinstance(made, list) else [made]
            assert context == example.context
            if spec.kind == "prob":
                assert len(requests) == len(candidate_roles(doc)) == 8
                assert requests[0].arguments[1] == example.answer
            if spec.modality == "image":
                (shown,) = requests[0].arguments[-1]["visual"]
                assert np.array_equal(np.asarray(shown), np.asarray(example.images[0]))
            else:
                assert len(requests[0].arguments) == 2


def test_released_generation_settings() -> None:
    task = manager().load(["fiubench_forget_gen"])["tasks"]["fiubench_forget_gen"]
    kwargs = task.config.generation_kwargs
    assert kwargs == {"do_sample": False, "max_gen_toks": 50, "until": []}


def test_directions_differ_between_what_is_kept_and_what_is_forgotten() -> None:
    tasks = manager().load(["fiubench"])["tasks"]
    forget, kept = (tasks[name].higher_is_better() for name in ("fiubench_forget_gen", "fiubench_retain5_gen"))
    assert (forget["rouge_l"], kept["rouge_l"]) == (False, True)
    assert (forget["degenerate"], kept["degenerate"]) == (False, False)


def test_an_empty_set_says_so_to_lm_eval(tmp_path, official) -> None:  # type: ignore[no-untyped-def]
    import json

    records = [json.loads(line) for line in (official / "full.json").read_text().splitlines()][:400]
    (tmp_path / "full.json").write_text(json.dumps(records))
    (tmp_path / "split.json").write_text((official / "split.json").read_text())
    with pytest.raises(EmptySet, match="fiubench set 'holdout' is empty"):
        manager(data=str(tmp_path)).load(["fiubench_holdout_gen_text"])
