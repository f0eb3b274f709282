"""Who may include whom: one row per module, lowest first. A change to the architecture edits this.

A module is a folder, or the files of one name in a folder ("sidecar/intake" is intake.h, intake.cc
and intake/). A file belongs to the longest module name that fits. A module may include its own
headers, and the public headers of the modules in its `uses`.
"""

from typing import NamedTuple

EVERY_HEADER = ("*",)


class Module(NamedTuple):
    name: str
    public: tuple  # headers that others may include
    uses: tuple  # names of modules; each must stand above its user in MODULES


BASE = ("sidecar/base",)
STAGE = (*BASE, "sidecar/metrics", "shm", "kernels", "sidecar/tokenizer", "sidecar/model", "sidecar/config", "sidecar")

MODULES = (
    # Knows nothing of ours.
    Module("sidecar/base", EVERY_HEADER, ()),
    # One layer up: each knows the base only, so each could be a library of its own.
    Module("shm",
           ("shm/shm.h", "shm/client.h", "shm/nacelle.h", "shm/connection.h", "shm/handshake.h",
            "shm/layout.h", "shm/wait.h", "shm/region.h", "shm/cache_key.h", "shm/cache_layout.h",
            "shm/cache_reader.h", "shm/cache_clock.h", "shm/cache_copy.h"),
           BASE),
    Module("kernels", ("kernels/kernels.h", "kernels/element.h"), BASE),
    Module("sidecar/files", EVERY_HEADER, BASE),
    Module("sidecar/metrics", EVERY_HEADER, BASE),
    Module("sidecar/config", ("sidecar/config.h",), BASE),
    Module("sidecar/cache", ("sidecar/cache/cache.h", "sidecar/cache/journal.h", "sidecar/cache/expiry.h"),
           (*BASE, "shm")),
    Module("sidecar/store", ("sidecar/store/store.h",), (*BASE, "sidecar/files")),
    # What understands models.
    Module("sidecar/tokenizer", ("sidecar/tokenizer/tokenizer.h",), (*BASE, "sidecar/files")),
    Module("sidecar/model", ("sidecar/model/model.h",),
           (*BASE, "kernels", "sidecar/files", "sidecar/store", "sidecar/tokenizer")),
    Module("sidecar/quantize",
           ("sidecar/quantize/compare.h", "sidecar/quantize/convert.h", "sidecar/quantize/gate.h",
            "sidecar/quantize/report.h", "sidecar/quantize/scheme.h"),
           (*BASE, "kernels", "sidecar/files", "sidecar/store", "sidecar/tokenizer",
            "sidecar/model")),
    # The operator's side.
    Module("sidecar/control",
           ("sidecar/control/api.h", "sidecar/control/http.h", "sidecar/control/server.h",
            "sidecar/control/statistics.h", "sidecar/control/verbs.h"),
           (*BASE, "sidecar/files", "sidecar/config")),
    # The top of sidecar/: the nouns that move between the stages, and what the stages share.
    Module("sidecar", EVERY_HEADER,
           (*BASE, "shm", "kernels", "sidecar/files", "sidecar/metrics", "sidecar/config",
            "sidecar/store", "sidecar/tokenizer", "sidecar/model", "sidecar/quantize")),
    # The stages do not know each other, with two arrows, forwards: what intake refuses or answers by
    # itself goes straight to the replier, and streams end there.
    Module("sidecar/replier", ("sidecar/replier.h",), STAGE),
    Module("sidecar/executor", ("sidecar/executor.h",), STAGE),
    Module("sidecar/schedule", EVERY_HEADER, STAGE),  # the scheduler's parts, each on its own
    Module("sidecar/scheduler", ("sidecar/scheduler.h",), (*STAGE, "sidecar/schedule")),
    Module("sidecar/streamer", ("sidecar/streamer.h",), (*STAGE, "sidecar/replier")),
    # Not a stage: a stand-in for clients that cannot share memory, on their side of the regions.
    Module("sidecar/relay", ("sidecar/relay.h",), (*BASE, "shm")),
    Module("sidecar/intake", ("sidecar/intake.h",), (*STAGE, "sidecar/replier", "sidecar/relay")),
    # The one place that names them all.
    Module("sidecar/pipeline", ("sidecar/pipeline.h",),
           (*STAGE, "sidecar/store", "sidecar/control", "sidecar/intake", "sidecar/scheduler",
            "sidecar/executor", "sidecar/replier", "sidecar/streamer")),
    # Not a stage either: writes the page that nacellectl top reads.
    Module("sidecar/statistics", ("sidecar/statistics.h",), (*BASE, "sidecar/control")),
    Module("sidecar/main", (),
           (*BASE, "kernels", "sidecar", "sidecar/statistics", "sidecar/config", "sidecar/store", "sidecar/control",
            "sidecar/pipeline")),
    Module("ctl", (), (*BASE, "kernels", "sidecar/control", "sidecar/store", "sidecar/quantize")),
)

