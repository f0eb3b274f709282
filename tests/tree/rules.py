"""The rules of the tree. Each takes a Tree and returns a line per violation; None means skipped.

A rule reads text, not syntax: it is meant to be simple enough to trust. What it must catch is in
planted.py.
"""

import functools
import json
import re
import subprocess
from pathlib import Path

import layers

CODE = (".cc", ".h", ".cu", ".cuh")
SCRIPTS = (".py", ".sh")
SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules", "venv"}
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
RULES = {}


def rule(check):
    RULES[check.__name__] = check
    return check


class Tree:
    """The source tree as it lies on disk: paths relative to its root, with their text."""

    def __init__(self, root, build):
        self.root = root
        self.build = build  # a CMake build folder, which need not exist
        self.notes = []
        self.why_skipped = ""
        self.files = sorted(self._walk(root))
        self.code = [path for path in self.files if path.endswith(CODE)]

    def _walk(self, folder):
        for entry in folder.iterdir():
            hidden = entry.name.startswith(".") and entry.name != ".ci"
            if entry.is_dir() and not entry.is_symlink():
                if not hidden and entry.name not in SKIPPED_FOLDERS and entry.suffix != ".egg-info":
                    yield from self._walk(entry)
            elif entry.is_file() and entry.name != ".git":  # a file in a worktree
                yield entry.relative_to(self.root).as_posix()

    @functools.lru_cache(maxsize=None)
    def text(self, path):
        """The file's text; bytes that are not UTF-8 show as U+FFFD."""
        return (self.root / path).read_bytes().decode("utf-8", errors="replace")

    @functools.lru_cache(maxsize=None)
    def includes(self, path):
        """[(line, name, whether it is in quotes)]"""
        text = self.text(path)
        return [(text.count("\n", 0, match.start()) + 1, match[1] or match[2], bool(match[1]))
                for match in INCLUDE.finditer(text)]

    def ours(self, path):
        """[(line, path)] of the included files that exist in this tree."""
        known = set(self.files)
        return [(line, name) for line, name, quoted in self.includes(path)
                if quoted and name in known]


def module_of(path):
    """The row of layers.MODULES that a file belongs to, or None."""
    stem = path.rsplit(".", 1)[0]
    stem = layers.PART_OF.get(stem, stem)
    fitting = [module for module in layers.MODULES
               if stem == module.name or path.startswith(module.name + "/")]
    return max(fitting, key=lambda module: len(module.name), default=None)


@rule
def layering(tree):
    broken = []
    seen = set()
    for module in layers.MODULES:  # the table itself points one way
        broken += [f"layers.py: {module.name} uses {used}, which does not stand above it"
                   for used in module.uses if used not in seen]
        seen.add(module.name)
    for path in tree.code:
        if path.split("/")[0] in layers.UNRESTRICTED:
            continue
        user = module_of(path)
        if user is None:
            broken.append(f"{path}: belongs to no module of tests/tree/layers.py")
            continue
        for line, name in tree.ours(path):
            used = module_of(name)
            where = f"{path}:{line}: includes {name}"
            if used is user:
                continue
            if used is None or used.name not in user.uses:
                broken.append(f"{where}: {user.name} must not know {used.name if used else name}")
                continue
            public = layers.NARROWED.get((user.name, used.name), used.public)
            if public != layers.EVERY_HEADER and name not in public:
                broken.append(f"{where}: it is private to {used.name}; use {', '.join(public)}")
    return broken


@rule
def includes_resolve(tree):
    """An include in quotes is spelled from the root, so that it can be searched for."""
    known = set(tree.files)
    return [f'{path}:{line}: "{name}" does not exist (write it from the root of the tree)'
            for path in tree.code for line, name, quoted in tree.includes(path)
            if quoted and name not in known]


@rule
def include_cycles(tree):
    broken = []
    done, open_path = set(), []

    def visit(path):
        if path in open_path:
            broken.append(" -> ".join([*open_path[open_path.index(path):], path]))
        elif path not in done:
            open_path.append(path)
            for _, name in tree.ours(path):
                visit(name)
            open_path.pop()
            done.add(path)

    for path in tree.code:
        visit(path)
    return broken


