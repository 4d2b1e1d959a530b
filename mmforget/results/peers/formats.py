"""The formats that can be read, by the name of the program that writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mmforget.errors import UnknownName
from mmforget.results.peers import lm_eval, openunlearning, tofu
from mmforget.results.peers.log import PeerLog

READERS: Mapping[str, Callable[[Path], PeerLog]] = {
    "tofu": tofu.read,
    "openunlearning": openunlearning.read,
    "lm_eval": lm_eval.read,
}


def read_log(path: Path, *, peer: str) -> PeerLog:
    """A peer's log. Raises UnknownName for a peer that is not known, and what its reader raises."""
    if peer not in READERS:
        raise UnknownName("peer", name=peer, known=READERS)
    return READERS[peer](path)
