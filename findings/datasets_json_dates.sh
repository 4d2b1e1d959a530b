#!/usr/bin/env bash
# JSON has no dates, yet a column of strings that all look like ISO dates comes back as datetime objects.
#
# Seen with datasets 5.2.0 and pyarrow 26.0.1, load_dataset("json"). The reference answer "1987-08-14" becomes
# "1987-08-14 00:00:00" in a prompt template or a training target, without a word. One answer of another form in the
# file keeps all of them strings, so a forget set of birthdays alone is changed while the full file it was taken from
# is not: exact match and ROUGE on the forget set fall, as if the model had forgotten.
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


def loaded(name, answers):
    with open(f"{name}.jsonl", "w") as file:
        file.writelines(json.dumps({"answer": answer}) + "\n" for answer in answers)
    rows = datasets.load_dataset("json", data_files=f"{name}.jsonl", split="train")
    return [f"Answer: {row['answer']}" for row in rows]


dates = ["1987-08-14", "1990-01-02"]
expected = ["Answer: 1987-08-14", "Answer: 1990-01-02"]
surprise = ["Answer: 1987-08-14 00:00:00", "Answer: 1990-01-02 00:00:00"]
seen = loaded("forget", dates)
full = loaded("full", [*dates, "Oslo"])
print("with one other answer in the file:", full)
if full != [*expected, "Answer: Oslo"]:
    raise SystemExit("the behaviour has changed: dates beside another answer are no longer kept as they are")

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
