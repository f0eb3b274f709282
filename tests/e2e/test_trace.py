"""nacellectl trace: the last requests of a real sidecar as trace events."""

import json

import nacelle

STAGES = ["tokenize", "batch_wait", "compute", "copy", "reply"]


def test_a_trace_is_a_picture_of_the_last_requests(nacelled, tmp_path):
    nacelled.start()
    with nacelle.connect(str(nacelled.socket), name="a-test") as engine:
        for _ in range(30):
            engine.classify("sentiment", ["secret text", "둘"])
        path = tmp_path / "trace.json"
        done = nacelled.ctl("trace", str(path), "--last", "20")
    assert done.returncode == 0, done.stderr
    text = path.read_text(encoding="utf-8")
    assert "secret" not in text
    events = json.loads(text)["traceEvents"]
    requests = [e["args"] for e in events if "total_ns" in e.get("args", {})]
    assert len(requests) == 20
    for one in requests:
        total = sum(one[f"{stage}_ns"] for stage in STAGES)
        assert 0.95 * one["total_ns"] <= total <= one["total_ns"]
        assert one["texts"] == 2 and one["outcome"] == "ok"
    for event in events:
        assert {"name", "ph", "pid", "tid", "ts"} <= event.keys()
        assert event["ph"] in "XMbestf"
        assert event["ph"] != "X" or event["dur"] >= 0
    arrows = {e["id"] for e in events if e["ph"] == "t"}
    assert arrows == {one["request"] for one in requests}
