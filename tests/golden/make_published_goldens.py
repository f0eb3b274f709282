"""Records what sentence-transformers answers for a published model, beside the model:

    python3 tests/golden/make_published_goldens.py FOLDER...

Each FOLDER gets a reference_embeddings.json for the texts of tests/data/inputs.json, which
tests/model/published_test.cc compares with where the folder is among the optional assets
(NACELLE_ASSETS). Needs torch, transformers and sentence-transformers.
"""
import json
import pathlib
import sys

import sentence_transformers
import torch
import transformers

INPUTS = pathlib.Path(__file__).resolve().parents[1] / "data" / "inputs.json"


def record(folder):
    model = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    items = []
    for entry in json.loads(INPUTS.read_text(encoding="utf-8")):
        text = entry["text"]
        features = model.preprocess([text])
        vector = model.encode([text], prompt="", convert_to_numpy=True)[0]
        items.append({"text": text, "ids": features["input_ids"][0].tolist(),
                      "embedding": [round(float(x), 7) for x in vector]})
    generator = (f"sentence-transformers {sentence_transformers.__version__}, transformers "
                 f"{transformers.__version__}, torch {torch.__version__} on CPU, fp32, eager "
                 "attention")
    (folder / "reference_embeddings.json").write_text(
        json.dumps({"model": folder.name, "generator": generator, "items": items},
                   ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{folder}: {len(items)} texts, longest {max(len(i['ids']) for i in items)} tokens; "
          f"{generator}")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        record(pathlib.Path(name))
