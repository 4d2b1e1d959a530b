"""What sharing prefixes saves on one GPU: LLaVA-1.5-7B's geometry, NF4, LoRA, 20 questions an image.

    tools/bench_gpu.py --output bench/gpu.json
    tools/bench_gpu.py --device cpu --size tiny --quick     # shows that everything runs

Random weights are made on the device; nothing is downloaded. One JSON document goes to `--output` or to stdout, a
readable table to stderr. Each variant runs in turn with the other; the best time of each counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

METHODS = ("ga", "grad_diff", "npo", "kl")
MATMUL_SIZE = 8192


def build_parser() -> argparse.ArgumentParser:
    from bench import Parser, iso_date, positive

    parser = Parser(prog="bench_gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("7b", "tiny"), default="7b", help="of the model (default 7b)")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:0 or cpu (default cuda)")
    parser.add_argument("--methods", type=_methods, default=METHODS, metavar="NAMES", help=",".join(METHODS))
    parser.add_argument("--questions", type=positive, default=20, metavar="N", help="about one image (default 20)")
    parser.add_argument("--candidates", type=positive, default=6, metavar="N", help="where scored (default 6)")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="of everything timed (default 5)")
    parser.add_argument("--quick", action="store_true", help="one repeat, four questions, two candidates")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the JSON goes; stdout without it")
    parser.add_argument("--date", type=iso_date, metavar="YYYY-MM-DD", help="of the document; default today")
    return parser


def _methods(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"unknown method '{', '.join(unknown)}'; choose from {','.join(METHODS)}")
    return tuple(names)


def main(argv: Sequence[str] | None = None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    from bench import check_output, prepare_libraries

    check_output(parser, args.output)
    with tempfile.TemporaryDirectory(prefix="mmforget-bench-") as folder:
        prepare_libraries(Path(folder))
        device = _device(parser, args.device)
        document = _measured(parser, args, device=device)
    _write(document, args.output)
    return 0


def _device(parser: argparse.ArgumentParser, name: str) -> Any:
    """The device. Ends with status 2 where torch cannot use it."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        parser.error(f"--device {name}: there is no such device; give cuda, cuda:0 or cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {name}: torch finds no GPU here; try --device cpu --size tiny --quick")
    return device


def _measured(parser: argparse.ArgumentParser, args: argparse.Namespace, *, device: Any) -> dict[str, Any]:
    """The document. Ends with status 1 and one line where the device is too small."""
    import torch

    try:
        return measure(args, device=device)
    except torch.OutOfMemoryError as error:
        parser.exit(1, f"{parser.prog}: {error}; give fewer --questions or --candidates\n")


def measure(args: argparse.Namespace, *, device: Any) -> dict[str, Any]:
    """The whole document."""
    import torch

    from bench import today
    from benchmarks import on_device, random_nf4
    from benchmarks.machine import machine, versions
    from benchmarks.measuring import attainable_flops, memory, reset_peak, say
    from benchmarks.world import Shape

    size = 256 if device.type == "cpu" else MATMUL_SIZE
    attainable = attainable_flops(device=str(device), dtype=torch.bfloat16, size=size)
    say(f"building a random {args.size} model in NF4 on {device}")
    reset_peak()
    loaded = random_nf4.build(args.size, device=device)
    shape = Shape(1, 4, 2) if args.quick else Shape(1, args.questions, args.candidates)
    setup = on_device.Setup(loaded, shape, 1 if args.quick else args.repeats, attainable)
    document = {
        "schema": 1,
        "date": args.date or today(),
        "quick": args.quick,
        "repeats": setup.repeats,
        "machine": machine(),
        "versions": versions(),
        "model": {"size": args.size, "quantisation": "nf4, double quantised", "lora_rank": setup.rank},
        "model_memory_bytes": memory().now,
        "shape": vars(shape),
        "attainable_flops": attainable,
        "scoring": on_device.score_answers(setup),
        "generation": on_device.write_answers(setup),
    }
    return document | {"training": on_device.train(setup, args.methods)}


def _write(document: dict[str, Any], output: Path | None) -> None:
    from benchmarks.tables import device_tables

    text = json.dumps(document, indent=1) + "\n"
    if output is None:
        print(text, end="")
    else:
        output.write_text(text, encoding="utf-8")
    print(device_tables(document), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
