#!/usr/bin/env bash
# lm_eval compiles a task's Jinja templates anew for every field of every document, and one document several times.
#
# Seen with lm_eval 0.4.13 and jinja2 3.1.6. `apply_template` hands the text to `Environment.from_string`, which keeps
# nothing: a hundred questions of one task with three templates are compiled some 400 times, two milliseconds each, while
# a row is rendered in microseconds. Ten thousand questions spend more than a minute of one core in Jinja's parser,
# which is more than a fast model needs to answer them.
#
# mmforget: keeps compiled templates for the time of an evaluation (templates_kept in mmforget/lm/inside.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lm_eval==0.4.13 jinja2==3.1.6
cd "$folder"

mkdir tasks
cat > tasks/capitals.yaml <<'YAML'
task: capitals
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{gold}}"
metric_list: [{metric: acc}]
YAML
for number in $(seq 100); do
  echo "{\"question\": \"Which is number $number?\", \"choices\": [\"one\", \"two\"], \"gold\": 0}"
done > rows.jsonl

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON' 2> /dev/null
from importlib.metadata import version

from lm_eval import simple_evaluate, utils
from lm_eval.tasks import TaskManager

print("lm_eval", version("lm_eval"), "jinja2", version("jinja2"))
compiled, plain = [], utils.env.compile


def counted(source, *arguments, **settings):
    compiled.append(source)
    return plain(source, *arguments, **settings)


utils.env.compile = counted
manager = TaskManager(include_path="tasks", include_defaults=False)
simple_evaluate(model="dummy", tasks=["capitals"], task_manager=manager, bootstrap_iters=0)

print("expected: as many compilations as there are templates:", len(set(compiled)))
print("seen:    ", len(compiled), "for 100 documents")
if len(set(compiled)) > 10 or len(compiled) < 300:
    raise SystemExit("the behaviour has changed: templates are no longer compiled for every document")
PYTHON