@rule
def cuda_headers(tree):
    cuda = re.compile(r"^(cuda|cublas|cudnn|curand|cusparse|nvml|nvrtc|nvtx|cub/|thrust/|cute/|"
                      r"cutlass/|mma\.h|cooperative_groups|device_launch|sm_\d)")
    return [f"{path}:{line}: includes {name}, which only {layers.CUDA_FOLDER}/ may"
            for path in tree.code if not path.startswith(layers.CUDA_FOLDER + "/")
            for line, name, _ in tree.includes(path) if cuda.match(name)]


@rule
def forbidden_headers(tree):
    reasons = {
        "ranges": "clang 14's tools cannot read libstdc++ 12's views",
        "source_location": "clang 14's tools cannot read it; use __builtin_FILE and __builtin_LINE",
        "expected": "g++ 12 has none; use base::Result",
        "format": "g++ 12 has none",
    }
    return [f"{path}:{line}: <{name}>: {reasons[name]}"
            for path in tree.code for line, name, quoted in tree.includes(path)
            if not quoted and name in reasons]


@rule
def pragma_once(tree):
    """nacelle.h is C, where a guard is the custom."""
    return [f"{path}: neither #pragma once nor an include guard"
            for path in tree.code if path.endswith((".h", ".cuh"))
            if not re.search(r"^#pragma once$", tree.text(path), re.MULTILINE)
            and not ('extern "C"' in tree.text(path)
                     and re.search(r"^#ifndef (\w+)\n#define \1$", tree.text(path), re.MULTILINE))]


@rule
def dead_sources(tree):
    """Every source is compiled, or named in a CMakeLists.txt or .cmake file at or above it."""
    commands = tree.build / "compile_commands.json"
    compiled = {entry["file"] for entry in json.loads(commands.read_text())} \
        if commands.exists() else set()
    lists = [Path(path) for path in tree.files if path.endswith((".cmake", "CMakeLists.txt"))]
    broken = []
    for path in tree.code:
        if not path.endswith((".cc", ".cu")) or str(tree.root / path) in compiled:
            continue
        named = any(
            re.search(rf"(?<![\w./-]){re.escape(Path(path).relative_to(cmake.parent).as_posix())}"
                      r"(?![\w./-])", tree.text(cmake.as_posix()))
            for cmake in lists if cmake.parent in Path(path).parents)
        if not named:
            broken.append(f"{path}: no CMakeLists.txt builds it")
    return broken


@rule
def dead_headers(tree):
    included = {name for path in tree.code for _, name in tree.ours(path)}
    return [f"{path}: nothing includes it" for path in tree.code
            if path.endswith((".h", ".cuh")) and path not in included]


@rule
def opening_comment(tree):
    """A file begins by saying what it is. A source whose first line includes the header of the same
    name has that header's comment."""
    comment = re.compile(r"(//|/\*)\W{0,4}\w")
    python = re.compile(r'(#!.*\n)?("""|#)\W{0,4}\w')
    script = re.compile(r"#!.*\n#\W{0,4}\w")
    broken = []
    for path in tree.files:
        text = tree.text(path)
        if path.endswith(CODE):
            own_header = f'#include "{path.rsplit(".", 1)[0]}.h"\n'
            said = comment.match(text) or (path.endswith(".cc") and text.startswith(own_header))
        elif path.endswith(".py"):
            said = python.match(text)
        elif path.endswith(".sh") or Path(path).name == "run":
            said = script.match(text)
        else:
            continue
        if not said:
            broken.append(f"{path}: does not begin with a comment that says what it is")
    return broken


@rule
def file_size(tree):
    broken = []
    for path in tree.files:
        if not path.endswith((*CODE, *SCRIPTS)) and Path(path).name != "run":
            continue
        lines = tree.text(path).count("\n")
        if lines > layers.FILE_LINES_MAX:
            broken.append(f"{path}: {lines} lines, over {layers.FILE_LINES_MAX}: more than one idea")
        elif lines > layers.FILE_LINES_NOTED:
            tree.notes.append(f"{path}: {lines} lines")
    return broken


@rule
def test_mirrors(tree):
    """tests/shm/ring_test.cc tests shm/ring.h or shm/ring.cc, and its reader need not search."""
    broken = []
    for path in tree.code:
        parts = path.split("/")
        if parts[0] != "tests" or len(parts) < 3 or not parts[-1].endswith("_test.cc"):
            continue
        if parts[1] in layers.MIRROR_FREE_FOLDERS or path in layers.MIRROR_FREE_TESTS:
            continue
        inner = "/".join(parts[1:-1])
        folders = [layers.MIRRORED[inner]] if inner in layers.MIRRORED else [inner,
                                                                            f"sidecar/{inner}"]
        stem = parts[-1][:-len("_test.cc")]
        if not any(source.startswith(f"{folder}/") and Path(source).stem == stem
                   for source in tree.files for folder in folders):
            broken.append(f"{path}: there is no {stem}.h or {stem}.cc in {' or '.join(folders)}")
    return broken


