#!/usr/bin/env bash
# Read off roc_curve as it comes, the true positive rate at 5 % false positives is .09 where it is .45.
#
# Seen with scikit-learn 1.9.1. By default roc_curve leaves out every point that lies on a straight line between its
# neighbours, which changes no area but leaves no point near the rate that is asked for. The usual way to report a
# membership attack, the highest true positive rate among points with a false positive rate up to 1 % or 5 %, then
# finds one far to the left. Ties make it common: rounded or half-precision log-probs, where a threshold adds members
# and non-members at once. An unlearned model looks safer than it is. drop_intermediate=False keeps all points.
#
# mmforget reports the area under the curve, counted from ranks, and reads nothing off a ROC curve
# (mmforget/metrics/two_sample.py).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$folder"

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import numpy
import sklearn
from sklearn.metrics import roc_curve

print("scikit-learn", sklearn.__version__, "numpy", numpy.__version__)

# Ten scores that nine members and one non-member share, then ten that one member and nine non-members share.
labels, scores = [], []
for place in range(20):
    num_members = 9 if place < 10 else 1
    labels += [1] * num_members + [0] * (10 - num_members)
    scores += [-place / 10] * 10


def rate_at_5_percent(**options):
    false_positive, true_positive, _ = roc_curve(labels, scores, **options)
    return round(float(true_positive[false_positive <= 0.05].max()), 6)


counted = max(
    sum(label for label, score in zip(labels, scores) if score >= least) / 100
    for least in set(scores)
    if sum(1 - label for label, score in zip(labels, scores) if score >= least) / 100 <= 0.05
)
expected = {"default": counted, "drop_intermediate=False": counted}
surprise = {"default": 0.09, "drop_intermediate=False": 0.45}
seen = {"default": rate_at_5_percent(), "drop_intermediate=False": rate_at_5_percent(drop_intermediate=False)}

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
