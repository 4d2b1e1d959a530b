"""A document as readable tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Rows = Sequence[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> str:
    """Columns as wide as they need to be, numbers on the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        first, *rest = zip(row, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in rest)])

    return "\n".join([line(head), "  ".join("-" * width for width in widths), *map(line, rows)])


def number(value: float | None) -> str:
    """Four digits that count; a dash for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def tables(document: Mapping[str, Any]) -> str:
    """Every part that was measured, and what was wanted of it (of a quick run nothing is)."""
    makers = {"scoring": _scoring, "generation": _generation, "training": _training, "growth": _growth, "demo": _demo}
    makers |= {"board": _board, "edits": _edits, "text": _text, "methods": _methods, "attacks": _attacks}
    parts = [f"{name}\n{maker(document[name])}" for name, maker in makers.items() if name in document]
    rows = [
        (row["what"], row["wanted"], number(row["found"]), "yes" if row["met"] else "NO") for row in document["wanted"]
    ]
    judged = [table(("wanted", "limit", "found", "met"), rows)] if rows else []
    return "\n\n".join([*parts, *judged]) + "\n"


VARIANT_HEAD = ("variant", "best [s]", "median [s]", "processor [s]", "tokens", "images", "outside model", "peak [MB]")


def _variant(name: str, one: Mapping[str, Any], memory: Mapping[str, Any] | None) -> tuple[str, ...]:
    outside = one.get("share_outside_model")
    return (
        name,
        number(one["best_s"]),
        number(one["median_s"]),
        number(one["best_cpu_s"]),
        number(one.get("tokens_computed")),
        number(one.get("images_encoded")),
        "-" if outside is None else f"{outside:.1%}",
        "-" if memory is None else number(memory["peak_bytes"] / 2**20),
    )


def _variants(part: Mapping[str, Any], names: Sequence[str], memory: Mapping[str, Any], prefix: str = "") -> str:
    return table(VARIANT_HEAD, [_variant(name, part[name], memory.get(prefix + name)) for name in names])


def _scoring(part: Mapping[str, Any]) -> str:
    shared, evaluation = part["shared"], part["lm_eval"]
    return "\n".join(
        [
            _variants(shared, ("ours", "plain"), part["memory"]),
            f"{shared['distinct_tokens']:,} distinct tokens, {shared['distinct_images']} images; {_speed(shared)}",
            f"through lm_eval: {evaluation['wall_s']:.2f} s, {evaluation['share_outside_model']:.1%} outside the model",
            "nothing shared:",
            _variants(part["unshared"], ("ours", "plain"), {}),
        ]
    )


def _generation(part: Mapping[str, Any]) -> str:
    shown = _variants(part, ("ours", "stock"), part["memory"])
    return f"{shown}\nstock: hf-multimodal at batch size {part['stock_batch_size']}"


def _training(part: Mapping[str, Any]) -> str:
    names = ("ours", "official")
    return "\n".join(
        f"{loss}: {_speed(part[loss])}\n{_variants(part[loss], names, part['memory'], prefix=f'{loss}-')}"
        for loss in ("nll", "npo")
    )


def _edits(part: Mapping[str, Any]) -> str:
    shape, memory = part["shape"], part["memory"]
    rows = [
        (name, number(part[name]["wall_s"]), number(part[name]["cpu_s"]), number(part.get(f"ratio_to_{name}")))
        for name in ("ours", "plain", "official")
    ]
    many, one = (memory[name]["peak_bytes"] / 2**20 for name in ("many", "one"))
    return "\n".join(
        [
            table(("variant", "all [s]", "processor [s]", "times as long as ours"), rows),
            f"{shape['instances']} subjects x {shape['defences']} defences x {shape['attacks']} attacks, of which the "
            "plain model did a part and the rest was counted",
            f"peak [MB]: {number(many)} for all side by side, {number(one)} for one",
        ]
    )


def _text(part: Mapping[str, Any]) -> str:
    head = ("task", "requests", "ours [s]", "stock [s]", "times", "by processor time", "tokens", "stock's")
    rows = [
        (
            name,
            *(number(one[key]) for key in ("requests",)),
            *(number(one[who]["best_s"]) for who in ("ours", "stock")),
            *(number(one[key]) for key in ("ratio", "ratio_cpu")),
            *(number(one[who]["tokens_computed"]) for who in ("ours", "stock")),
        )
        for name, one in part.items()
        if name in ("five_shot", "perturbed", "perturbed_bare")
    ]
    tofu, memory = part["tofu"], part["memory"]
    peaks = ", ".join(f"{name} {number(one['peak_bytes'] / 2**20)}" for name, one in memory.items())
    return "\n".join(
        [
            table(head, rows),
            f"all of TOFU: {number(tofu['ours']['best_s'])} s; a pass a metric: stock {number(tofu['ratio_to_stock'])} "
            f"times, by processor time {number(tofu['ratio_to_stock_cpu'])}; ours {number(tofu['ratio_to_ours'])}",
            f"peak [MB]: {peaks}",
        ]
    )


def _speed(part: Mapping[str, Any]) -> str:
    achieved, attainable = part["achieved_flops"] / 1e9, part["attainable_flops"] / 1e9
    return f"{achieved:,.0f} of {attainable:,.0f} GFLOP/s ({part['share_of_attainable']:.0%})"


def _growth(part: Mapping[str, Any]) -> str:
    head = ("images", "questions", "sequences", "ours [s]", "plain [s]", "ratio", "ours [ms a question]")
    rows = [
        (
            *(number(row[name]) for name in ("images", "questions", "sequences", "ours_s", "plain_s", "ratio")),
            number(1000 * row["ours_s_a_question"]),
        )
        for row in (*part["by_questions"], *part["by_images"])
    ]
    return table(head, rows)


def _demo(part: Mapping[str, Any]) -> str:
    if "pairs" in part:
        pairs = part["pairs"]
        rows = [
            (str(place), number(one["ours_s"]), number(one["against_s"])) for place, one in enumerate(pairs["pairs"], 1)
        ]
        both = ("median", number(pairs["ours_s"]), number(pairs["against_s"]))
        return table(("pair", "ours [s]", "against [s]"), [*rows, both])
    stages = part["breakdown"]["stages_s"]
    wall = part["breakdown"]["wall_s"]
    rows = [(name, number(seconds), f"{seconds / wall:.0%}") for name, seconds in stages.items()]
    evaluation = part["evaluation"]
    names = ("scoring_s", "generation_s", "answering_cpu_s", "wall_s")
    runs = [(name, *(number(evaluation[name][key]) for key in names)) for name in ("ours", "plain")]
    return "\n".join(
        [
            table(("stage", "[s]", "share"), [*rows, ("all", number(wall), "100%")]),
            table(
                ("evaluation of the target", "scoring [s]", "generation [s]", "their processor time [s]", "all [s]"),
                runs,
            ),
        ]
    )


def _board(part: Mapping[str, Any]) -> str:
    head = (
        "command",
        "records",
        "ours [s]",
        "against [s]",
        "ratio",
        "of processor time",
        "peak [MB]",
        "ours [ms a record]",
    )
    rows = [
        (
            what,
            *(number(row.get(name)) for name in ("num_records", "ours_s", "against_s", "ratio", "ratio_cpu")),
            number(row["ours_peak_bytes"] / 2**20 if "ours_peak_bytes" in row else None),
            number(1000 * row["ours_s"] / row["num_records"]),
        )
        for what in ("page", "json")
        for row in part[what]
    ]
    return table(head, rows)


def _attacks(part: Mapping[str, Any]) -> str:
    head = ("all attacks of the suite", "together [s]", "one by one [s]", "times", "by processor time")
    rows = [
        (
            name,
            number(part[name]["suite"]["best_s"]),
            *(number(part[name][key]) for key in ("alone_s", "ratio", "ratio_cpu")),
        )
        for name in ("inside", "commands")
    ]
    return table(head, rows)


DEVICE_HEAD = ("variant", "best [s]", "median [s]", "tokens", "images", "peak [GB]", "ratio", "of attainable")


def device_tables(document: Mapping[str, Any]) -> str:
    """The rows of a document of `bench_gpu.py`."""
    parts = {"scoring": document["scoring"], "generation": document["generation"], **document["training"]}
    rows = []
    for name, part in parts.items():
        for variant in ("ours", "plain"):
            one, is_ours = part[variant], variant == "ours"
            share = part.get("share_of_attainable") if is_ours else None
            rows.append(
                (
                    f"{name}, {variant}",
                    *(number(one[key]) for key in ("best_s", "median_s", "tokens_computed", "images_encoded")),
                    number(one["peak_memory_bytes"] / 2**30),
                    number(part["ratio"] if is_ours else None),
                    "-" if share is None else f"{share:.1%}",
                )
            )
    return table(DEVICE_HEAD, rows)


def _methods(part: Mapping[str, Any]) -> str:
    head = ("method", "best [s]", "times ga", "tokens needed", "computed", "time over need", "peak [MB]")
    rows = [
        (
            name,
            number(one["best_s"]),
            number(one["best_ratio"]),
            number(one["tokens_needed_ratio"]),
            number(one["tokens_computed_ratio"]),
            number(one["over_need"]),
            number(one["peak_bytes"] / 2**20),
        )
        for name, one in part["methods"].items()
    ]
    left = [f"left out: {name}: {reason}" for name, reason in part["left_out"].items()]
    return "\n".join([table(head, rows), *left, f"parameters added: {part['parameters_added']:,}"])
