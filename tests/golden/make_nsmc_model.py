"""Makes tests/data/nsmc-bert-ko from its fp32 original: the same tensors, stored as fp16.

    python3 tests/golden/make_nsmc_model.py ASSETS/nsmc-bert-ko

Deterministic: the same original gives the same bytes. Needs numpy and safetensors.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "data" / "nsmc-bert-ko"
# vocab.txt is left behind: tokenizer.json holds the same vocabulary.
COPIED = ["tokenizer.json", "LICENSE.vocab-koelectra"]


def names(path):
    """Tensor names in the order of the file's header."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return [name for name in header if name != "__metadata__"]


def main(original):
    OUT.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(original / name, OUT / name)

    worst = 0.0
    halves = {}
    with safe_open(original / "model.safetensors", "np") as source:
        for name in names(original / "model.safetensors"):
            tensor = source.get_tensor(name)
            assert tensor.dtype == np.float32, (name, tensor.dtype)
            half = tensor.astype(np.float16)
            assert np.isfinite(half).all(), f"{name} has a value that fp16 cannot hold"
            worst = max(worst, float(np.abs(half.astype(np.float32) - tensor).max()))
            halves[name] = half
    target = OUT / "model.safetensors"
    save_file(halves, target, metadata={"format": "pt"})
    target.chmod(0o644)
    assert names(target) == list(halves), "the writer changed the order of the tensors"

    config = json.loads((original / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float16"
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (OUT / "config.json").write_text(text, encoding="utf-8")

    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    print(f"{len(halves)} tensors, {target.stat().st_size} bytes, largest rounding {worst:.2e}")
    print(f"sha256 {digest}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
