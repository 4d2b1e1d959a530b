"""The page that shows what comes back of what looked forgotten: recovery curves, and what few bits give back.

    mmforget attack --model hf --model_args pretrained=TARGET,peft=ADAPTER --target_model TARGET \\
        --retain_model RETAIN --tasks fiubench --data synthetic \\
        --attacks 'relearning(lr=0.001,steps=32),quantisation' --output_path out/fiubench/po
    tools/compare_recovery.py out/fiubench out/tofu --json bench/recovery.json

A folder has one folder for each method, as `mmforget attack` leaves it; one of them at least has target and retain
model. Writes `docs/recovery.md`, its picture beside it, and with `--json` the numbers. What stands below a table,
between `<!-- remarks FOLDER -->` and `<!-- end -->`, is kept. Ends with status 2 where a folder holds no such results.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from compare_methods import remarks_in
from mmforget.attacks.naming import attack_of

plt.switch_backend("Agg")

ROOT = Path(__file__).resolve().parent.parent
PICTURE = "recovery.png"
REFERENCES = ("target", "retain")
HEAD = ("model", "plain", "relearnt", "area under the curve", "updates to half", "quantised", "codes changed")
TOP = """# What comes back

Made by `tools/compare_recovery.py` of `mmforget attack` on micro models. Each relearns a fifth of the forgotten rows
and is asked about the others (*relearnt*: found by the last look); each is packed in few bits (*quantised*). Shares of
questions whose answer stands in what is said, with intervals of 95 % over subjects. *Updates to half*: the first look
by which half of what the target says is back; a dash is never. The retain model never saw the answers: what it says is
a guess, and what it learns is learnt. *Codes changed*: of all weights those with another code than without the adapter.
"""

Model = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="DIR", help="a folder a method inside, one a benchmark"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "recovery.md", metavar="FILE")
    args = parser.parse_args(argv)
    try:
        found = {folder.name: models_in(folder) for folder in args.folders}
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"no results of attacks: {error!r}")
    if lacking := [name for name, models in found.items() if not {*REFERENCES} < {*models}]:
        parser.error(f"{', '.join(lacking)}: no results of a target, a retain and an unlearned model")
    remarks = remarks_in(args.output.read_text(encoding="utf-8")) if args.output.is_file() else {}
    draw(found, args.output.parent / PICTURE)
    args.output.write_text(page(found, remarks=remarks), encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def models_in(folder: Path) -> dict[str, Model]:
    """By model, target and retain model first, what was found; the unlearned ones are called as their folders."""
    found: dict[str, Model] = {}
    for file in sorted(folder.glob("*/*/attacks_*.json")):
        by_model = json.loads(file.read_text(encoding="utf-8"))["attacks"]
        method = file.parent.parent.name
        found |= {method if name == "model" else name: summary(results) for name, results in by_model.items()}
    return {
        name: found[name] for name in (*REFERENCES, *(one for one in found if one not in REFERENCES)) if name in found
    }


def summary(results: Sequence[Mapping[str, Any]]) -> Model:
    """Of one model and the first of its tasks: plain, relearnt and quantised."""
    task = results[0]["task"]
    own = {str(one["attack"]): one for one in results if one["task"] == task}
    (relearnt,) = [one for key, one in own.items() if key.startswith("relearning")]
    quantised = next((one for key, one in own.items() if key.startswith("quantisation")), None)
    counts = {} if quantised is None else quantised.get("counts") or {}
    return {
        "task": task,
        "attack": relearnt["attack"],
        "updates": list(attack_of(relearnt["attack"]).at),
        "plain": interval(own["None"]["success"]),
        "relearnt": interval(relearnt["success"]),
        "area": interval(relearnt["area"]),
        "curve": relearnt["curve"],
        "quantised": None if quantised is None else interval(quantised["success"]),
        "codes_changed": counts["codes_changed"] / counts["codes"] if counts else None,
    }


def interval(estimate: Mapping[str, Any]) -> dict[str, Any]:
    return {key: estimate[key] for key in ("value", "low", "high", "num_scored")}


def half_back(model: Model, *, target: Model) -> int | None:
    """The first look at which at least half of what the target says plainly has come."""
    wanted = target["plain"]["value"] / 2
    looks = zip(model["updates"], model["curve"], strict=True)
    return next((update for update, value in looks if value is not None and value >= wanted), None)


def page(found: Mapping[str, Mapping[str, Model]], *, remarks: Mapping[str, str]) -> str:
    parts = [TOP, f"![share of answers that are back, by updates]({PICTURE})\n"]
    for name, models in found.items():
        lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
        lines += ["| " + " | ".join(cells(label, one, target=models["target"])) + " |" for label, one in models.items()]
        about = f"`{models['target']['attack']}` on `{models['target']['task']}`."
        table = "\n".join(lines)
        parts.append(
            f"## {name}\n\n{about}\n\n{table}\n\n<!-- remarks {name} -->\n{remarks.get(name, '')}<!-- end -->\n"
        )
    return "\n".join(parts)


def cells(label: str, model: Model, *, target: Model) -> list[str]:
    half, changed = half_back(model, target=target), model["codes_changed"]
    return [
        label if label in REFERENCES else f"`{label}`",
        *(shown(model[key]) for key in ("plain", "relearnt", "area")),
        "-" if half is None else str(half),
        "-" if model["quantised"] is None else shown(model["quantised"]),
        "-" if changed is None else f"{changed:.0%}",
    ]


def shown(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    between = "" if estimate["low"] is None else f" [{estimate['low']:.2f}, {estimate['high']:.2f}]"
    return f"{estimate['value']:.2f}{between}"


def draw(found: Mapping[str, Mapping[str, Model]], file: Path) -> None:
    """One panel a benchmark: the share of answers that have come by each look, beginning with the plain one."""
    figure, panels = plt.subplots(1, len(found), figsize=(5.2 * len(found), 4), sharey=True, squeeze=False)
    for panel, (name, models) in zip(panels[0], found.items(), strict=True):
        for label, one in models.items():
            style = {"target": ("black", "-"), "retain": ("black", "--")}.get(label, (None, "-"))
            values = [one["plain"]["value"], *one["curve"]]
            panel.plot(range(len(values)), values, marker="o", label=label, color=style[0], linestyle=style[1])
        updates = [0, *models["target"]["updates"]]
        panel.set_xticks(range(len(updates)), [str(update) for update in updates])
        panel.set(title=name, xlabel="updates on a fifth of the rows", ylim=(-0.03, 1.03))
        panel.legend(fontsize=8)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("share of the other answers found by then")
    figure.tight_layout()
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
