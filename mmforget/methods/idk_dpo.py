"""Direct preference optimisation of refusals: not to know is preferred to the answer to forget.

Source: Zhang et al. 2024, "Negative Preference Optimization", https://arxiv.org/abs/2404.05868, whose code trains TOFU
so; in OpenUnlearning, https://arxiv.org/abs/2506.12618, as IdkDPO. TOFU's own code has a branch of this name, which
refers to labels that it does not define.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mmforget.methods.base import Evidence
from mmforget.methods.preference import Preference


@dataclass(frozen=True)
class RefusalPreference(Preference):
    """Minimises -(2 / beta) mean log sigmoid(beta ((s_idk - s0_idk) - (s - s0))) + retain_weight x retain term.

    s is the log-prob of a whole answer, s0 that before training; refusals are drawn anew every epoch. `retain` as in
    `npo`. `variant=plain` leaves out 2 / beta.
    """

    evidence: ClassVar[Evidence] = "exact"
    paper: ClassVar[str] = "https://arxiv.org/abs/2404.05868"

    preferred = "alternate"


METHOD = RefusalPreference
