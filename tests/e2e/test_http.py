"""/metrics, /healthz and /readyz of a real sidecar."""

import http.client
import re
import subprocess

import nacelle
import pytest
from test_metrics import MODEL, Page


def started(nacelled, more=""):
    """The port that the system chose, as the log tells it."""
    nacelled.process = subprocess.Popen(
        [nacelled.program, f"--config={nacelled.config(more=more)}"],
        env=nacelled.environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    port = None
    for line in nacelled.process.stderr:
        found = re.search(r"metrics over HTTP.* port=(\d+)", line)
        port = int(found.group(1)) if found else port
        if " info serving " in line:
            return port
    raise AssertionError("nacelled left before it served")


def fetch(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read().decode(), response.headers


def test_the_pages_of_a_sidecar(nacelled):
    port = started(nacelled, "metrics: {listen: '127.0.0.1:0'}\n")
    with nacelle.connect(str(nacelled.socket)) as engine:
        engine.classify("sentiment", ["하나"])
    status, text, headers = fetch(port, "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert Page(text).get("nacelle_texts_total", **MODEL) == 1
    assert fetch(port, "/healthz")[:2] == (200, "ok\n")
    assert fetch(port, "/readyz")[:2] == (200, "ready\n")
    assert fetch(port, "/metrics", "HEAD")[:2] == (200, "")
    assert fetch(port, "/", "GET")[0] == 404
    assert fetch(port, "/metrics", "POST")[0] == 405
    assert nacelled.stop() == 0


def test_it_is_off_by_default(nacelled):
    assert started(nacelled) is None


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_other_machines_only_when_the_operator_says_so(nacelled, listen):
    path = nacelled.config(more=f"metrics: {{listen: '{listen}'}}\n")
    refused = nacelled.run(f"--config={path}")
    assert refused.returncode == 2
    assert "metrics.listen" in refused.stderr and "metrics.reach" in refused.stderr
