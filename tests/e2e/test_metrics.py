"""nacellectl metrics, read as strictly as the format allows, while a sidecar serves."""

import os
import re

import nacelle
import pytest

SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)\Z')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|\Z)')
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def labels_of(text):
    labels, at = {}, 0
    while at < len(text or ""):
        match = LABEL.match(text, at)
        assert match, f"no label at byte {at} of {text!r}"
        name, value, comma = match.groups()
        assert name not in labels, f"{name} twice in {text!r}"
        assert not comma or match.end() < len(text), f"a comma ends {text!r}"
        unescape = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
        labels[name] = re.sub(r'\\["\\n]', lambda m: unescape[m.group()], value)
        at = match.end()
    return labels


class Page:
    """Families by name; `series` has (sample's name, its labels) -> value."""

    def __init__(self, text):
        assert text.endswith("\n") and not text.endswith("\n\n")
        self.types, self.series = {}, {}
        family = None
        lines = text.split("\n")[:-1]
        for number, line in enumerate(lines):
            if line.startswith("# HELP "):
                family = line.split(" ")[2]
                assert family not in self.types, f"{family} comes twice"
                assert line.split(" ", 3)[3], "help says something"
                kind = lines[number + 1].split(" ")
                assert kind[:3] == ["#", "TYPE", family] and kind[3] in SUFFIXES
                self.types[family] = kind[3]
            elif not line.startswith("# TYPE "):
                match = SAMPLE.match(line)
                assert match, f"line {number}: {line!r}"
                name, labels, value = match.groups()
                suffixes = SUFFIXES[self.types[family]]
                assert name in [family + s for s in suffixes], f"{name} under {family}"
                key = (name, frozenset(labels_of(labels).items()))
                assert key not in self.series, f"line {number} is there twice: {line}"
                self.series[key] = float(value)
        for family, kind in self.types.items():
            if kind == "counter":
                assert family.endswith("_total"), family
            if kind == "histogram":
                self.check_histogram(family)

    def check_histogram(self, family):
        rows = {}
        for (name, labels), value in self.series.items():
            if name == family + "_bucket":
                labels = dict(labels)
                bound = float(labels.pop("le"))
                rows.setdefault(frozenset(labels.items()), []).append((bound, value))
        assert rows, family
        for labels, buckets in rows.items():
            bounds, counts = zip(*buckets)
            assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float("inf")
            assert list(counts) == sorted(counts), f"{family} is not cumulative"
            assert counts[-1] == self.series[(family + "_count", labels)]
            assert (family + "_sum", labels) in self.series

    def get(self, name, **labels):
        return self.series[(name, frozenset(labels.items()))]

    def sum(self, name, **labels):
        wanted = labels.items()
        series = self.series.items()
        return sum(v for (n, at), v in series if n == name and wanted <= dict(at).items())


def page_of(nacelled):
    done = nacelled.ctl("metrics")
    assert done.returncode == 0, done.stderr
    return Page(done.stdout)


MODEL = {"service": "sentiment", "model": "nsmc-bert-ko"}


def test_a_served_request_is_on_the_page(nacelled):
    nacelled.start()
    before = page_of(nacelled)
    assert before.get("nacelle_requests_total", **MODEL) == 0
    with nacelle.connect(str(nacelled.socket), name="a-test") as engine:
        for _ in range(20):
            engine.classify("sentiment", ["하나", "둘", "셋"])
        page = page_of(nacelled)
    assert page.get("nacelle_texts_total", **MODEL) == 60
    assert page.get("nacelle_serving") == 1
    assert page.get("nacelle_clients") == 1
    assert page.get("nacelle_client_requests_total", client="a-test", uid=str(os.getuid())) >= 20
    assert page.sum("nacelle_rescued_by_timeout_total") == 0
    # A stage is recorded right after the reply is published: the last may be missing.
    assert page.sum("nacelle_request_seconds_count", **MODEL) in (19, 20)
    stages = page.sum("nacelle_stage_seconds_sum", **MODEL)
    total = page.get("nacelle_request_seconds_sum", **MODEL)
    assert 0 < total < 60
    busy = page.get("nacelle_device_busy_seconds_total")
    charged = page.sum("nacelle_client_compute_seconds_total")
    assert abs(charged - busy) <= 0.05 * busy
    page = page_of(nacelled)  # nobody is there any more: everything is counted
    stages = page.sum("nacelle_stage_seconds_sum", **MODEL)
    total = page.get("nacelle_request_seconds_sum", **MODEL)
    assert stages >= 0.95 * total
    assert page.types.keys() == before.types.keys()


NAMES = ['quote " here', "back\\slash", "한글 🚀", "line\nfeed", "\u202egnirts"]


@pytest.mark.parametrize("name", NAMES)
def test_a_clients_name_may_be_anything(nacelled, name):
    nacelled.start()
    with nacelle.connect(str(nacelled.socket), name=name) as engine:
        engine.classify("sentiment", ["하나"])
        page = page_of(nacelled)
    clients = {dict(labels)["client"] for sample, labels in page.series if "_client_req" in sample}
    assert len(clients) == 2 and "(others)" in clients


def test_the_sidecar_documents_its_metrics(nacelled):
    printed = nacelled.run("--print-metrics-markdown").stdout
    nacelled.start()
    for family in page_of(nacelled).types:
        assert f"| `{family}` |" in printed
