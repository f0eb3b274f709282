#!/usr/bin/env python3
"""Hugging Face's tokenizers in this process, told what to do by bench/tokenizers.py. Runs in the
peer's own venv.

    tokenizers_encode.py TOKENIZER.json TEXTS

TEXTS as tokenizers_timer.cc has them. Reads a line and answers one:

    ids FILE     writes the ids, as tokenizers_timer.cc does -> ok
    one          encode() of each text -> ok CPU seconds of the process
    batch        encode_batch() of 1000 texts at a time, on one thread -> ok CPU seconds
    fast         the same by encode_batch_fast(), which leaves out the offsets
"""

import os
import struct
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer  # noqa: E402

BATCH = 1000


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_padding()
    tokenizer.no_truncation()
    data, at, texts = Path(sys.argv[2]).read_bytes(), 0, []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        texts.append(data[at + 4:at + 4 + size].decode())
        at += 4 + size
    batches = [texts[i:i + BATCH] for i in range(0, len(texts), BATCH)]
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "ids":
            with open(rest, "wb") as out:
                for text in texts:
                    ids = tokenizer.encode(text).ids
                    out.write(struct.pack(f"<{1 + len(ids)}I", len(ids), *ids))
            print("ok", flush=True)
            continue
        begin = time.process_time()
        if word == "one":
            for text in texts:
                tokenizer.encode(text)
        elif word == "batch":
            for batch in batches:
                tokenizer.encode_batch(batch)
        elif word == "fast":
            for batch in batches:
                tokenizer.encode_batch_fast(batch)
        print("ok", time.process_time() - begin, flush=True)


if __name__ == "__main__":
    main()
