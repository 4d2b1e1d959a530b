#!/usr/bin/env bash
# What metric_args of a model card leave open (None) is gone when the card is read again, places in lists included.
#
# Seen with huggingface_hub 2.4.0. eval_results_to_model_index, which ModelCardData calls, removes every None below the
# model index, also inside metric_args and dataset_args, whose keys are the caller's. Arguments where None has a meaning of
# its own (no interval, no direction, no limit) come back without the key, and a list of such values comes back shorter,
# its places moved: [0.1, None, 0.3] is [0.1, 0.3]. Nothing says so when the card is written.
#
# mmforget: metric_args of its model index hold no list with places that mean something, and docs/leaderboard.md says that
# a null is left out (mmforget/leaderboard/formats/hub.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet huggingface_hub==2.4.0
cd "$folder"

HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from huggingface_hub import EvalResult, ModelCard, ModelCardData

print("huggingface_hub", version("huggingface_hub"))
expected = {"low": None, "limits": [0.1, None, 0.3], "num": 0, "better": False}
result = EvalResult("text-generation", "a/b", "b", "overall", 0.5, metric_args=expected)
head = ModelCardData(model_name="m", eval_results=[result]).to_yaml()
seen = ModelCard(f"---\n{head}\n---\n").data.eval_results[0].metric_args

print("expected:", expected)
print("seen:    ", seen)
if seen != {"limits": [0.1, 0.3], "num": 0, "better": False}:
    raise SystemExit("the behaviour has changed: no longer without every None")
PYTHON
