#!/usr/bin/env bash
# The same tensors with the same metadata, saved twice, are files with different hashes.
#
# Seen with safetensors 0.8.0. Tensors are written in a fixed order, but two or more entries of metadata come in an
# order that is drawn anew for each call. Whoever names a model or an adapter by the hash of its file (to find cached
# answers, to show that an unlearned model is the one that was measured, to see that a run can be repeated) takes
# equal models for different ones. With one entry, as most libraries write it ({"format": "pt"}), the bytes are always
# equal, so a test with that does not show it.
#
# mmforget writes one entry, and an adapter's fingerprint is of its tensors, not of its file
# (mmforget/model/loaded.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6
cd "$folder"

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import hashlib

import numpy
import safetensors
from safetensors.numpy import save

print("safetensors", safetensors.__version__, "numpy", numpy.__version__)

NUM_SAVES = 32


def is_always_equal(metadata):
    files = {hashlib.sha256(save({"weight": numpy.ones(3)}, metadata=metadata)).hexdigest() for _ in range(NUM_SAVES)}
    return len(files) == 1


one = {"format": "pt"}
four = {"format": "pt", "base": "llama", "method": "npo", "seed": "0"}
expected = {"1 entry": "equal files", "4 entries": "equal files"}
surprise = {"1 entry": "equal files", "4 entries": "different files"}
seen = {
    name: "equal files" if is_always_equal(metadata) else "different files"
    for name, metadata in {"1 entry": one, "4 entries": four}.items()
}

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
