"""The page that shows what comes back of what looked forgotten, and what becomes of verdicts.

    mmforget run --model micro --tasks fiubench --methods npo --attacks 'quick,relearning(steps=32)' \\
        --output_path out/fiubench
    tools/compare_recovery.py out/fiubench out/tofu --json bench/recovery.json

Each folder is one that `mmforget run` wrote, with target, retain and an unlearned model; attacks have to be among those
made, `relearning` for one. Writes `docs/recovery.md`, its picture beside it, and with `--json` the numbers. What stands
between `<!-- remarks FOLDER -->` and `<!-- end -->`, or `remarks all`, is kept. Ends with status 2 where a folder holds
no such records.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from compare_methods import remarks_in
from mmforget.attacks.naming import attack_of
from mmforget.errors import UserError
from mmforget.evaluation.attack import AttackResult, attack_results
from mmforget.results.deciding import decide
from mmforget.results.evidence import Evidence
from mmforget.results.store import StoredRun, find_records
from mmforget.types import Estimate

plt.switch_backend("Agg")

ROOT = Path(__file__).resolve().parent.parent
PICTURE = "recovery.png"
RELEARNING, QUANTISATION = "relearning", "quantisation"
REFERENCES = ("target", "retain")
BARS = {"plain": "plain questions", "quantised": "quantised", "relearnt": "relearnt"}
VERDICTS: Mapping[str, Callable[[Evidence], bool]] = {
    "asked": lambda line: line.access != "weights",
    "and quantised": lambda line: line.access != "weights" or str(line.attack).startswith(QUANTISATION),
    "and relearnt": lambda line: line.access != "weights" or str(line.attack).startswith(RELEARNING),
    "relearnt alone": lambda line: line.attack is None or line.attack.startswith(RELEARNING),
}
"""By name of a verdict, which evidence it rests on; that of the run rests on all."""
HEAD = ("model", "utility left", "plain", "quantised", "relearnt", "updates to half", "codes changed")
TOP = """# What comes back

