#!/usr/bin/env bash
# BLEU of an answer that equals its reference of three words is 0 or 100, in one and the same library.
#
# Seen with nltk 3.10.4 and sacrebleu 2.6.0. BLEU wants four words in a row. Of a shorter answer nltk's sentence_bleu
# makes 1e-77 (with a warning) and sacrebleu's corpus_bleu 0.0, also over a whole corpus of right answers, while
# sacrebleu's sentence_bleu leaves out the lengths that do not occur and says 100. Answers that unlearning is about
# are short: names, towns, diagnoses. Measured by the first two, a model that recalls all of them has forgotten them
# all, and a mean of sentence scores cannot be set beside a corpus score.
#
# mmforget has no BLEU; short answers are compared by exact match, ROUGE-L and disclosure (mmforget/metrics/).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nltk==3.10.4 sacrebleu==2.6.0
cd "$folder"

"$folder/venv/bin/python" -X utf8 - <<'PYTHON'
import warnings

import nltk
import sacrebleu
from nltk.translate.bleu_score import sentence_bleu

warnings.simplefilter("ignore")
print("nltk", nltk.__version__, "sacrebleu", sacrebleu.__version__)

answers = ["Anna from Oslo", "Ben from Rome", "acute otitis media"]
expected = {"nltk sentence_bleu": 100.0, "sacrebleu corpus_bleu": 100.0, "sacrebleu sentence_bleu": 100.0}
surprise = {"nltk sentence_bleu": 0.0, "sacrebleu corpus_bleu": 0.0, "sacrebleu sentence_bleu": 100.0}
first = answers[0]
seen = {
    "nltk sentence_bleu": round(100 * sentence_bleu([first.split()], first.split()), 6),
    "sacrebleu corpus_bleu": round(sacrebleu.corpus_bleu(answers, [answers]).score, 6),
    "sacrebleu sentence_bleu": round(sacrebleu.sentence_bleu(first, [first]).score, 6),
}

print("expected:", expected)
print("seen:    ", seen)
if repr(seen) != repr(surprise):
    raise SystemExit(f"the behaviour has changed: no longer {surprise}")
PYTHON