@rule
def machine_paths(tree):
    """What is true on one machine only: somebody's folders, and fixed names that two runs share."""
    personal = re.compile(r"(?<![\w.])/(home|Users|root|work)/\w[^\s\"'`]*")
    shared_name = re.compile(r"(?<![\w./])/tmp/\w[^\s\"'`]*")
    broken = []
    for path in tree.files:
        if path.startswith("tests/data/") or "\0" in tree.text(path)[:4096]:
            continue
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            found = personal.search(line)
            if found:
                broken.append(f"{path}:{number}: {found[0]} exists on one machine only")
            found = shared_name.search(line)
            if found and "XXXXXX" not in found[0] and path.endswith((*CODE, *SCRIPTS)):
                broken.append(f"{path}:{number}: {found[0]}: two runs would share it; use mkdtemp")
    return broken


@rule
def clean_text(tree):
    """UTF-8, Unix line ends, no blanks at the end of a line, no traces of a merge."""
    broken = []
    endings = (*CODE, *SCRIPTS, ".md", ".txt", ".json", ".yaml", ".yml", ".toml")
    for path in tree.files:
        if path.startswith("tests/data/") or not path.endswith(endings):
            continue
        text = tree.text(path)
        if "\ufffd" in text and not path.endswith(CODE):
            broken.append(f"{path}: not UTF-8")
        if "\r" in text:
            broken.append(f"{path}: has carriage returns")
        if text and not text.endswith("\n"):
            broken.append(f"{path}: does not end with a line end")
        for number, line in enumerate(text.splitlines(), 1):
            if re.match(r"(<{7} |>{7} |={7}$)", line):
                broken.append(f"{path}:{number}: an unfinished merge")
            if line != line.rstrip() and not path.endswith(".md"):
                broken.append(f"{path}:{number}: blanks at the end of the line")
    return broken


@rule
def readme_commands(tree):
    """README.md tells of every command that ./run has."""
    if "README.md" not in tree.files:
        return ["README.md: missing"]
    commands = sorted(set(re.findall(r"^\./run (\w+)", tree.text("run"), re.MULTILINE)) - {"help"})
    if not commands:
        return ["run: its help names no command"]
    return [f"README.md: says nothing of ./run {command}" for command in commands
            if not re.search(rf"\./run {command}\b", tree.text("README.md"))]


@rule
def doc_links(tree):
    """A relative link in a document leads to a file of the tree."""
    broken = []
    for path in tree.files:
        if not path.endswith(".md") or path.startswith("tests/data/"):
            continue
        prose = re.sub(r"^```.*?^```", "", tree.text(path), flags=re.DOTALL | re.MULTILINE)
        prose = re.sub(r"`[^`\n]*`", "", prose)
        for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)[^)]*\)", prose):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (tree.root / path).parent.joinpath(target.split("#")[0]).exists():
                broken.append(f"{path}: the link to {target} leads nowhere")
    return broken


@rule
def library(tree):
    """Applications load libnacelle.so: it must not bring others in, nor add names of its own."""
    found = tree.build / "lib/libnacelle.so"
    commands = tree.build / "compile_commands.json"
    if not found.exists():
        tree.why_skipped = f"{found} is not built"
        return None
    sanitized = commands.exists() and any(
        "-fsanitize" in entry["command"] for entry in json.loads(commands.read_text())
        if entry["file"].endswith("/shm/nacelle.cc"))
    if sanitized:
        tree.why_skipped = "a sanitizer's libraries are linked in"
        return None
    dynamic = subprocess.run(["readelf", "-d", found], capture_output=True, text=True, check=True)
    broken = [f"{found.name}: needs {name}"
              for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic.stdout)
              if name not in layers.LIBRARY_NEEDS]
    symbols = subprocess.run(["nm", "-D", "--defined-only", "--format=posix", found],
                             capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in symbols.splitlines() if line.split()[1] != "A"]
    if not names:
        broken.append(f"{found.name}: exports nothing")
    broken += [f"{found.name}: exports {name}" for name in names
               if not name.startswith(layers.LIBRARY_EXPORTS)]
    return broken
