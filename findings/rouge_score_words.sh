#!/usr/bin/env bash
# ROUGE of a Chinese text with itself is 0, and ROUGE-1 of "3.5 cm" with "5.3 cm" is 1.
#
# Seen with rouge_score 0.1.2. Its tokenizer turns each character that is not one of a to z or 0 to 9 into a blank,
# and says nothing. Text in Chinese, Russian, Arabic or Hindi has no words left, so a model that recalls it word for
# word scores 0 and seems to have forgotten. Numbers lose point and sign, so that a wrong measurement or a wrong
# temperature counts as right: a lesion of 5.3 cm for one of 3.5 cm, -5 for 5.
#
# mmforget: in the clean profile ROUGE-L knows the words of any script (mmforget/metrics/overlap.py), released is as
# published; disclosure takes a decimal number for one word (mmforget/metrics/disclosure.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rouge_score==0.1.2
cd "$folder"

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
from importlib.metadata import version

from rouge_score.rouge_scorer import RougeScorer

print("rouge_score", version("rouge_score"))

pairs = {
    "她住在奥斯陆。": "她住在奥斯陆。",
    "Она живёт в Осло.": "Она живёт в Осло.",
    "3.5 cm": "5.3 cm",
    "-5": "5",
}
scorer = RougeScorer(["rouge1"], use_stemmer=True)
expected = "1.0 for each text with itself, less for different numbers"
surprise = [0.0, 0.0, 1.0, 1.0]
seen = [float(scorer.score(reference, answer)["rouge1"].fmeasure) for reference, answer in pairs.items()]
for (reference, answer), value in zip(pairs.items(), seen):
    print(f"ROUGE-1 of {answer!r} for {reference!r}: {value}")

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
