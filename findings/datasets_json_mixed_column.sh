#!/usr/bin/env bash
# One number in a column of strings makes load_dataset("json") read all other strings as JSON once more.
#
# Seen with datasets 5.2.0 and pyarrow 26.0.1. The id "00000102" becomes 102, the answer "1.50" becomes 1.5, "true"
# becomes True and "null" becomes None, silently, as soon as any record in the block has a number there. Without that
# record all are strings, as written. Ids no longer find their pictures or their subject, a subject may be lost from
# the forget set, and an answer is compared with text that nobody wrote.
#
# mmforget reads a benchmark's files with Python's json and declares the type of each column
# (mmforget/benchmark/rows.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
export HF_HOME="$folder" HF_HUB_OFFLINE=1

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import json

import datasets
import pyarrow

datasets.disable_progress_bars()
print("datasets", datasets.__version__, "pyarrow", pyarrow.__version__)


def loaded(name, values):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps({"value": value}) + "\n" for value in values)
    return datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train")["value"][:]


strings = ["00000102", "1.50", "true", "null", "Oslo"]
expected = [*strings, 7]
surprise = [102, 1.5, True, None, "Oslo", 7]
seen = loaded("mixed", expected)
alone = loaded("strings", strings)
print("without the number:", alone)
if alone != strings:
    raise SystemExit("the behaviour has changed: a column of strings alone is no longer kept as it is")

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