# Files of a module that do not carry its name.
PART_OF = {
    "sidecar/pipeline_metrics": "sidecar/pipeline",     # what the pipeline tells of itself,
    "sidecar/pipeline_statistics": "sidecar/pipeline",  # and on the page in shared memory
    "sidecar/reception": "sidecar/intake",  # how intake meets clients,
    "sidecar/texts": "sidecar/intake",      # how it takes requests about texts:
    "sidecar/asked": "sidecar/intake",      # what they ask for,
    "sidecar/windows": "sidecar/intake",    # and their texts as tokens
    "sidecar/rows": "sidecar/executor",     # from the model's numbers to a reply's rows
    "sidecar/choice": "sidecar/scheduler",  # which batch it makes
}

# Of a module's public headers, this one may see these only.
NARROWED = {
    ("ctl", "sidecar/control"): ("sidecar/control/api.h", "sidecar/control/statistics.h"),
}

# Tests and benchmarks look inside: they may include every header. Examples include what is installed.
UNRESTRICTED = ("tests", "bench", "docs")

# The only folder that may include the CUDA toolkit's headers.
CUDA_FOLDER = "kernels/cuda"

# What the client library may link to and what it may export.
LIBRARY_NEEDS = ("libc.so.6", "libm.so.6", "libgcc_s.so.1", "libstdc++.so.6", "libcrypto.so.3",
                 "ld-linux-x86-64.so.2")
LIBRARY_EXPORTS = "nacelle_"

# tests/FOLDER mirrors this folder; where nothing is said, sidecar/FOLDER or FOLDER.
MIRRORED = {"sidecar": "sidecar"}
# Tests of behaviour that belongs to no single source file.
MIRROR_FREE_FOLDERS = ("conformance", "crash", "demo", "e2e", "explorer", "fuzz", "golden", "hostile",
                       "model", "sim", "support", "tree")
MIRROR_FREE_TESTS = (
    "tests/sidecar/cache/journal_damage_test.cc",  # the whole journal: bytes that are changed,
    "tests/sidecar/cache/journal_faults_test.cc",  # calls that fail,
    "tests/sidecar/cache/journal_power_cut_test.cc",  # and power that goes
    "tests/shm/one_mapping_test.cc",  # both ends at once, for the thread sanitizer
    "tests/sidecar/cache/model_test.cc",  # the whole table against a map,
    "tests/sidecar/cache/threads_test.cc",  # with readers in threads,
    "tests/sidecar/cache/hit_rate_test.cc",  # and on traces, beside LRU
    "tests/kernels/amx_emulator_test.cc",  # a stand-in for instructions, for the tests alone
    "tests/kernels/attention_bf16_test.cc",  # attention.h, like attention_test.cc
    "tests/kernels/conformance_test.cc",  # every backend against the reference
    "tests/kernels/invariance_test.cc",  # every backend against itself
    "tests/tokenizer/bad_files_test.cc",  # whole tokenizers: hostile files,
    "tests/tokenizer/encode_test.cc",  # what every encoding must keep to,
    "tests/tokenizer/goldens_test.cc",  # recorded ids of a small vocabulary,
    "tests/tokenizer/reference_test.cc",  # and of the real ones
    "tests/tokenizer/families_test.cc",  # recorded ids of each family,
    "tests/tokenizer/hostile_test.cc",  # its hostile files and texts,
    "tests/tokenizer/loading_test.cc",  # the memory that loading them takes,
    "tests/tokenizer/steps_test.cc",  # the steps that texts take,
    "tests/tokenizer/pairs_test.cc",  # two texts in one sequence,
    "tests/tokenizer/patterns_test.cc",  # and expressions by hand and by the library
)

# In lines. Over the first is told, over the second is refused.
FILE_LINES_NOTED = 400
FILE_LINES_MAX = 600
