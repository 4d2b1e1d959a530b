"""What sharing prefixes saves, measured side by side on the CPU: ours, ours without sharing, and how others do it.

    tools/bench.py --output bench/cpu.json
    tools/bench.py --only scoring,training --repeats 3
    tools/bench.py --only board,demo --against ANOTHER_CHECKOUT

A LLaVA of real geometry (336 px, 576 image tokens) with random weights is built in a temporary folder, for `text` a
Llama; nothing is downloaded. One JSON document with every number goes to `--output` or to stdout, readable tables to
stderr. Variants run in turn and the best time of each counts, since other programs disturb; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

PARTS = ("scoring", "generation", "training", "methods", "edits", "text", "growth", "demo", "attacks", "board")
REPEATS, QUICK_REPEATS = 3, 1
PLOT = Path(__file__).parent.parent / "docs" / "bench_growth.png"


class Parser(argparse.ArgumentParser):
    """A parser that ends with one line and status 2 for a wrong flag."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see --help\n")


def build_parser() -> Parser:
    parser = Parser(prog="bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes; stdout without it")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="FILE", help="where the picture of growth goes")
    parser.add_argument(
        "--repeats",
        type=positive,
        metavar="N",
        help=f"of everything timed, of what takes long fewer (default {REPEATS})",
    )
    parser.add_argument("--against", type=checkout, metavar="DIR", help="another checkout, for the parts that compare")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that everything runs, no more")
    parser.add_argument("--date", type=iso_date, metavar="YYYY-MM-DD", help="of the document; default today")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=("demo.stages",), help=argparse.SUPPRESS)
    return parser


def _parts(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown part '{', '.join(unknown)}'; choose from {','.join(PARTS)}")
    return tuple(name for name in PARTS if name in names)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def checkout(text: str) -> Path:
    folder = Path(text).expanduser().resolve()
    if not (folder / "mmforget" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is no checkout of mmforget: it holds no mmforget/__init__.py")
    return folder


def iso_date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date like 2026-01-31") from error


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    check_output(parser, args.output)
    with tempfile.TemporaryDirectory(prefix="mmforget-bench-") as temporary:
        folder = args.folder or Path(temporary)
        prepare_libraries(folder)
        from benchmarks.context import Context

        repeats = args.repeats or (QUICK_REPEATS if args.quick else REPEATS)
        context = Context(folder, repeats, args.quick, args.against)
        if args.child:
            from benchmarks.demo_stages import measure_stages

            print(json.dumps(measure_stages("fiubench", output=context.folder / "demo", quick=context.quick)))
            return 0
        document = _document(context, parts=args.only, day=args.date, plot=args.plot)
    _write(document, args.output)
    return 0


def check_output(parser: argparse.ArgumentParser, output: Path | None) -> None:
    """Ends with status 2, before any work, where the document could not be written."""
    if output is not None and not output.parent.is_dir():
        parser.error(f"--output {output}: there is no folder {output.parent}")


def today() -> str:
    return datetime.now(tz=UTC).date().isoformat()


def prepare_libraries(folder: Path) -> None:
    """Settings that other libraries read when they load: offline, silent, caches in our folder, threads that wait.

    Freed memory is kept as in every command, for what mmforget is compared with, too.
    """
    os.environ.update(
        HF_HUB_OFFLINE="1",
        HF_DATASETS_CACHE=str(folder / "datasets"),
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
        TRANSFORMERS_VERBOSITY="error",
        TOKENIZERS_PARALLELISM="false",
    )
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.pop("HF_DATASETS_OFFLINE", None)
    sys.path.insert(0, str(Path(__file__).parent))
    for name in ("lm_eval", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import warnings

    from mmforget.libraries import keep_freed_memory

    keep_freed_memory()
    warnings.filterwarnings("ignore", module=r"(transformers|torch|peft|accelerate|datasets)\b.*")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()


def _document(context: Any, *, parts: Sequence[str], day: str | None, plot: Path) -> dict[str, Any]:
    from benchmarks import peak_memory
    from benchmarks.machine import machine, versions
    from benchmarks.wanted import judged

    document: dict[str, Any] = {
        "schema": 1,
        "date": day or today(),
        "quick": context.quick,
        "repeats": context.repeats,
        "machine": machine(),
        "versions": versions(),
        "geometry": vars(context.geometry),
    }
    weighed = [name for name in parts if name in peak_memory.VARIANTS]
    if weighed:
        peak_memory.prepare()
    document |= {name: _measure(context, name, plot=plot) for name in parts}
    if weighed:
        for name, memory in peak_memory.run(context, weighed).items():
            document[name]["memory"] = memory
    return document | {"wanted": [] if context.quick else judged(document)}


def _measure(context: Any, name: str, *, plot: Path) -> dict[str, Any]:
    from benchmarks import (
        attacks,
        board,
        demo,
        edits,
        generation,
        growth,
        lm_eval_share,
        methods,
        scoring,
        text,
        training,
    )

    if name in ("demo", "attacks", "board"):
        return {"demo": demo, "attacks": attacks, "board": board}[name].run(context)
    if name == "growth":
        found = growth.run(context)
        growth.plot(found, plot)
        return found
    parts = {"scoring": scoring, "generation": generation, "training": training, "methods": methods, "edits": edits}
    found = (parts | {"text": text})[name].run(context)
    if name == "scoring":
        found["lm_eval"] = lm_eval_share.run(context)
    return found


def _write(document: dict[str, Any], output: Path | None) -> None:
    from benchmarks.tables import tables

    text = json.dumps(document, indent=1) + "\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
    print(tables(document), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
