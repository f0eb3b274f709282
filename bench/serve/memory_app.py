"""An application process whose memory bench/serve.py measures.

    memory_app.py nacelle SOCKET SERVICE
    memory_app.py onnxruntime GRAPH.onnx MODEL_FOLDER

Imports what it needs, says "ok", and at the first line that it reads embeds a text, by asking the
sidecar or with a model of its own; at every further line again.
"""

import sys

TEXT = "How much memory does this process need to embed a sentence of ordinary length?"


def with_nacelle(socket, service):
    import nacelle

    def embed():
        nonlocal engine
        engine = engine or nacelle.connect(socket, name="memory")
        return engine.embed(service, TEXT)

    engine = None
    return embed


def with_onnxruntime(graph, folder):
    import numpy
    import onnxruntime
    from tokenizers import Tokenizer

    def embed():
        nonlocal session, tokenizer
        if session is None:
            tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
            tokenizer.no_padding()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(graph, options,
                                                   providers=["CPUExecutionProvider"])
        ids = numpy.array([tokenizer.encode(TEXT).ids], numpy.int32)
        return session.run(None, {"input_ids": ids, "attention_mask": numpy.ones_like(ids)})[0][0]

    session = tokenizer = None
    return embed


def main():
    ways = {"nacelle": with_nacelle, "onnxruntime": with_onnxruntime}
    embed = ways[sys.argv[1]](*sys.argv[2:])
    print("ok", flush=True)
    for _ in sys.stdin:
        print(f"ok {len(embed())}", flush=True)


if __name__ == "__main__":
    main()
