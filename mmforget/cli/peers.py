"""`mmforget rescore --from PEER`: the numbers of another program's log, computed anew."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmforget.cli.printing import print_json, say, tell
from mmforget.errors import UnknownName, UserError

if TYPE_CHECKING:
    from mmforget.pipeline.peers import PeerScores
    from mmforget.results.store import StoredRun
    from mmforget.types import Estimate, Sample

WRITTEN = "openunlearning"
"""The one program whose logs are written."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("logs of other programs")
    group.add_argument("--from", dest="peer", metavar="PEER", help="whose log it is: tofu, openunlearning, lm_eval")
    group.add_argument("--log", type=Path, metavar="FILE", help="the log of the model in question")
    group.add_argument("--reference", type=Path, metavar="FILE", help="the retain model's log, for forget quality")
    group.add_argument("--output_path", type=Path, metavar="DIR", help="also write its numbers as a run record")
    group.add_argument("--name", metavar="NAME", help="of the log's model in that record; default: its folder's")
    group.add_argument(
        "--to", metavar="PEER", help="write the samples of RUN_FOLDER as that program's log: openunlearning"
    )
    group.add_argument(
        "--profile",
        metavar="NAME",
        help="whose formulas: tofu_paper, openunlearning, muse_paper, clean; default: PEER's",
    )


def execute(args: argparse.Namespace) -> int:
    """Print the table of a log."""
    from mmforget.pipeline.peer_record import record_of
    from mmforget.pipeline.peers import score_log
    from mmforget.results.peers.formats import read_log
    from mmforget.results.provenance import begin
    from mmforget.results.store import write_run

    if args.log is None:
        raise UserError(f"--from {args.peer} needs the log itself; give it with --log")
    if args.runs:
        raise UserError(
            f"--from {args.peer} reads --log, and a run folder is named too ({args.runs[0]}); give one of them"
        )
    log = read_log(args.log, peer=args.peer)
    reference = None if args.reference is None else read_log(args.reference, peer=args.peer)
    begun = begin()
    scores = score_log(log, reference=reference, profile=args.profile)
    written = None
    if args.output_path is not None:
        name = args.name or log.path.resolve().parent.name or log.path.stem
        written = write_run(args.output_path, record_of(scores, name=name, whole=log, begun=begun))
        tell(f"wrote {written}")
    if args.json:
        print_json(scores.as_dict() | ({} if written is None else {"results": str(written)}))
        return 0
    for line in _lines(scores):
        say(line)
    for finding in scores.findings:
        tell(f"note: {finding}")
    return 0


def write(runs: Iterable[tuple[StoredRun, Mapping[str, str], Sequence[Sample] | None]], *, peer: str) -> list[Path]:
    """Write a peer's log beside each record, and return the files.

    Args:
        runs: records with the sets of their benchmark by role and the retain model's samples, where there are any.

    Raises UnknownName for a peer whose logs are not written, UserError where the record has nothing that one holds.
    """
    from mmforget.pipeline.peer_written import openunlearning_log, summary
    from mmforget.results.files import write_json

    if peer != WRITTEN:
        raise UnknownName("peer to write for", name=peer, known=(WRITTEN,))
    files = []
    for run, sets, retain in runs:
        try:
            log = openunlearning_log(run.samples(), sets=sets, retain=retain)
        except UserError as error:
            raise UserError(f"{run.path}: {error}") from error
        documents = {"TOFU_EVAL.json": log, "TOFU_SUMMARY.json": summary(log)}
        files += [write_json(run.folder / name, document) for name, document in documents.items()]
    return files


def check_unused(args: argparse.Namespace) -> None:
    """Raises UserError where a flag of a peer's log stands without --from."""
    given = [flag for flag in ("log", "reference", "profile", "output_path", "name") if getattr(args, flag) is not None]
    if given:
        raise UserError(f"--{given[0]} goes with a peer's log; say whose it is with --from")


def _lines(scores: PeerScores) -> Iterator[str]:
    yield f"{scores.log.path}: {scores.log.peer}, profile {scores.profile}"
    for name, cells in scores.cells.items():
        told = "  ".join(f"{key} {_told(estimate)}" for key, estimate in cells.items())
        yield f"  {name:<14} {told}"
    for mean, utility in scores.utility.items():
        note = "" if mean == "geometric" else f" ({mean} truth ratio)"
        why = "" if utility.value is not None else f": {'; '.join(utility.reasons)}"
        yield f"  model utility{note} {_told(utility)}{why}"
    quality = scores.quality
    if quality is not None and quality.p is not None and quality.ks_statistic is not None:
        floor = "  at the floor" if quality.is_floor else ""
        yield f"  forget quality p {quality.p:.6e}  KS D {quality.ks_statistic:.6f}  n {quality.num}{floor}"
    for name, total in scores.totals.items():
        stated, found = ("-" if one is None else f"{one:.6g}" for one in total)
        yield f"  {name}: the file says {stated}, its rows give {found}"
    for name, check in scores.checks.items():
        yield f"  {name}: {check.num_compared} kept values computed again, {len(check.different)} differ"


def _told(estimate: Estimate) -> str:
    unscored = f" ({estimate.num_unscored} unscored)" if estimate.num_unscored else ""
    return ("-" if estimate.value is None else f"{estimate.value:.6f}") + unscored
