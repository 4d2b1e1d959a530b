#!/usr/bin/env bash
# Python's re does not count vowel signs as part of a word: the name "राम" (Ram) is found as a whole word in "रामायण".
#
# Seen with Python 3.11.7; regex 2026.11.15, a package with re's interface, does it right. In re, \w means what
# str.isalnum() means, and the signs that Hindi, Bengali, Tamil, Thai and other scripts write onto a letter (Unicode
# category M) are neither letters nor digits. So r"\w+" takes words apart, and r"\b" sees the end of a word before
# each sign. Keyword checks for forgotten names then find them inside of other words, and counts of words, n-grams and
# repetitions are of fragments.
#
# mmforget counts marks as part of a word (mmforget/metrics/responses.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet regex==2026.11.15
cd "$folder"

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import platform
import re
from importlib.metadata import version

import regex

print("Python", platform.python_version(), "regex", version("regex"))

name, other, word = "राम", "रामायण", "हिन्दी"


def found(engine):
    return {"words": engine.findall(r"\w+", word), "name in another word": bool(engine.search(rf"\b{name}\b", other))}


expected = {"words": [word], "name in another word": False}
surprise = {"words": ["ह", "न", "द"], "name in another word": True}
seen = found(re)
by_regex = found(regex)
print("regex:   ", by_regex)
if by_regex != expected:
    raise SystemExit("the behaviour has changed: regex no longer keeps marks with their words")

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
