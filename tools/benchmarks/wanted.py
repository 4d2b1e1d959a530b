"""What the numbers have to reach, read from a finished document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Document = Mapping[str, Any]


class Wanted(NamedTuple):
    """One requirement: what is looked at, in which part, how it must compare, and how it is found."""

    what: str
    part: str
    bound: str
    limit: float
    find: Callable[[Document], float]


def _outside(part: Document) -> float:
    return float(part["ours"]["share_outside_model"])


def _memory_ratio(name: str) -> Callable[[Document], float]:
    def find(part: Document) -> float:
        ours, official = (part["memory"][f"{name}-{kind}"]["peak_bytes"] for kind in ("ours", "official"))
        return float(ours / official)

    return find


def _memory_to_stock(prefix: str = "") -> Callable[[Document], float]:
    def find(part: Document) -> float:
        ours, stock = (part["memory"][f"{prefix}{name}"]["peak_bytes"] for name in ("ours", "stock"))
        return float(ours / stock)

    return find


def _ratio(rows: Sequence[Mapping[str, Any]]) -> float:
    """Of the largest case to another checkout; unknown without one."""
    return float(rows[-1].get("ratio", math.nan))


def _evaluation(part: Document, *keys: str) -> float:
    """A number of the demo's evaluation; unknown where two checkouts were compared instead."""
    found: Any = part.get("evaluation")
    if found is None:
        return math.nan
    for key in keys:
        found = found[key]
    return float(found)


def _growth(rows: Sequence[Mapping[str, Any]]) -> float:
    first, last = (row["ours_s"] / row["num_records"] for row in (rows[0], rows[-1]))
    return float(last / first)


def _most_over_need(part: Document) -> float:
    return max(float(one["over_need"]) for one in part["methods"].values())


