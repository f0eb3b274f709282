"""The peer of bench/serve.py: embeddings over HTTP, as a team writes such a server and tunes it.

    embed_server.py SOCKET GRAPH.onnx MODEL_FOLDER THREADS [--no-batching] [--spin]

uvicorn (uvloop, httptools, no access log) and FastAPI, without pydantic models on the way; orjson;
the tokenizers library; ONNX Runtime with the fully fused fp32 graph of bert_onnx.py. One process:
two workers are two of these, each with its own socket, and callers are dealt out evenly.

POST /embed {"text": "..."} -> {"embedding": [...]}

Batching: what waits while a batch computes becomes the next one. The oldest text goes always, with
those whose lengths are like its own, so that little is computed for padding.
"""

import argparse
import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from tokenizers import Tokenizer

BATCH_TEXTS_MAX = 32
PADDING_MAX = 1.25  # times the shortest text's tokens


class Embedder:
    def __init__(self, graph, folder, threads, spin):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        self.session = onnxruntime.InferenceSession(graph, options,
                                                    providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(256)  # as sentence-transformers has this model

    def ids(self, text):
        return self.tokenizer.encode(text).ids

    def run(self, texts):
        """Vectors [texts, width] of lists of ids."""
        longest = max(map(len, texts))
        ids = numpy.zeros((len(texts), longest), numpy.int32)
        mask = numpy.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, :len(text)] = text
            mask[row, :len(text)] = 1
        return self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


class Batcher:
    """For one event loop: embed() waits for a batch with its text."""

    def __init__(self, embedder):
        self.embedder = embedder
        self.waiting = []  # (ids, future), oldest first
        self.arrived = asyncio.Event()
        self.device = ThreadPoolExecutor(1)

    async def embed(self, ids):
        future = asyncio.get_running_loop().create_future()
        self.waiting.append((ids, future))
        self.arrived.set()
        return await future

    def take(self):
        length = len(self.waiting[0][0])
        chosen, rest = [], []
        for one in self.waiting:
            like = max(length, len(one[0])) <= PADDING_MAX * min(length, len(one[0]))
            (chosen if like and len(chosen) < BATCH_TEXTS_MAX else rest).append(one)
        self.waiting = rest
        return chosen

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            await self.arrived.wait()
            self.arrived.clear()
            while self.waiting:
                batch = self.take()
                try:
                    vectors = await loop.run_in_executor(
                        self.device, self.embedder.run, [ids for ids, _ in batch])
                    for vector, (_, future) in zip(vectors, batch):
                        if not future.done():
                            future.set_result(vector)
                except Exception as error:  # each request answers for itself
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)


class Alone:
    """Without batching: each text by itself, as many at a time as there are threads."""

    def __init__(self, embedder, threads):
        self.embedder = embedder
        self.device = ThreadPoolExecutor(threads)

    async def embed(self, ids):
        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self.device, self.embedder.run, [ids]))[0]

    async def run(self):
        """There is nothing to do in between."""


def application(embedder, embeds):
    @asynccontextmanager
    async def life(_):
        task = asyncio.create_task(embeds.run())
        yield
        task.cancel()

    app = FastAPI(openapi_url=None, lifespan=life)

    @app.post("/embed")
    async def embed(request: Request):
        text = orjson.loads(await request.body())["text"]
        vector = await embeds.embed(embedder.ids(text))
        return Response(orjson.dumps({"embedding": vector}, option=orjson.OPT_SERIALIZE_NUMPY),
                        media_type="application/json")

    return app


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("graph")
    parser.add_argument("folder")
    parser.add_argument("threads", type=int)
    parser.add_argument("--no-batching", action="store_true")
    parser.add_argument("--spin", action="store_true")
    options = parser.parse_args()
    # Alone, several texts compute at the same time, on one thread each.
    embedder = Embedder(options.graph, options.folder,
                        1 if options.no_batching else options.threads, options.spin)
    embeds = Alone(embedder, options.threads) if options.no_batching else Batcher(embedder)
    uvicorn.run(application(embedder, embeds), uds=options.socket, loop="uvloop", http="httptools",
                log_level="warning", access_log=False, backlog=2048, timeout_keep_alive=3600)


if __name__ == "__main__":
    main()
