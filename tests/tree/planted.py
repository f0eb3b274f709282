"""Violations on purpose: a rule that cannot fail is worth nothing.

GOOD is a small tree that breaks no rule. Each Plant changes it so that one rule must speak, with a
line that contains `expect`.
"""

import subprocess
from typing import NamedTuple

GOOD = {
    "run": "#!/bin/bash\n# One script.\ncat <<'EOF'\n./run demo   show it\n./run test   test it\nEOF\n",
    "README.md": "# Good\n\nTry `./run demo` and `./run test`. See [docs](docs/A.md#top).\n",
    "docs/A.md": "# A\n\n[back](../README.md), [far](https://example.org)\n",
    "CMakeLists.txt": "add_subdirectory(sidecar/base)\n",
    "sidecar/base/CMakeLists.txt": "nacelle_library(nacelle_base check.cc)\n",
    "sidecar/base/check.h": "// Checks.\n#pragma once\n",
    "sidecar/base/check.cc": '// Checks.\n#include "sidecar/base/check.h"\n',
    "shm/CMakeLists.txt": "nacelle_library(nacelle_shm ring.cc)\n",
    "shm/shm.h": '// The tour.\n#pragma once\n#include "shm/ring.h"\n',
    "shm/ring.h": '// A ring.\n#pragma once\n#include "sidecar/base/check.h"\n',
    "shm/ring.cc": '#include "shm/ring.h"\n\n#include <vector>\n',
    "sidecar/control/api.h": "// Names.\n#pragma once\n",
    "sidecar/control/server.h": "// A server.\n#pragma once\n",
    "sidecar/CMakeLists.txt": "nacelle_program(nacelled intake.cc control/server.cc)\n",
    "sidecar/intake.h": "// A stage.\n#pragma once\n",
    "sidecar/intake.cc": '// A stage.\n#include "shm/shm.h"\n#include "sidecar/intake.h"\n',
    "sidecar/control/server.cc": "// A server.\n"
                                 '#include "sidecar/control/api.h"\n'
                                 '#include "sidecar/control/server.h"\n',
    "tests/CMakeLists.txt": "nacelle_test(shm_test SOURCES shm/ring_test.cc)\n",
    "tests/shm/ring_test.cc": '// The ring.\n#include "shm/ring.h"\n',
    "tests/shm/test_ring.py": '"""The ring, from Python."""\n',
}


class Plant(NamedTuple):
    what: str
    files: dict  # path -> text; None removes the file
    expect: str


def source(*includes):
    """A file that is fine but for what it includes."""
    return "// Something.\n#pragma once\n" + "".join(f"#include {name}\n" for name in includes)