Made by `tools/compare_recovery.py` of runs on micro models; the numbers are in
[bench/recovery.json](../bench/recovery.json). A fifth of the forgotten rows is learnt again and the others are asked
about (*relearnt*: found by the last look); the model is packed in 4 bits (*quantised*). Shares of questions whose
answer stands in what is said, with intervals of 95 % over subjects. *Updates to half*: the first look by which half of
what the target says is back; a dash is never. The retain model never saw the answers: what it says is a guess, and
what it learns is learnt. *Codes changed*: of all weights those with another code than without the adapter; a dash
where there is none. The [verdict](verdict.md) is given by questions and hidden states alone (*asked*), by these and
what comes back in 4 bits, or by relearning, and by plain questions and relearning (*relearnt alone*): the more attacks
are made, the more each has to show.
"""

Model = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="output folders of mmforget run")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "recovery.md", metavar="FILE")
    args = parser.parse_args(argv)
    try:
        found = {folder.name: models_in(folder) for folder in args.folders}
    except UserError as error:
        parser.error(str(error))
    if lacking := [name for name, models in found.items() if not {*REFERENCES} < {*models}]:
        parser.error(f"{', '.join(lacking)}: no target, retain and unlearned model that was relearnt")
    remarks = remarks_in(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    draw(found, args.output.parent / PICTURE)
    args.output.write_text(page(found, remarks=remarks), encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def models_in(folder: Path) -> dict[str, Model]:
    """By model, target and retain model first, what was found. Raises UserError where there are no records."""
    found: dict[str, Model] = {}
    for run in find_records([folder]):
        own = summary(run)
        if own is not None:
            found[run.record.name if run.record.name not in found else f"{run.record.name}, {run.folder.name}"] = own
    return {
        name: found[name] for name in (*REFERENCES, *(one for one in found if one not in REFERENCES)) if name in found
    }


def summary(run: StoredRun) -> Model | None:
    """Of the first task of a record that was relearnt: plain, relearnt, quantised, and what it comes to."""
    results = list(attack_results(run.samples(), counted=run.record.training.get("attacks", {})))
    relearnt = next((one for one in results if str(one.attack).startswith(RELEARNING)), None)
    if relearnt is None:
        return None
    own = [one for one in results if one.task == relearnt.task]
    plain = next(one for one in own if one.attack is None)
    quantised = next((one for one in own if str(one.attack).startswith(QUANTISATION)), None)
    kept = run.record.headline.get("utility_ratio")
    return {
        "task": relearnt.task,
        "attack": relearnt.attack,
        "updates": list(attack_of(str(relearnt.attack)).at),
        "utility_left": None if kept is None else interval(kept),
        "plain": interval(plain.success),
        "quantised": None if quantised is None else interval(quantised.success),
        "relearnt": interval(relearnt.success),
        "area": interval(relearnt.area),
        "curve": list(relearnt.curve),
        "codes_changed": None if quantised is None else codes_changed(quantised),
        "verdicts": verdicts(run),
        "evidence": [] if run.record.verdict is None else [asdict(one) for one in run.record.verdict.evidence],
    }


def verdicts(run: StoredRun) -> dict[str, str]:
    """The verdict on an unlearned model by what it rests on; empty for others. A collapsed one is collapsed by any."""
    record = run.record
    if record.verdict is None or record.role != "unlearned":
        return {}
    kept = record.headline["utility_ratio"].value if "utility_ratio" in record.headline else None
    whole = decide(record.verdict.evidence, kept=kept).status
    if whole != record.verdict.status:
        return dict.fromkeys(VERDICTS, record.verdict.status)
    return {
        name: decide([line for line in record.verdict.evidence if counts(line)], kept=kept).status
        for name, counts in VERDICTS.items()
    }


def codes_changed(quantised: AttackResult) -> float | None:
    counts = quantised.counts
    return counts["codes_changed"] / counts["codes"] if counts else None


def interval(estimate: Estimate) -> dict[str, Any]:
    return {key: getattr(estimate, key) for key in ("value", "low", "high", "num_scored")}


def half_back(model: Model, *, target: Model) -> int | None:
    """The first look at which at least half of what the target says plainly has come."""
    wanted = target["plain"]["value"] / 2
    looks = zip(model["updates"], model["curve"], strict=True)
    return next((update for update, value in looks if value is not None and value >= wanted), None)


def page(found: Mapping[str, Mapping[str, Model]], *, remarks: Mapping[str, str]) -> str:
    parts = [TOP, f"![what plain questions find, and what comes back]({PICTURE})\n", remarked("all", remarks)]
    for name, models in found.items():
        lines = ["| " + " | ".join((*HEAD, *VERDICTS)) + " |", "|" + "---|" * (len(HEAD) + len(VERDICTS))]
        lines += ["| " + " | ".join(cells(label, one, target=models["target"])) + " |" for label, one in models.items()]
        about = f"`{models['target']['attack']}` on `{models['target']['task']}`."
        table = "\n".join(lines)
        parts.append(f"## {name}\n\n{about}\n\n{table}\n\n{remarked(name, remarks)}")
    return "\n".join(parts)


def remarked(name: str, remarks: Mapping[str, str]) -> str:
    """Where something may be written by hand, and what was."""
    return f"<!-- remarks {name} -->\n{remarks.get(name, '')}<!-- end -->\n"


def cells(label: str, model: Model, *, target: Model) -> list[str]:
    half, changed = half_back(model, target=target), model["codes_changed"]
    return [
        label if label in REFERENCES else f"`{label}`",
        *("-" if model[key] is None else shown(model[key]) for key in ("utility_left", *BARS)),
        "-" if half is None else str(half),
        "-" if changed is None else f"{changed:.1%}",
        *(model["verdicts"].get(name, "-") for name in VERDICTS),
    ]


def shown(estimate: Mapping[str, Any]) -> str:
    """A value and its interval; an end that is not known is a question mark."""
    if estimate["value"] is None:
        return "-"
    ends = [estimate["low"], estimate["high"]]
    if ends == [None, None]:
        return f"{estimate['value']:.2f}"
    low, high = ("?" if end is None else f"{end:.2f}" for end in ends)
    return f"{estimate['value']:.2f} [{low}, {high}]"


def draw(found: Mapping[str, Mapping[str, Model]], file: Path) -> None:
    """Two panels a benchmark: what each look at the model that relearns finds, and what is back at the end."""
    figure, panels = plt.subplots(2, len(found), figsize=(5.2 * len(found), 8), sharey=True, squeeze=False)
    for place, (name, models) in enumerate(found.items()):
        draw_curves(panels[0][place], models)
        panels[0][place].set_title(name)
        draw_bars(panels[1][place], models)
    panels[0][0].set_ylabel("share of the other answers found by then")
    panels[1][0].set_ylabel("share of answers found")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


def draw_curves(panel: Any, models: Mapping[str, Model]) -> None:
    for label, one in models.items():
        style = {"target": ("black", "-"), "retain": ("black", "--")}.get(label, (None, "-"))
        values = [one["plain"]["value"], *one["curve"]]
        panel.plot(range(len(values)), values, marker="o", label=label, color=style[0], linestyle=style[1])
    updates = [0, *models["target"]["updates"]]
    panel.set_xticks(range(len(updates)), [str(update) for update in updates])
    panel.set(xlabel="updates on some of the rows", ylim=(-0.03, 1.03))
    panel.legend(fontsize=8)
    panel.grid(alpha=0.3)


def draw_bars(panel: Any, models: Mapping[str, Model]) -> None:
    """Plain, quantised and relearnt beside each other, and below what verdicts the questions alone and each end in."""
    for number, (key, label) in enumerate(BARS.items()):
        known = [(place, one[key]) for place, one in enumerate(models.values()) if one[key] is not None]
        places = [place + 0.27 * (number - 1) for place, _ in known]
        values = [one["value"] or 0.0 for _, one in known]
        panel.bar(places, values, width=0.25, label=label)
        ends = [(one["value"], one["low"], one["high"]) for _, one in known]
        away = [
            (abs(value - low), abs(high - value)) if None not in (value, low, high) else (0, 0)
            for value, low, high in ends
        ]
        panel.errorbar(places, values, yerr=list(zip(*away, strict=True)), fmt="none", ecolor="black", capsize=2)
    panel.set_xticks(range(len(models)), [under(label, one) for label, one in models.items()], fontsize=8)
    panel.legend(fontsize=8, loc="upper center")
    panel.grid(alpha=0.3, axis="y")


def under(label: str, model: Model) -> str:
    return "\n".join([label, *(f"{name}: {status}" for name, status in model["verdicts"].items())])


if __name__ == "__main__":
    sys.exit(main())
