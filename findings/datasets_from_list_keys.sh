#!/usr/bin/env bash
# Dataset.from_list takes its columns from the first row; what only later rows have is dropped, silently.
#
# Seen with datasets 5.2.0 and pyarrow 26.0.1. Keys that a later row lacks become None, so one would guess the same of
# keys that the first row lacks. Rows with an optional key (an image, paraphrases, options) lose it all over the data
# set when a row without it happens to come first, and with the rows in another order they do not. Questions about
# pictures are then asked without any, which looks like forgetting.
#
# mmforget gives each row all columns, with declared types (mmforget/benchmark/rows.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
export HF_HOME="$folder" HF_HUB_OFFLINE=1

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import datasets
import pyarrow

print("datasets", datasets.__version__, "pyarrow", pyarrow.__version__)

rows = [{"question": "Who is this?", "image": "a.png"}, {"question": "Who was Ada?"}]
expected = ["question", "image"]
surprise = ["question"]
seen = datasets.Dataset.from_list(rows[::-1]).column_names
other_order = datasets.Dataset.from_list(rows).column_names
print("with the other row first:", other_order)
if other_order != expected:
    raise SystemExit("the behaviour has changed: all columns of the first row are no longer there")

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
