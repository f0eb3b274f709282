#!/usr/bin/env python3
"""One peer of bench/encode.py in this process, told what to do. Runs in the peers' own venv.

    encode_peer.py KIND PRECISION MODEL_FOLDER WORK_FOLDER THREADS

KIND and PRECISION: onnxruntime fp32 | int8, ctranslate2 fp32 | int8, torch fp32 | bf16,
torch.compile fp32 | bf16, sentence-transformers fp32 | bf16. WORK_FOLDER keeps converted models.

Reads one JSON object a line from standard input and answers each with one:

    {"make": FILE, "words": FILE, "length": L, "count": N}   writes N texts of L tokens each, or of
                            log-normal lengths with the mean 0.35 * 512 when L is 0 -> {}
    {"texts": FILE}         what the others embed -> {"count": N, "tokens": T}
    {"vectors": FILE, "batch": B}    every text's embedding as raw floats -> {"width": W}
    {"seconds": S, "batch": B}       -> {"rate": texts/s, "p50_us": ..., "p99_us": ...} of calls
"""

import json
import os
import random
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import numpy  # noqa: E402
import texts  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

MIX_MAX = 512
MIX_MEAN = 0.35 * MIX_MAX
MIX_SIGMA = 0.8


def mean_and_normalize(hidden, mask):
    """The embedding that sentence-transformers makes of token vectors; numpy, [texts, width]."""
    weights = mask[:, :, None].astype(numpy.float32)
    vectors = (hidden * weights).sum(1) / weights.sum(1)
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


class OnnxRuntime:
    def __init__(self, precision, folder, work, threads):
        import onnxruntime

        self.version = onnxruntime.__version__
        graph = work / f"{folder.name}.onnx"
        if precision == "int8":
            graph = self.quantized(graph, work / f"{folder.name}.int8.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"])

    @staticmethod
    def quantized(graph, out):
        """The fused graph with int8 weights and activations quantized as they come."""
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        if not out.exists() or out.stat().st_mtime < graph.stat().st_mtime:
            unfinished = out.with_suffix(".part")
            quantize_dynamic(graph, unfinished, weight_type=QuantType.QInt8, per_channel=True,
                             op_types_to_quantize=["MatMul", "Attention"],
                             extra_options={"MatMulConstBOnly": True,
                                            "DefaultTensorType": TensorProto.FLOAT})
            unfinished.replace(out)
        return out

    def embed(self, ids, mask):
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


class CTranslate2:
    def __init__(self, precision, folder, work, threads):
        import ctranslate2
        from ctranslate2.converters import TransformersConverter

        self.version = ctranslate2.__version__
        converted = work / f"{folder.name}.ctranslate2"
        if not converted.exists():
            TransformersConverter(str(folder)).convert(str(converted))
        self.encoder = ctranslate2.Encoder(
            str(converted), device="cpu", inter_threads=1, intra_threads=threads,
            compute_type={"fp32": "float32", "int8": "int8"}[precision])

    def embed(self, ids, mask):
        lists = [row[:count].tolist() for row, count in zip(ids, mask.sum(1))]
        hidden = numpy.array(self.encoder.forward_batch(lists).last_hidden_state)
        return mean_and_normalize(hidden, mask)


class Torch:
    def __init__(self, precision, folder, _, threads, compiled=False):
        import torch
        from transformers import AutoModel

        self.torch = torch
        self.version = torch.__version__
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")  # fp32 products are fp32
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa",
                                               add_pooling_layer=False).eval()
        self.forward = torch.compile(self.model) if compiled else self.model

    def embed(self, ids, mask):
        torch = self.torch
        with torch.inference_mode():
            masked = None if mask.all() else torch.from_numpy(mask.astype(numpy.int64))
            hidden = self.forward(input_ids=torch.from_numpy(ids.astype(numpy.int64)),
                                  attention_mask=masked).last_hidden_state
            return mean_and_normalize(hidden.float().numpy(), mask)


def torch_compiled(precision, folder, work, threads):
    return Torch(precision, folder, work, threads, compiled=True)


