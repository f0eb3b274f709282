#!/usr/bin/env python3
"""Writes a BERT sentence encoder as the ONNX file that ONNX Runtime runs fastest in fp32.

    bert_onnx.py MODEL_FOLDER OUT.onnx

The graph is what ONNX Runtime's own transformer optimizer leaves of an exported model: its fused
operators EmbedLayerNormalization, Attention (one product for q, k and v), SkipLayerNormalization
and BiasGelu (the exact one), with mean pooling and L2 normalization after them.

    in   input_ids, attention_mask   int32 [batch, length]
    out  embedding                   float [batch, width]
"""

import json
import sys
from pathlib import Path

import numpy
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

FUSED = "com.microsoft"


class Graph:
    """Nodes and weights in the making; each method returns the name of what it computes."""

    def __init__(self):
        self.nodes = []
        self.weights = []

    def weight(self, name, array):
        self.weights.append(numpy_helper.from_array(numpy.ascontiguousarray(array), name))
        return name

    def node(self, op, inputs, out, domain="", others=(), **attributes):
        self.nodes.append(
            helper.make_node(op, inputs, [out, *others], name=out, domain=domain, **attributes))
        return out


def encoder(graph, config, tensors):
    """Token vectors [batch, length, width] of the last layer."""
    epsilon = config["layer_norm_eps"]

    def tensor(name):
        return graph.weight(name, tensors[name])

    def linear(name, hidden):  # without its bias, which the next operator adds
        weight = graph.weight(name + ".weight", tensors[name + ".weight"].T)
        return graph.node("MatMul", [hidden, weight], name + ".product")

    def add_and_norm(name, out, skip, bias):
        return graph.node("SkipLayerNormalization",
                          [out, skip, tensor(name + ".weight"), tensor(name + ".bias"), bias],
                          name, FUSED, epsilon=epsilon)

    # Token types are all 0: their embedding is part of the positions', as the optimizer has it.
    positions = (tensors["embeddings.position_embeddings.weight"]
                 + tensors["embeddings.token_type_embeddings.weight"][0])
    hidden = graph.node(
        "EmbedLayerNormalization",
        ["input_ids", "", tensor("embeddings.word_embeddings.weight"),
         graph.weight("positions", positions), "", tensor("embeddings.LayerNorm.weight"),
         tensor("embeddings.LayerNorm.bias"), "attention_mask"],
        "embeddings", FUSED, others=["lengths"], epsilon=epsilon)
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        parts = [at + f"attention.self.{part}." for part in ("query", "key", "value")]
        qkv = graph.weight(at + "qkv.weight",
                           numpy.concatenate([tensors[part + "weight"].T for part in parts], 1))
        bias = graph.weight(at + "qkv.bias",
                            numpy.concatenate([tensors[part + "bias"] for part in parts]))
        attended = graph.node("Attention", [hidden, qkv, bias, "lengths"], at + "attention", FUSED,
                              num_heads=config["num_attention_heads"])
        out = at + "attention.output."
        hidden = add_and_norm(out + "LayerNorm", linear(out + "dense", attended), hidden,
                              tensor(out + "dense.bias"))
        inside = at + "intermediate.dense"
        wide = graph.node("BiasGelu", [linear(inside, hidden), tensor(inside + ".bias")],
                          inside + ".gelu", FUSED)
        out = at + "output."
        hidden = add_and_norm(out + "LayerNorm", linear(out + "dense", wide), hidden,
                              tensor(out + "dense.bias"))
    return hidden


def pooled(graph, hidden):
    """The mean over each text's tokens, with length 1: [batch, width]."""
    axis = graph.weight("axis", numpy.array([1], numpy.int64))
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
    row = graph.node("Unsqueeze", [mask, axis], "mask_row")  # [batch, 1, length]
    total = graph.node("MatMul", [row, hidden], "total")     # [batch, 1, width]
    vector = graph.node("Squeeze", [total, axis], "vector")
    # The mean's divisor goes away in the normalization.
    return graph.node("LpNormalization", [vector], "embedding", axis=1, p=2)


def make(folder, out):
    config = json.loads((folder / "config.json").read_text())
    if config["hidden_act"] != "gelu":
        sys.exit(f"{folder}/config.json: hidden_act is {config['hidden_act']!r}, only gelu is known")
    tensors = load_file(folder / "model.safetensors")
    graph = Graph()
    pooled(graph, encoder(graph, config, tensors))
    shape = ["batch", "length"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "bert",
            [helper.make_tensor_value_info(name, TensorProto.INT32, shape)
             for name in ("input_ids", "attention_mask")],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT,
                                           ["batch", config["hidden_size"]])],
            graph.weights),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)],
        ir_version=9)
    checker.check_model(model)
    unfinished = out.with_suffix(".part")
    save(model, unfinished)
    unfinished.replace(out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    make(Path(sys.argv[1]), Path(sys.argv[2]))
