#!/usr/bin/env bash
# The same LoraConfig, saved by two processes, gives two different adapter_config.json.
#
# Seen with peft 0.21.2, torch 2.13.0 and transformers 5.23.0. A list of target_modules becomes a set, which is
# written in the order that Python's hashing of strings gives it, another in each process. Adapters with equal weights
# and settings then differ in their files: a hash over the folder says that a run cannot be repeated, caches of
# answers are not found, and version control shows changes where there are none. Within one process the order stays,
# so a test there passes.
#
# mmforget sorts sets, in what it saves (mmforget/model/adapter_files.py) and in an adapter's fingerprint
# (mmforget/model/loaded.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet peft==0.21.2 torch==2.13.0 transformers==5.23.0
cd "$folder"
export HF_HOME="$folder" HF_HUB_OFFLINE=1

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import hashlib
import os
import pathlib
import subprocess
import sys
from importlib.metadata import version

print(*(f"{name} {version(name)}" for name in ("peft", "torch", "transformers")))

SAVE = """
import sys
from peft import LoraConfig
LoraConfig(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]).save_pretrained(sys.argv[1])
"""


def hash_of(folder, *, seed):
    environment = os.environ | {"PYTHONHASHSEED": str(seed)}
    subprocess.run([sys.executable, "-c", SAVE, folder], check=True, env=environment)
    return hashlib.sha256(pathlib.Path(folder, "adapter_config.json").read_bytes()).hexdigest()


# Python draws the seed of its hashing for each process, unless it is given.
processes = [hash_of(f"seed_{seed}", seed=seed) for seed in (1, 2, 3)]
again = hash_of("seed_1_again", seed=1)
expected = {"another process": "the same file", "another process with the same hash seed": "the same file"}
surprise = {"another process": "another file", "another process with the same hash seed": "the same file"}
seen = {
    "another process": "the same file" if len(set(processes)) == 1 else "another file",
    "another process with the same hash seed": "the same file" if again == processes[0] else "another file",
}

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
