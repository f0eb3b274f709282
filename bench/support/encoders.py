"""What benchmarks of encoders share: the model, its arithmetic, and how alike two vectors are."""

import math
import operator
import subprocess
from pathlib import Path

from processes import ROOT


def find_minilm(python):
    """The folder of all-MiniLM-L6-v2, or None; the script says why."""
    found = subprocess.run([ROOT / "tests/demo/find_minilm.sh", python], stdout=subprocess.PIPE,
                           text=True, check=False)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


def flops_per_text(config, length):
    """Of the encoder's products: q, k, v and output; both of attention's; up and down."""
    width, inside = config["hidden_size"], config["intermediate_size"]
    return length * config["num_hidden_layers"] * (
        2 * width * (4 * width + 2 * inside) + 4 * length * width)


def cosine(a, b):
    def dot(x, y):
        return sum(map(operator.mul, x, y))

    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def least_cosine(a, b, width):
    """Of the rows of two arrays that are as long; NaN when one is."""
    return min((cosine(a[i:i + width], b[i:i + width]) for i in range(0, len(a), width)),
               key=lambda value: (value == value, value))
