"""Writes tests/data/tokenizers/small/pairs.json: two texts in one sequence, cut longest_first.

The small tokenizer (make_tokenizer_goldens.py) with several templates for pairs, and what Hugging
Face's tokenizers gives for pairs of texts under limits that cut one of them, both or none.

    python3 make_pair_goldens.py        needs tokenizers (which version is recorded)
"""

import json
import pathlib
import random

import tokenizers
from tokenizers import Tokenizer

SMALL = pathlib.Path(__file__).resolve().parents[1] / "data/tokenizers/small"
SEED = 20240609


def token(text, type_id):
    return {"SpecialToken": {"id": text, "type_id": type_id}}


def text(which, type_id):
    return {"Sequence": {"id": which, "type_id": type_id}}


TEMPLATES = {
    "bert": {},
    "roberta": {"post_processor": {"pair": [token("[CLS]", 0), text("A", 0), token("[SEP]", 0),
                                            token("[SEP]", 0), text("B", 0), token("[SEP]", 0)]}},
    "turned round": {"post_processor": {"pair": [text("B", 2), token("[SEP]", 3), text("A", 1)]}},
    "no post-processor": {"post_processor": None},
}


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result[key] = merge(result.get(key), value)
    return result


def main():
    rng = random.Random(SEED)
    base = json.loads((SMALL / "tokenizer.json").read_text())
    texts = ["", "the", "the movie", "the movie is really good", "영화 정말 재미있다",
             "unhappyness[SEP]unhappyness", "really " * 9, "[MASK] 東京 is in 日本!", " ",
             "naïve cafés, straße… and İstanbul", "a b c d e f g h i j k l m n o p q r s t"]
    cases = []
    for name, patch in TEMPLATES.items():
        tokenizer = Tokenizer.from_str(json.dumps(merge(base, patch)))
        special = tokenizer.num_special_tokens_to_add(True)
        pairs = [(first, second) for first in texts for second in texts]
        if patch:
            pairs = rng.sample(pairs, 20)
        rows = []
        for first, second in pairs:
            tokenizer.no_truncation()
            whole = len(tokenizer.encode(first, second).ids)
            # A limit of 0 means none to the library.
            for limit in {max(1, special), *rng.sample(range(max(1, special), 40), 2)}:
                tokenizer.enable_truncation(limit, strategy="longest_first")
                encoded = tokenizer.encode(first, second)
                rows.append([texts.index(first), texts.index(second), limit, encoded.ids,
                             encoded.type_ids, len(encoded.ids) < whole])
        cases.append({"name": name, "patch": patch, "rows": rows})
    dump = lambda value: json.dumps(value, separators=(",", ":"))
    lines = ",\n".join(dump(case) for case in cases)
    (SMALL / "pairs.json").write_text(
        f'{{"generator": "tests/golden/make_pair_goldens.py", "tokenizers": '
        f'"{tokenizers.__version__}", "seed": {SEED},\n"texts": {dump(texts)},\n"cases": [\n{lines}]}}\n')


if __name__ == "__main__":
    main()