PLANTS = {
    "layering": [
        Plant("an arrow upwards", {"sidecar/base/bad.h": source('"shm/shm.h"')},
              "sidecar/base must not know shm"),
        Plant("shm knows the sidecar", {"shm/bad.h": source('"sidecar/control/api.h"')},
              "shm must not know sidecar/control"),
        Plant("a private header", {"sidecar/replier.h": source('"shm/ring.h"')},
              "private to shm"),
        Plant("a stage knows another", {"sidecar/replier.h": source('"sidecar/intake.h"')},
              "sidecar/replier must not know sidecar/intake"),
        Plant("ctl sees the server", {"ctl/bad.h": source('"sidecar/control/server.h"')},
              "private to sidecar/control"),
        Plant("a product file knows a test",
              {"shm/bad.h": source('"tests/fake.h"'), "tests/fake.h": source()},
              "shm must not know tests/fake.h"),
        Plant("a folder nobody placed", {"extras/bad.h": source()}, "belongs to no module"),
    ],
    "includes_resolve": [
        Plant("spelled from its own folder", {"shm/bad.h": source('"ring.h"')}, '"ring.h"'),
    ],
    "include_cycles": [
        Plant("two headers include each other",
              {"shm/a.h": source('"shm/b.h"'), "shm/b.h": source('"shm/a.h"')},
              "shm/a.h -> shm/b.h -> shm/a.h"),
    ],
    "cuda_headers": [
        Plant("the runtime in a model", {"sidecar/model/bad.h": source("<cuda_runtime.h>")},
              "cuda_runtime.h"),
    ],
    "forbidden_headers": [
        Plant(name, {"shm/bad.h": source(f"<{name}>")}, f"<{name}>")
        for name in ("ranges", "source_location", "expected", "format")
    ],
    "pragma_once": [
        Plant("no guard", {"shm/bad.h": "// A header.\nint f();\n"}, "shm/bad.h"),
        Plant("a guard in C++", {"shm/bad.h": "// H.\n#ifndef A\n#define A\n#endif\n"}, "shm/bad.h"),
    ],
    "dead_sources": [
        Plant("a source in no list", {"shm/dead.cc": source()}, "shm/dead.cc"),
        Plant("its name is part of another", {"shm/ing.cc": source()}, "shm/ing.cc"),
    ],
    "dead_headers": [
        Plant("a header that nobody includes", {"shm/dead.h": source()}, "shm/dead.h"),
    ],
    "opening_comment": [
        Plant("C++", {"shm/bad.h": "#pragma once\n"}, "shm/bad.h"),
        Plant("another file's header", {"shm/bad.cc": '#include "shm/ring.h"\n'}, "shm/bad.cc"),
        Plant("Python", {"tests/bad.py": "import os\n"}, "tests/bad.py"),
        Plant("a shell script", {"bench/bad.sh": "#!/bin/bash\nset -e\n"}, "bench/bad.sh"),
        Plant("run", {"run": "#!/bin/bash\nset -e\n"}, "run:"),
    ],
    "file_size": [
        Plant("601 lines", {"shm/bad.h": "// Long.\n" * 601}, "601 lines"),
    ],
    "test_mirrors": [
        Plant("a test of nothing", {"tests/shm/gone_test.cc": source()}, "gone_test.cc"),
        Plant("its source is in another folder", {"tests/shm/check_test.cc": source()},
              "check_test.cc"),
    ],
    "machine_paths": [
        Plant("somebody's folder", {"docs/A.md": "see /" + "home/ann/x\n"}, "home/ann"),
        Plant("a fixed temporary name", {"shm/bad.h": '// "/' + 'tmp/socket"\n'}, "mkdtemp"),
    ],
    "clean_text": [
        Plant("a merge", {"docs/A.md": "<<<<<<" + "< HEAD\n"}, "merge"),
        Plant("DOS line ends", {"shm/bad.h": "// A.\r\n"}, "carriage returns"),
        Plant("no line end", {"shm/bad.h": "// A."}, "line end"),
        Plant("blanks", {"shm/bad.h": "// A. \n"}, "blanks"),
    ],
    "readme_commands": [
        Plant("a command is not told", {"README.md": "# R\n\n./run demo\n"}, "./run test"),
        Plant("a help without commands", {"run": "#!/bin/bash\n# None.\n"}, "names no command"),
        Plant("no README", {"README.md": None}, "missing"),
    ],
    "doc_links": [
        Plant("a link to nothing", {"docs/A.md": "[x](B.md)\n"}, "B.md"),
    ],
    "library": [
        Plant("another name",
              {"lib.cc": 'extern "C" int nacelle_f() { return 1; } int other() { return 2; }\n'},
              "exports _Z5otherv"),
        Plant("nothing exported", {"lib.cc": "static int f() { return 1; }\nstatic int g = f();\n"},
              "exports nothing"),
        Plant("another library", {"extra.cc": "int extra() { return 1; }\n"}, "needs libextra.so"),
    ],
}


def make(root, name, plant):
    """Writes GOOD with the plant into `root`; for the rule `library`, builds one in root/build."""
    files = GOOD | (plant.files if plant else {})
    if name == "library":
        files = {"lib.cc": 'extern "C" int nacelle_f() { return 1; }\n'} | files
    for path, text in files.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode())
    if name != "library":
        return
    folder = root / "build/lib"
    folder.mkdir(parents=True)
    shared = ["g++", "-shared", "-fPIC", "-Wl,--no-as-needed", f"-L{folder}"]
    extra = []
    if "extra.cc" in files:
        subprocess.run([*shared, "-o", folder / "libextra.so", root / "extra.cc"], check=True)
        extra = ["-lextra"]
    subprocess.run([*shared, "-o", folder / "libnacelle.so", root / "lib.cc", *extra], check=True)
