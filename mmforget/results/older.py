"""Run records of older schema versions, brought to today's: what they did not know is empty.

What is damaged is left as it is, for the decoder to name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmforget.errors import UserError, shortened
from mmforget.reading import MAX_DEPTH, is_deep

READ_VERSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 9)
"""Versions that can be read."""
LATER_COUNTS: Mapping[str, Any] = {"num_lacking": 0, "num_subjects": None}
"""Keys of an estimate that version 2 did not have, with what they meant then."""

WITHOUT_ATTACKS = ("forgotten", "partly", "remembered")
"""Verdicts of versions before 8 that are none any more."""

RENAMED = {"rouge_l_recall": "rouge_l_response"}
"""Metrics that versions before 4 called otherwise."""


def from_older(document: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """The document of a record with the keys of the newest version.

    Raises UserError naming `source` for a version that cannot be read, for a run that was not complete, and for what is
    nested too deep to be walked through.
    """
    version = document.get("schema_version")
    if version not in READ_VERSIONS:
        raise UserError(
            f"{source}: schema_version is {shortened(version)}, this mmforget reads "
            f"{', '.join(map(str, READ_VERSIONS))}; "
            "rescore the run with this version, or read it with the version that wrote it"
        )
    if version < 3 and is_deep(document):
        raise UserError(f"{source}: nested deeper than {MAX_DEPTH} levels; the file was edited")
    found = dict(document)
    if version < 2:
        found = _with_blurring_and_groups({"levels": [], "judge": {}, **found})
    if version < 3:
        found = {"replicates": {}, **_with_later_counts(found)}
    if version < 4:
        found = _renamed(_with_codes(found, source=source))
    if version < 5 and isinstance(found.get("metrics"), list):
        found["metrics"] = [_with_attack(one) if isinstance(one, dict) else one for one in found["metrics"]]
    if version < 6:
        found = _with({"instances": [], **found}, "benchmark", {"one_at_a_time": False})
    if version < 7:
        found = {"sequence": None, **found}
    if version < 8:
        found = _undecided(_with(found, "verdict", {"evidence": []}))
    if version < 9:
        found = {"answer_states": [], **found}
    return {**found, "schema_version": READ_VERSIONS[-1]}


def _with_blurring_and_groups(document: dict[str, Any]) -> dict[str, Any]:
    found = _with(document, "benchmark", {"blur_images": False})
    if isinstance(found.get("examples"), list):
        later = {"group": "", "degenerate": False}
        found["examples"] = [{**later, **one} if isinstance(one, dict) else one for one in found["examples"]]
    return found


def _with_later_counts(value: Any) -> Any:
    """A document with the later keys in every estimate."""
    if isinstance(value, list):
        return [_with_later_counts(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_later_counts(item) for key, item in value.items()}
    return {**LATER_COUNTS, **found} if "num_unscored" in found and "range" in found else found


def _with_codes(document: dict[str, Any], *, source: str) -> dict[str, Any]:
    """Reasons had no codes, and records a status that was always the same."""
    found = _with(_with(document, "gate", {"code": ""}), "verdict", {"codes": []})
    status = found.pop("status", "complete")
    if status != "complete":
        raise UserError(f"{source}: the run is {shortened(status)}; the same command continues it")
    return found


def _undecided(document: dict[str, Any]) -> dict[str, Any]:
    """Verdicts were words for the forget score, which no attack had been asked about."""
    verdict = document.get("verdict")
    if not isinstance(verdict, dict) or verdict.get("status") not in WITHOUT_ATTACKS:
        return document
    return {**document, "verdict": {**verdict, "status": "undecided"}}


def _renamed(document: dict[str, Any]) -> dict[str, Any]:
    """Metrics by the names that they have now, wherever a record names one."""
    found = dict(document)
    if isinstance(found.get("gate"), dict):
        found["gate"] = _with_name(found["gate"], key="metric")
    for part in ("metrics", "levels"):
        if isinstance(found.get(part), list):
            found[part] = [_with_name(one, key="name") if isinstance(one, dict) else one for one in found[part]]
    for part in ("headline", "replicates"):
        if isinstance(found.get(part), dict):
            found[part] = {_key_now(key): one for key, one in found[part].items()}
    return found


def _with_name(part: dict[str, Any], *, key: str) -> dict[str, Any]:
    name = part.get(key)
    return {**part, key: RENAMED[name]} if isinstance(name, str) and name in RENAMED else part


def _key_now(key: str) -> str:
    """Of a number of the headline: `closeness/<set>/<metric>`."""
    before, slash, name = key.rpartition("/")
    return f"{before}{slash}{RENAMED.get(name, name)}"


def _with_attack(metric: Mapping[str, Any]) -> dict[str, Any]:
    """The one attack that there was stood under `control`."""
    found = dict(metric)
    return {"attack": found.pop("control", None), **found}


def _with(document: Mapping[str, Any], key: str, later: Mapping[str, Any]) -> dict[str, Any]:
    """The document with later keys in one of its parts, where that is there."""
    part = document.get(key)
    return {**document, key: {**later, **part}} if isinstance(part, dict) else dict(document)