WANTED = (
    Wanted("scoring: times faster than the plain path", "scoring", ">=", 12, lambda p: p["shared"]["ratio"]),
    Wanted(
        "scoring: tokens computed over distinct tokens",
        "scoring",
        "<=",
        1.02,
        lambda p: p["shared"]["tokens_computed_over_distinct"],
    ),
    Wanted(
        "scoring: images encoded over distinct images",
        "scoring",
        "<=",
        1,
        lambda p: p["shared"]["ours"]["images_encoded"] / p["shared"]["distinct_images"],
    ),
    Wanted("scoring: largest difference", "scoring", "<=", 1e-5, lambda p: p["shared"]["largest_difference"]),
    Wanted(
        "scoring: largest difference to a stock forward pass",
        "scoring",
        "<=",
        1e-5,
        lambda p: p["shared"]["largest_difference_to_hugging_face"],
    ),
    Wanted("scoring: share of time outside the model", "scoring", "<=", 0.10, lambda p: _outside(p["shared"])),
    Wanted(
        "nothing shared: time over the plain path's", "scoring", "<=", 1.05, lambda p: p["unshared"]["time_over_plain"]
    ),
    Wanted(
        "evaluation through lm_eval: share of time outside the model",
        "scoring",
        "<=",
        0.10,
        lambda p: p["lm_eval"]["share_outside_model"],
    ),
    Wanted("generation: times faster than hf-multimodal", "generation", ">=", 4, lambda p: p["ratio_to_stock"]),
    Wanted("generation: share of time outside the model", "generation", "<=", 0.10, _outside),
    *(
        wanted
        for loss in ("nll", "npo")
        for wanted in (
            Wanted(
                f"training, {loss}: times faster than one question a row",
                "training",
                ">=",
                7,
                lambda p, loss=loss: p[loss]["ratio_to_official"],
            ),
            Wanted(
                f"training, {loss}: relative difference of gradients",
                "training",
                "<=",
                1e-5,
                lambda p, loss=loss: p[loss]["gradient_difference_to_official"],
            ),
            Wanted(
                f"training, {loss}: share of time outside forward and backward",
                "training",
                "<=",
                0.10,
                lambda p, loss=loss: _outside(p[loss]),
            ),
            Wanted(f"training, {loss}: peak memory over the official", "training", "<=", 1, _memory_ratio(loss)),
        )
    ),
    Wanted(
        "training, npo: parameters added for the reference model",
        "training",
        "<=",
        0,
        lambda p: p["npo"]["parameters_added_for_reference"],
    ),
    Wanted("methods: most time over what requests need", "methods", "<=", 1.25, _most_over_need),
    Wanted("methods: parameters of a second model", "methods", "<=", 0, lambda p: p["parameters_added"]),
    Wanted("edits: times faster than one at a time", "edits", ">=", 10, lambda p: p["ratio_to_plain"]),
    Wanted("edits: times faster than an edit for every attack", "edits", ">=", 40, lambda p: p["ratio_to_official"]),
    Wanted(
        "edits: peak memory over that of a single edit",
        "edits",
        "<=",
        1.3,
        lambda p: p["memory"]["many"]["peak_bytes"] / p["memory"]["one"]["peak_bytes"],
    ),
    Wanted("edits: difference to the plain model's log-prob", "edits", "<=", 1e-4, lambda p: p["largest_difference"]),
    Wanted("text: five-shot choices, times faster than stock", "text", ">=", 6, lambda p: p["five_shot"]["ratio"]),
    Wanted("text: wrong answers, times faster than stock", "text", ">=", 3, lambda p: p["perturbed"]["ratio"]),
    Wanted(
        "text: all of TOFU, times faster than a pass a metric", "text", ">=", 5, lambda p: p["tofu"]["ratio_to_stock"]
    ),
    Wanted("text: peak memory over stock's", "text", "<=", 1, _memory_to_stock()),
    Wanted("text: the same with a vocabulary of 128k", "text", "<=", 0.25, _memory_to_stock("wide-")),
    Wanted(
        "text: largest difference to stock, nats a token",
        "text",
        "<=",
        1e-5,
        lambda p: max(one["largest_difference"] for one in p.values() if "largest_difference" in one),
    ),
    Wanted("demo: times faster than the plain path", "demo", ">=", 3, lambda p: _evaluation(p, "ratios", "answering")),
    Wanted(
        "demo: largest difference of a log-prob", "demo", "<=", 1e-5, lambda p: _evaluation(p, "largest_difference")
    ),
    Wanted("attacks: a call each, times as long as one call", "attacks", ">=", 4, lambda p: p["commands"]["ratio"]),
    Wanted("board: page of the most rows, times faster", "board", ">=", 10, lambda p: _ratio(p["page"])),
    Wanted("board: JSON of the most records, times faster", "board", ">=", 10, lambda p: _ratio(p["json"])),
    Wanted("board: a record's time, most rows over fewest, page", "board", "<=", 1, lambda p: _growth(p["page"])),
    Wanted("board: a record's time, most records over fewest, JSON", "board", "<=", 1, lambda p: _growth(p["json"])),
    Wanted("demo: texts that differ", "demo", "<=", 0, lambda p: _evaluation(p, "texts_that_differ")),
    Wanted(
        "demo: time over that of the other checkout",
        "demo",
        "<=",
        1,
        lambda p: p.get("pairs", {}).get("ratio", math.nan),
    ),
)


def judged(document: Document) -> list[dict[str, Any]]:
    """Every requirement that was measured, with the number found and whether it is met."""
    rows = []
    for wanted in WANTED:
        if wanted.part not in document:
            continue
        found = float(wanted.find(document[wanted.part]))
        if math.isnan(found):
            continue
        met = found >= wanted.limit if wanted.bound == ">=" else found <= wanted.limit
        rows.append(
            {"what": wanted.what, "wanted": f"{wanted.bound} {wanted.limit:g}", "found": found, "met": bool(met)}
        )
    return rows
