#!/usr/bin/env bash
# The wheel of opacus brings two more packages of everyday names: `benchmarks` and `examples`.
#
# Seen with opacus 1.6.0. After `pip install opacus`, `import benchmarks` and `import examples` work in every program of
# the environment that has no package of its own earlier on its path: scripts of another project that count on "there
# is no such package", or a namespace package `benchmarks` without `__init__.py`, get opacus' files instead of an error
# or of their own, since a regular package anywhere on the path is preferred to a namespace package.
#
# mmforget: tools/benchmarks has an `__init__.py`, and lies first on the path of the tools that import it
# (tests/unit/tools/test_own_benchmarks.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# What opacus needs itself, torch above all, is not looked at.
PIP_NO_DEPS=1 "$folder/venv/bin/pip" install --quiet opacus==1.6.0
cd "$folder"
mkdir -p project/benchmarks
echo 'print("ours")' > project/benchmarks/speed.py

found=$(PYTHONPATH="$folder/project" "$folder/venv/bin/python" - <<'PYTHON'
from importlib import metadata, util

files = metadata.files("opacus")
print("opacus", metadata.version("opacus"))
print("top", sorted({file.parts[0] for file in files if file.suffix == ".py"}))
spec = util.find_spec("benchmarks")
print("benchmarks from", "opacus" if "site-packages" in str(spec.origin) else spec.origin)
try:
    print("ours found:", util.find_spec("benchmarks.speed") is not None)
except ImportError as error:
    print("ours found:", error)
PYTHON
)
echo "$found"
grep -q "top \['benchmarks', 'examples', 'opacus'\]" <<< "$found"
grep -q "benchmarks from opacus" <<< "$found"
grep -q "ours found: False" <<< "$found"
echo "seen: a package benchmarks of opacus hides a project's own without __init__.py"
