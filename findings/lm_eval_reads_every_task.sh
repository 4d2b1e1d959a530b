#!/usr/bin/env bash
# To find one task by its name, lm_eval parses every task file that it ships: more than ten thousand, each time.
#
# Seen with lm_eval 0.4.13. Its task manager has an index that is made when the manager is, from all YAML below its
# package, with the files that they include; nothing of it is kept. On an ordinary processor this takes a quarter of a
# minute before the first question is asked or a misspelt name is refused, and again in every process: a sweep of a
# hundred short runs pays half an hour for names. A group of one file pays as much as all groups together.
#
# mmforget: looks for its own tasks in its own folders alone, and keeps lm_eval's names with their files in the cache
# until a file below the package changes (mmforget/lm/own_tasks.py); the manager's names are those of a stock one.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lm_eval==0.4.13
cd "$folder"

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
import time
from importlib.metadata import version

from lm_eval.tasks import TaskManager, _index

print("lm_eval", version("lm_eval"))

parse, parsed = _index.load_yaml, []


def counted(path, *arguments, **settings):
    parsed.append(path)
    return parse(path, *arguments, **settings)


_index.load_yaml = counted
seen = []
for _ in range(2):
    parsed.clear()
    start = time.process_time()
    found = TaskManager().match_tasks(["hellaswag"])
    seen.append(len(parsed))
    print(found, len(parsed), "files parsed,", round(time.process_time() - start, 1), "seconds of processor")

print("expected: the file of the task that is named, or all files once")
print("seen:    ", seen)
if found != ["hellaswag"] or min(seen) < 10_000 or seen[0] != seen[1]:
    raise SystemExit("the behaviour has changed: no longer all files, or no longer each time")
PYTHON
