#!/usr/bin/env python3
"""Writes a model of BERT-base's shape with random weights, for speed alone.

    make_bert_base.py MINILM_FOLDER OUT_FOLDER

Weights are normal with deviation 0.02, as BERT's are initialized; some channels of the embeddings'
LayerNorm are ten times as large, as in trained models: activations without such outliers would make
quantization look better than it is. Tokenizer and pooling are MiniLM's.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy
from safetensors.numpy import save_file

CONFIG = {
    "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 768,
    "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
    "type_vocab_size": 2, "vocab_size": 30522, "pad_token_id": 0,
    "position_embedding_type": "absolute",  # which CTranslate2 asks for
}
OUTLIERS = 4  # channels


def main(minilm, out):
    random = numpy.random.default_rng(1)
    width, inside = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    tensors = {}

    def weight(name, *shape):
        tensors[name] = (random.standard_normal(shape) * 0.02).astype(numpy.float32)

    def linear(name, outputs, inputs):
        weight(name + ".weight", outputs, inputs)
        weight(name + ".bias", outputs)

    def norm(name):
        tensors[name + ".weight"] = numpy.ones(width, numpy.float32)
        tensors[name + ".bias"] = numpy.zeros(width, numpy.float32)

    weight("embeddings.word_embeddings.weight", CONFIG["vocab_size"], width)
    weight("embeddings.position_embeddings.weight", CONFIG["max_position_embeddings"], width)
    weight("embeddings.token_type_embeddings.weight", CONFIG["type_vocab_size"], width)
    norm("embeddings.LayerNorm")
    tensors["embeddings.LayerNorm.weight"][random.choice(width, OUTLIERS, replace=False)] = 10
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        for part in ("query", "key", "value"):
            linear(at + "attention.self." + part, width, width)
        linear(at + "attention.output.dense", width, width)
        norm(at + "attention.output.LayerNorm")
        linear(at + "intermediate.dense", inside, width)
        linear(at + "output.dense", width, inside)
        norm(at + "output.LayerNorm")
    linear("pooler.dense", width, width)

    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
                 "modules.json"):
        if (minilm / name).exists():
            shutil.copy(minilm / name, out / name)
    (out / "1_Pooling").mkdir(exist_ok=True)
    pooling = json.loads((minilm / "1_Pooling/config.json").read_text())
    pooling["word_embedding_dimension"] = width
    (out / "1_Pooling/config.json").write_text(json.dumps(pooling, indent=2))
    unfinished = out / "model.part"
    save_file(tensors, unfinished, metadata={"format": "pt"})
    unfinished.replace(out / "model.safetensors")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
