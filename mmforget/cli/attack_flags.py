"""The flags that say how models are attacked, of every verb that does so."""

from __future__ import annotations

import argparse

from mmforget.cli.flags import joined


def add_attack_flags(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    joined(parser, "--attacks", required=required, metavar="NAMES",
        help="what tries to get answers back: unlok7, 'logit_lens(budget=40)'; 'mmforget ls attacks'")  # fmt: skip
    parser.add_argument("--attacker", metavar="FOLDER", help="a local model that rewrites questions, or micro")
