"""Writes the texts of bench/serve.py, one a line.

    make_texts.py MODEL_FOLDER SENTENCES LENGTH COUNT OUT

LENGTH tokens each, special ones included; 0: log-normal lengths, as callers' texts are. Prints
JSON: the tokens of each text.
"""

import json
import random
import sys
from pathlib import Path

import texts
from tokenizers import Tokenizer

MIX_MEDIAN = 48  # tokens
MIX_SIGMA = 0.8
MIX_MIN, MIX_MAX = 4, 250  # all-MiniLM-L6-v2 takes 256


def main():
    folder, words, length, count, out = sys.argv[1:]
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    generator = random.Random(int(length))
    maker = texts.Maker(tokenizer, words, generator)
    made = {}  # in the order they came to be
    while len(made) < int(count):
        wanted = int(length) or min(max(round(
            MIX_MEDIAN * generator.lognormvariate(0, MIX_SIGMA)), MIX_MIN), MIX_MAX)
        if (text := maker.make(wanted)) is not None:
            made[text] = wanted
    Path(out).write_text("".join(text + "\n" for text in made), encoding="utf-8")
    print(json.dumps(list(made.values())))


if __name__ == "__main__":
    main()
