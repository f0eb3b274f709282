"""Compares Nacelle's tokenizers with Hugging Face's over many texts, for many tokenizer.json files.

    python3 compare_tokenizers.py --tool build/dev/bin/encode_lines FILE_OR_FOLDER...
            [--lines FILE...] [--lines-max N] [--adversarial N] [--seed N]

For each tokenizer.json (folders are searched) it asks both sides for the ids of every text, with
special tokens and, of the adversarial texts, without; for the ids, types and truncation of pairs;
and for the text decoded from the ids. Lines come from --lines (tab-separated or plain text);
adversarial texts are generated from the seed. Prints one row per file, and the first differences.
Fails when there is any. Needs tokenizers (which version is printed).
"""

import argparse
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import make_tokenizer_goldens as pieces_of_text  # noqa: E402


def adversarial(rng, count, tokenizer):
    """Texts that look for trouble: spaces, marks, forms, scripts, this file's own tokens, runs."""
    added = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    vocabulary = list(tokenizer.get_vocab(with_added_tokens=False))
    rng.shuffle(vocabulary)
    own = vocabulary[:2000]
    contractions = ["'s", "'S", "'re", "'LL", "'\u017f", "'ve ", "'d", "''s", "n't", "'Re", "'l", "'"]
    numbers = ["0", "12", "123", "12345678", "\u0663\u0664", "\u00bd", "\u2167", "\u4e09", "1,234.5"]
    lines = ["\n", "\r\n", "\n\n", " \n", "\t\n \n", "\u2028", "\x85", "\n  a", "   ", "  a", "\u3000"]
    odd = ["\ufb01", "\u1e9b\u0323", "\u0130", "\ufdfa", "\u01c4", "\u3131\u314f", "\u1112\u1161\u11ab",
           "\uac00\u11a8", "\ufe0f", "\u200d", "\u0340", "\u0958", "\u212b", "\uff76\uff9e", "\u2581",
           "\u2581\u2581a", "<0x41>", "<unk>", "\u0120", "\u010a", "\uff21\u0301", "a\u0301\u0327", "\x00",
           "\x01", "\u0e33", "\u0f73", "\u0345\u0301", "\U0001d15e", "\u1100", "\u1161", "\u11a8"]

    def one():
        kind = rng.randrange(9)
        if kind == 0:
            return rng.choice(contractions)
        if kind == 1:
            return rng.choice(numbers)
        if kind == 2:
            return rng.choice(lines)
        if kind == 3:
            return rng.choice(odd)
        if kind == 4 and added:
            token = rng.choice(added)
            return rng.choice([token, " " + token, token + " ", token[:-1], token.upper()])
        if kind == 5:
            return rng.choice(own).replace("\u0120", " ").replace("\u2581", " ").removeprefix("##")
        if kind == 6:
            return rng.choice([" ", "a", "\uac00", "!", "\u0301", "\n", "=", "\u4e00"]) * rng.randrange(1, 40)
        return pieces_of_text.piece(rng)

    fixed = pieces_of_text.fixed_texts()
    texts = rng.sample(fixed, min(len(fixed), count // 3))
    while len(texts) < count:
        texts.append("".join(one() for _ in range(rng.choice([1, 2, 3, 5, 8, 13]))))
    return texts


def read_lines(paths, limit):
    lines = []
    for path in paths:
        for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").split("\n"):
            fields = line.split("\t") if "\t" in line else [line]
            lines += [field for field in fields if len(field) > 3]
    return lines[:limit]


class Ours:
    def __init__(self, tool, file):
        self.tool, self.file = tool, file

    def run(self, texts, *mode):
        with tempfile.TemporaryDirectory() as folder:
            source, result = pathlib.Path(folder, "texts"), pathlib.Path(folder, "out")
            encoded = [text.encode() for text in texts]
            source.write_bytes(b"".join(struct.pack("<I", len(e)) + e for e in encoded))
            subprocess.run([self.tool, self.file, source, result, *map(str, mode)], check=True)
            return result.read_bytes()

    def ids(self, texts, *mode):
        data, at, found = self.run(texts, *mode), 0, []
        while at < len(data):
            (count,) = struct.unpack_from("<I", data, at)
            found.append(list(struct.unpack_from(f"<{count}I", data, at + 4)))
            at += 4 + 4 * count
        return found

    def pairs(self, texts, limit):
        data, at, found = self.run(texts, "pairs", limit), 0, []
        while at < len(data):
            (count,) = struct.unpack_from("<I", data, at)
            both = struct.unpack_from(f"<{2 * count}I", data, at + 4)
            found.append((list(both[:count]), list(both[count:])))
            at += 4 + 8 * count
        return found

    def decoded(self, texts):
        data, at, found = self.run(texts, "decode"), 0, []
        while at < len(data):
            (size,) = struct.unpack_from("<I", data, at)
            found.append(data[at + 4:at + 4 + size].decode("utf-8", "surrogateescape"))
            at += 4 + size
        return found


def differences(what, texts, ours, theirs, shown):
    assert len(ours) == len(theirs), (what, len(ours), len(theirs))
    wrong = [i for i in range(len(ours)) if ours[i] != theirs[i]]
    for i in wrong[:shown]:
        print(f"  {what}: {texts[i]!a}\n    ours   {ours[i]!a:.600}\n    theirs {theirs[i]!a:.600}")
    return len(wrong)


def compare(tool, file, lines, options):
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ours = Ours(tool, file)
    rng = random.Random(options.seed)
    hard = adversarial(rng, options.adversarial, tokenizer)
    texts = lines + hard
    theirs = []
    for begin in range(0, len(texts), 1000):
        theirs += [e.ids for e in tokenizer.encode_batch(texts[begin:begin + 1000])]
    wrong = differences("ids", texts, ours.ids(texts, "special"), theirs, options.show)
    wrong += differences("plain", hard, ours.ids(hard, "plain"),
                         [tokenizer.encode(t, add_special_tokens=False).ids for t in hard], options.show)
    few = hard[:400] + lines[:400]
    if tokenizer.num_special_tokens_to_add(False) == 0 and tokenizer.post_processor is None:
        decoded = [tokenizer.encode(t).ids for t in few]
    else:
        decoded = [tokenizer.encode(t).ids for t in few]
    wrong += differences("decoded", few, ours.decoded(few), [tokenizer.decode(d) for d in decoded], options.show)
    pairs = [rng.choice(texts) for _ in range(400)]
    special = tokenizer.num_special_tokens_to_add(True)
    for limit in (special + 7, 32, 1000):
        tokenizer.enable_truncation(limit, strategy="longest_first")
        encoded = [tokenizer.encode(a, b) for a, b in zip(pairs[::2], pairs[1::2])]
        wrong += differences(f"pairs of {limit}", list(zip(pairs[::2], pairs[1::2])),
                             ours.pairs(pairs, limit), [(e.ids, e.type_ids) for e in encoded], options.show)
    print(f"{'equal' if not wrong else f'{wrong} differ':>12}  {len(lines)} lines, {len(hard)} adversarial, "
          f"{sum(map(len, theirs))} ids  {file}", flush=True)
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--tool", required=True)
    parser.add_argument("--lines", nargs="*", default=[])
    parser.add_argument("--lines-max", type=int, default=10 ** 9)
    parser.add_argument("--adversarial", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    options = parser.parse_args()
    files = [f for p in options.files for f in (sorted(p.rglob("tokenizer.json")) if p.is_dir() else [p])]
    lines = read_lines(options.lines, options.lines_max)
    print(f"tokenizers {tokenizers.__version__}, {len(files)} files, {len(lines)} lines, seed {options.seed}")
    wrong = sum(compare(options.tool, file, lines, options) for file in files)
    sys.exit(1 if wrong or not files else 0)


if __name__ == "__main__":
    main()
