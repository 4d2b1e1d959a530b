"""`mmforget leaderboard validate FILE`: exports of strangers, all that is wrong with them, and their samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmforget.cli.printing import print_json, say, say_found
from mmforget.errors import UserError

if TYPE_CHECKING:
    from mmforget.leaderboard.validating import ReadRow
    from mmforget.results.store import StoredRun


class Submission(NamedTuple):
    """A file, how many rows it has, what is wrong with it, and what nobody can tell."""

    path: Path
    num_rows: int
    num_recomputed: int
    faults: list[str]
    notes: list[str]


def check_all(paths: Sequence[Path], *, as_json: bool) -> int:
    """Print what is wrong with each file; 0 where nothing is, 2 otherwise."""
    found = [check(path) for path in paths]
    if as_json:
        print_json([_document(one) for one in found])
    else:
        for one in found:
            _print(one)
    return 2 if any(one.faults for one in found) else 0


def check(path: Path) -> Submission:
    """A `leaderboard.json` against its schema, its rules, and the samples of its records where these lie beside it."""
    from mmforget.leaderboard.validating import validate

    try:
        found = validate(path)
    except UserError as error:
        return Submission(path, 0, 0, [str(error)], [])
    faults, notes, num = list(found.faults), [], 0
    for one in found.rows:
        try:
            # One by one: what is wrong already is told where the samples cannot be asked.
            for fault in _denied(one):
                faults.append(f"{one.name}: {fault}")
        except (UserError, OSError) as error:
            notes.append(f"{one.name}: its numbers were not computed again: {error}")
        else:
            num += 1
    return Submission(path, found.num_rows, num, faults, notes)


def _denied(one: ReadRow) -> Iterator[str]:
    """What the row's records deny, and what their samples deny of them.

    Raises UserError where there are none, or nobody can score them again here.
    """
    from mmforget.cli.recheck import differences, recheck
    from mmforget.leaderboard.over_seeds import join_seeds
    from mmforget.results.verify import collect_trusted

    found = collect_trusted(_records(one.run))
    if found.faults:
        yield from found.faults
        return
    joined = join_seeds(found.runs)
    if len(joined) != 1:
        yield f"its {len(found.runs)} records are not of one method, trained with several seeds"
        return
    yield from (f"its record says otherwise: {fault}" for fault in differences(one.run.record, joined[0].record))
    for run in found.runs:
        if run.unverified:
            raise UserError(f"{run.path}: {run.unverified}")
        yield from (f"its samples deny it: {fault}" for fault in recheck(run, among=found.runs))


def _records(run: StoredRun) -> list[Path]:
    """The files of a row's records. Raises UserError where one is not there, or another than the row says."""
    from mmforget.leaderboard.merging import records_of

    found = records_of(run)
    if not found:
        raise UserError(f"{run.path} is not there, or not the file that the row names")
    return found


def _document(one: Submission) -> dict[str, Any]:
    return {"name": str(one.path), "ok": not one.faults, **{key: getattr(one, key) for key in one._fields[1:]}}


def _print(one: Submission) -> None:
    say(f"{one.path}: {one.num_rows:,} rows, {one.num_recomputed:,} computed again from their samples")
    say_found(one.notes, faults=one.faults)
