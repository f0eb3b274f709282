#!/usr/bin/env python3
"""ONNX Runtime in this process, told what to do by bench/skeleton.py. Runs in the peer's own venv.

    onnxruntime_embed.py MODEL.onnx MODEL_FOLDER THREADS

Reads one JSON object a line from standard input and answers each with one:

    {"make": FILE, "words": FILE, "length": L, "count": N}
                            writes N texts of exactly L tokens, specials included -> {}
    {"texts": FILE}         what the next two embed -> {"count": N, "lengths": [fewest, most]}
    {"vectors": FILE, "batch": B}     writes every text's embedding as raw floats -> {"width": W}
    {"seconds": S, "batch": B}        texts per second, from token ids that are ready -> {"rate": R}
    {"reference": FILE}     the smallest cosine to the recorded embeddings in FILE -> {"cosine": C}
"""

import json
import random
import sys
import time
from pathlib import Path

import numpy
import onnxruntime
import texts
from tokenizers import Tokenizer


class Embedder:
    def __init__(self, model, folder, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self.session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()  # the file asks for padding to 128, and for truncation there
        self.tokenizer.no_truncation()
        self.ids = None  # int32 [texts, length]

    def embed(self, ids):
        inputs = {"input_ids": ids, "attention_mask": numpy.ones_like(ids)}
        return self.session.run(None, inputs)[0]

    def make(self, path, words, length, count):
        maker = texts.Maker(self.tokenizer, words, random.Random(length))
        made = set()
        while len(made) < count:
            if (text := maker.make(length)) is not None:
                made.add(text)
        Path(path).write_text("".join(text + "\n" for text in sorted(made)), encoding="utf-8")
        return {}

    def texts(self, path):
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        ids = [encoded.ids for encoded in self.tokenizer.encode_batch(lines)]
        lengths = [len(one) for one in ids]
        if min(lengths) != max(lengths):
            raise ValueError(f"{path}: texts of {min(lengths)} to {max(lengths)} tokens")
        self.ids = numpy.array(ids, numpy.int32)
        return {"count": len(lines), "lengths": [min(lengths), max(lengths)]}

    def vectors(self, path, batch):
        parts = [self.embed(self.ids[i:i + batch]) for i in range(0, len(self.ids), batch)]
        vectors = numpy.concatenate(parts).astype(numpy.float32)
        Path(path).write_bytes(vectors.tobytes())
        return {"width": vectors.shape[1]}

    def rate(self, seconds, batch):
        batches = [numpy.ascontiguousarray(self.ids[i:i + batch])
                   for i in range(0, len(self.ids), batch)]
        self.embed(batches[0])
        done = 0
        begin = time.perf_counter()
        while (took := time.perf_counter() - begin) < seconds:
            done += len(self.embed(batches[done // batch % len(batches)]))
        return {"rate": done / took}

    def reference(self, path):
        items = json.loads(Path(path).read_text(encoding="utf-8"))["items"]
        cosines = []
        for item in items:
            wanted = numpy.array(item["embedding"])
            got = self.embed(numpy.array([item["ids"]], numpy.int32))[0]
            cosines.append(got @ wanted / numpy.linalg.norm(got) / numpy.linalg.norm(wanted))
        return {"cosine": float(min(cosines))}


def main():
    model, folder, threads = sys.argv[1:]
    embedder = Embedder(model, folder, int(threads))
    calls = {"make": embedder.make, "texts": embedder.texts, "vectors": embedder.vectors,
             "seconds": embedder.rate, "reference": embedder.reference}
    print(json.dumps({"version": onnxruntime.__version__}), flush=True)
    for line in sys.stdin:
        arguments = list(json.loads(line).items())  # the first names the call
        answer = calls[arguments[0][0]](*[value for _, value in arguments])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
