"""What `tests/test_confined.py` asks of a confined process."""

import os
import socket
import sys
from pathlib import Path

import numpy as np

from simxrd_hf.errors import BadInput


def echo(raw, name, **options):
    arrays = {"floats": np.arange(6.0).reshape(2, 3), "bytes": np.frombuffer(raw, "u1"), "none": np.empty((0, 3), "i8")}
    return {"name": name, "options": options, "arrays": arrays, "list": [1, 2.5, None, float("nan"), np.float32(0.5)]}


def refuse(raw, name):
    raise BadInput(f"{name}: no, because of byte {raw[0]}")


def misbehave(raw, name):
    """Does what the input says."""
    what = raw.decode()
    if what == "loop":
        while True:
            pass
    if what == "sleep":
        import time

        time.sleep(1000)
    if what == "memory":
        return len(bytearray(2**40))
    if what == "many":
        return len([bytes(1000) for _ in range(10**9)])
    if what == "crash":
        os.abort()
    if what == "exit":
        os._exit(7)
    if what == "deep":
        return misbehave(raw, name)
    if what == "fault":
        return {}["nothing"]
    if what == "print":
        print("words among the answers")
        sys.stdout.flush()
    if what == "open":
        return Path(__file__).read_text()
    if what == "write":
        return Path("/tmp/confined").write_text("x")
    if what == "connect":
        return socket.socket().fileno()
    if what == "environment":
        return dict(os.environ)
    return "well"


def peek(raw, name):
    """Opens the file it is told to."""
    return Path(raw.decode()).read_text()
