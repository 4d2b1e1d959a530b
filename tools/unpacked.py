"""A model whose weights lie where 4 bits put them: packed by bitsandbytes, unpacked again, and saved in full precision.

    tools/unpacked.py TARGET TARGET4 --kind nf4

That is what one has who trains a model that is given away, or held, in 4 bit: merging an adapter into it unpacks its
weights, adds, and packs them again. Only linear layers of the decoder change, as when a model is loaded in 4 bit.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from mmforget.errors import UserError
from mmforget.model.altering import linear_layers
from mmforget.model.load import load_model
from mmforget.model.loaded import save_model
from mmforget.model.packing_layers import Packing, packed
from mmforget.model.spec import ModelSpec


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model in full precision")
    parser.add_argument("output", type=Path, help="new folder")
    parser.add_argument("--kind", choices=["nf4", "fp4"], default="nf4")
    args = parser.parse_args(argv)
    try:
        unpack(args.model, folder=args.output, kind=cast(Packing, args.kind))
    except UserError as error:
        parser.error(str(error))
    return 0


def unpack(model: str, *, folder: Path, kind: Packing) -> None:
    """Saves the model of a folder with the weights that are left of it in 4 bit."""
    from bitsandbytes.functional import dequantize_4bit

    loaded = load_model(ModelSpec(model, device="cpu"))
    with torch.no_grad():
        for layer in linear_layers(loaded).values():
            weight = packed(layer, kind=kind).layer.weight
            layer.weight.copy_(dequantize_4bit(weight.data, weight.quant_state))
    save_model(loaded, folder)


if __name__ == "__main__":
    sys.exit(main())
