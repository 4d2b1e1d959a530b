"""The forget-retain gap: accuracy on closed questions, kept minus forgotten."""

from __future__ import annotations

from mmforget.protocols.medforget.gap import Gap

METRIC = Gap.of("answer_accuracy", name="accuracy_gap")
