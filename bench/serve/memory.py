"""What application processes and the sidecar take for one model, all together.

Pages that processes share count once: proportional set sizes. The regions of a connection count with
the pages that they have, whether or not somebody has touched them. Of an application what it imports
does not count, on either side: it is the same with any number of models.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from goals import at_most
from processes import Answering
from servers import Nacelle

HERE = Path(__file__).resolve().parent
APPLICATIONS = 8
CALLS = 20
REGION = "/memfd:"


def private_bytes(pid):
    """The proportional set size without shared memory."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name.rstrip(":")] = int(size) * 1024
    return sizes["Pss"] - sizes["Pss_Shmem"]


def regions_of(pid):
    """{inode: bytes that are allocated} of the shared regions that a process maps."""
    regions = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or not fields[5].startswith(REGION):
            continue
        try:
            size = os.stat(f"/proc/{pid}/map_files/{fields[0]}").st_blocks * 512
        except PermissionError:  # for root alone: at most all of it
            begin, end = (int(address, 16) for address in fields[0].split("-"))
            size = int(fields[2], 16) + end - begin
        regions[int(fields[4])] = size
    return regions


class Applications:
    def __init__(self, stack, python, words, count):
        apps = [Answering(stack, "memory_app.py", [python, HERE / "memory_app.py", *words])
                for _ in range(count)]
        for app in apps:
            app.answer()
        # When all have imported: from then on they share what they imported with as many.
        self.before = {app.pid: private_bytes(app.pid) for app in apps}
        for _ in range(CALLS):
            for app in apps:
                app.ask("embed")

    def bytes(self, sidecars=()):
        """What they take more than before, with these sidecars."""
        regions = {}
        for pid in (*self.before, *sidecars):
            regions |= regions_of(pid)
        return (sum(private_bytes(pid) - before for pid, before in self.before.items())
                + sum(map(private_bytes, sidecars)) + sum(regions.values()))


def memory(bench):
    """8 applications with the sidecar to one with it, and the same with ONNX Runtime in each."""
    ours, theirs = {}, {}
    for count in (1, APPLICATIONS):
        with ExitStack() as stack:
            server = Nacelle(stack, bench.folder / f"memory-{count}", {"minilm": bench.model},
                             bench.sidecar_options)
            ours[count] = Applications(stack, bench.python, ["nacelle", server.socket, "minilm"],
                                       count).bytes(server.pids)
        with ExitStack() as stack:
            theirs[count] = Applications(
                stack, bench.peer_python, ["onnxruntime", bench.graph, bench.model], count).bytes()
    mib = 2 ** 20
    bench.add(f"memory of {APPLICATIONS} applications", "MiB", [ours[APPLICATIONS] / mib],
              [theirs[APPLICATIONS] / mib], "ONNX Runtime in each", None, True)
    each = (ours[APPLICATIONS] - ours[1]) / (APPLICATIONS - 1)
    print(f"    one application: ours {ours[1] / mib:.0f} MiB, ONNX Runtime "
          f"{theirs[1] / mib:.0f} MiB; each more: ours {each / mib:.1f} MiB; copies of "
          f"{APPLICATIONS}: ours {ours[APPLICATIONS] / ours[1]:.2f}, ONNX Runtime "
          f"{theirs[APPLICATIONS] / theirs[1]:.2f}", flush=True)
    bench.goal(at_most(f"copies for {APPLICATIONS} applications", ours[APPLICATIONS] / ours[1],
                       1.15))
