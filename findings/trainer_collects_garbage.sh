#!/usr/bin/env bash
# Trainer.train searches everything that the process holds for garbage, once a call: half a second of a short training.
#
# Seen with transformers 5.23.0, accelerate 1.15.0, torch 2.13.0, Python 3.11. Before its first step Trainer.train calls
# Accelerator.free_memory, which calls gc.collect(). What is visited is every object that Python tracks, and libraries
# alone bring hundreds of thousands of them; with peft and lm_eval beside it is a million, and each call takes .5 s.
# Whoever trains often and little (seeds, methods, tests) spends more time there than in the steps, and no profile of
# PyTorch shows it. After gc.freeze(), called when everything is imported and no model exists, hardly any are visited.
#
# mmforget freezes what the libraries brought (mmforget/libraries.py, leave_libraries_to_stay).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0
cd "$folder"

"$folder/venv/bin/python" - 2> "$folder/stderr" <<'PYTHON' || { cat "$folder/stderr" >&2; exit 1; }
import gc
import traceback

import accelerate
import torch
import transformers
from transformers import Trainer, TrainingArguments

print("transformers", transformers.__version__, "accelerate", accelerate.__version__)
collect = gc.collect
calls = []


def watched(*generation):
    caller = traceback.extract_stack(limit=2)[0].filename
    calls.append(("/".join(caller.split("/")[-3:]), len(gc.get_objects())))
    return collect(*generation)


class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, y):
        return {"loss": (self.slope * x - y).square().mean()}


def train(num_steps):
    rows = [{"x": torch.ones(1), "y": torch.ones(1)}] * 8
    settings = TrainingArguments(
        "out", max_steps=num_steps, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True
    )
    Trainer(Line(), settings, train_dataset=rows).train()


train(1)  # whatever loads late is loaded now
gc.collect = watched
train(1)
train(20)
gc.freeze()
train(1)

expected = "no collection that grows with what else is imported"
print("expected:", expected)
places, visited = zip(*calls)
print("seen:     a collection each, from", places, "visiting", visited)
if places != ("accelerate/utils/memory.py",) * 3 or min(visited[:2]) < 250_000 or visited[2] > 50_000:
    raise SystemExit("the behaviour has changed")
PYTHON
