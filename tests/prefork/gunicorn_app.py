"""The application that gunicorn --preload loads in its master: it imports preforked.

/meet answers once WORKERS requests are here, so each is in another worker: a sync worker has one
request at a time. /work?NUMBER,CALLS makes calls.
"""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import random
import sys

import preforked

WORKERS = int(os.environ["WORKERS"])
SECONDS_MAX = 60  # only something broken waits so long

# Of the fork context: children have it because they are forks.
meeting = multiprocessing.get_context("fork").Barrier(WORKERS)


def app(environ, start_response):
    if environ["PATH_INFO"] == "/meet":
        meeting.wait(SECONDS_MAX)
        answer = preforked.work(os.getpid(), 1)
    else:
        number, calls = environ["QUERY_STRING"].split(",")
        answer = preforked.work(int(number), int(calls))
    body = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@atexit.register
def farewell() -> None:
    """In the end the master's own connection still answers: its children left it alone."""
    if os.getpid() == preforked.MASTER:
        right = all(preforked.right(call, random.Random(call)) for call in range(100))
        print("the master's client", "works" if right else "is wrong", file=sys.stderr, flush=True)
