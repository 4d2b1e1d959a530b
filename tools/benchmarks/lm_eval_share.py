"""A whole evaluation through lm_eval at the benchmark's shape: how much of its time is not the model's."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.generation import NEW_TOKENS
from benchmarks.measuring import Seconds, Watch, clock, is_enough, say
from benchmarks.world import Question, Shape, make_questions
from mmforget.evaluation.run import evaluate
from mmforget.lm.adapter import MMForgetLM

SHAPE = Shape(3, 20, 6)
COMMON = """
dataset_path: parquet
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
doc_to_image: [image]
doc_to_text: "{{{{context}}}}"
target_delimiter: ""
"""
CHOICES = """
task: bench_choices
output_type: multiple_choice
doc_to_choice: "{{answers}}"
doc_to_target: 0
metric_list: [{metric: acc}]
"""
GENERATION = f"""
task: bench_generation
output_type: generate_until
doc_to_target: "{{{{answers[0]}}}}"
generation_kwargs: {{max_gen_toks: {NEW_TOKENS}, do_sample: false, until: []}}
metric_list: [{{metric: exact_match}}]
"""


def run(context: Context) -> dict[str, Any]:
    """Two tasks over the same questions, candidate answers and generation; shares of the best run behind the first."""
    shape = Shape(2, 4, 3) if context.quick else SHAPE
    tasks = write_tasks(context.folder / "tasks", make_questions(shape, side=context.geometry.image_side))
    loaded = context.model()
    say(f"evaluation through lm_eval: {shape.images} images, {shape.questions} questions each")
    runs: list[dict[str, float]] = []
    taken: list[Seconds] = []
    # What the first imports and finds out about the machine it does once, so it is no candidate for the best.
    while len(taken) < 2 or not is_enough(taken, repeats=context.repeats):
        lm = MMForgetLM(loaded, cache=None, progress=False)
        with Watch(loaded.core) as watch:
            taken.append(clock(lambda lm=lm: evaluate(lm, tasks.names, include_paths=[tasks.folder], progress=False)))
        seconds = taken[-1].wall
        runs.append({"wall_s": seconds, "model_s": watch.inside_s, "share_outside_model": 1 - watch.inside_s / seconds})
    best = min(runs[1:], key=lambda one: one["wall_s"])
    return {"shape": vars(shape), **best, "images_encoded": watch.num_images, "runs": runs}


class Tasks:
    """A folder of task files, and the names in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = ["bench_choices", "bench_generation"]


def write_tasks(folder: Path, questions: Sequence[Question]) -> Tasks:
    """The questions as a Parquet file and two plain lm_eval tasks over it."""
    from datasets import Dataset, Features, Image, List, Value

    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "context": [one.context for one in questions],
        "answers": [list(one.answers) for one in questions],
        "image": [{"bytes": _png(one), "path": None} for one in questions],
    }
    features = Features({"context": Value("string"), "answers": List(Value("string")), "image": Image()})
    file = folder / "questions.parquet"
    Dataset.from_dict(rows, features=features).to_parquet(str(file))
    for name, own in (("choices", CHOICES), ("generation", GENERATION)):
        (folder / f"{name}.yaml").write_text(own + COMMON.format(file=file), encoding="utf-8")
    return Tasks(folder)


def _png(question: Question) -> bytes:
    buffer = io.BytesIO()
    question.image.save(buffer, format="PNG")
    return buffer.getvalue()
