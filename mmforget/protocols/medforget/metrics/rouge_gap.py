"""The forget-retain gap: ROUGE-L F1 on open questions, kept minus forgotten."""

from __future__ import annotations

from mmforget.protocols.medforget.gap import Gap

METRIC = Gap.of("rouge_l_f1", name="rouge_gap")