class SentenceTransformers:
    """From strings, as its users call it."""

    def __init__(self, precision, folder, _, threads):
        import sentence_transformers
        import torch

        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        self.version = sentence_transformers.__version__
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = sentence_transformers.SentenceTransformer(
            str(folder), device="cpu", model_kwargs={"dtype": dtype})
        self.model.max_seq_length = 512

    def embed_texts(self, batch):
        vectors = self.model.encode(batch, batch_size=len(batch), normalize_embeddings=True,
                                    convert_to_tensor=True, show_progress_bar=False)
        return vectors.float().numpy()


KINDS = {"onnxruntime": OnnxRuntime, "ctranslate2": CTranslate2, "torch": Torch,
         "torch.compile": torch_compiled, "sentence-transformers": SentenceTransformers}


class Peer:
    def __init__(self, kind, precision, folder, work, threads):
        self.engine = KINDS[kind](precision, folder, work, threads)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()  # the file asks for padding to 128, and for truncation there
        self.tokenizer.no_truncation()
        self.texts = []
        self.ids = []

    def make(self, path, words, length, count):
        generator = random.Random(length)
        maker = texts.Maker(self.tokenizer, words, generator)
        made = {}  # in the order they came to be
        while len(made) < count:
            wanted = length
            if length == 0:
                wanted = round(generator.lognormvariate(0, MIX_SIGMA)
                               * MIX_MEAN / numpy.exp(MIX_SIGMA ** 2 / 2))
                wanted = min(max(wanted, 4), MIX_MAX)
            if (text := maker.make(wanted)) is not None:
                made[text] = None
        Path(path).write_text("".join(text + "\n" for text in made), encoding="utf-8")
        return {}

    def load(self, path):
        self.texts = Path(path).read_text(encoding="utf-8").splitlines()
        self.ids = [encoded.ids for encoded in self.tokenizer.encode_batch(self.texts)]
        return {"count": len(self.ids), "tokens": sum(map(len, self.ids))}

    def batches(self, batch):
        """(indices, what embed takes) of every batch; texts of like length together."""
        order = sorted(range(len(self.ids)), key=lambda i: -len(self.ids[i]))
        for begin in range(0, len(order), batch):
            chosen = order[begin:begin + batch]
            if hasattr(self.engine, "embed_texts"):
                yield chosen, ([self.texts[i] for i in chosen],)
                continue
            ids = numpy.zeros([len(chosen), len(self.ids[chosen[0]])], numpy.int32)
            mask = numpy.zeros_like(ids)
            for row, i in enumerate(chosen):
                ids[row, :len(self.ids[i])] = self.ids[i]
                mask[row, :len(self.ids[i])] = 1
            yield chosen, (ids, mask)

    def embed(self, arguments):
        return (self.engine.embed_texts if len(arguments) == 1 else self.engine.embed)(*arguments)

    def vectors(self, path, batch):
        out = None
        for chosen, arguments in self.batches(batch):
            vectors = self.embed(arguments)
            if out is None:
                out = numpy.empty([len(self.ids), vectors.shape[1]], numpy.float32)
            out[chosen] = vectors
        Path(path).write_bytes(out.tobytes())
        return {"width": out.shape[1]}

    def rate(self, seconds, batch):
        """Whole rounds over all texts, so that a mix is always the same mix."""
        batches = [arguments for _, arguments in self.batches(batch)]
        shapes = {}
        for arguments in batches:  # what compiles or allocates by shape does it now
            shapes.setdefault(getattr(arguments[0], "shape", 0), arguments)
        for arguments in shapes.values():
            self.embed(arguments)
        calls = []
        done = 0
        begin = time.perf_counter()
        while True:
            for arguments in batches:
                start = time.perf_counter()
                done += len(self.embed(arguments))
                calls.append(time.perf_counter() - start)
                if len(shapes) == 1 and start - begin > seconds:
                    break
            if time.perf_counter() - begin > seconds:
                break
        took = time.perf_counter() - begin
        p50, p99 = numpy.percentile(calls, [50, 99]) * 1e6
        return {"rate": done / took, "p50_us": p50, "p99_us": p99}


def main():
    kind, precision, folder, work, threads = sys.argv[1:]
    peer = Peer(kind, precision, Path(folder), Path(work), int(threads))
    calls = {"make": peer.make, "texts": peer.load, "vectors": peer.vectors, "seconds": peer.rate}
    print(json.dumps({"version": peer.engine.version}), flush=True)
    for line in sys.stdin:
        arguments = list(json.loads(line).items())  # the first names the call
        answer = calls[arguments[0][0]](*[value for _, value in arguments])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
