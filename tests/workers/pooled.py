"""A worker that tells which of its processes answers, and that can be made to fail."""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from vgi_fast import Const, Float64, Int64, Worker

worker = Worker("pooled")
hoard: list[bytes] = []


@worker.scalar(stability="volatile")
def pid(x: Int64) -> Int64:
    return np.full(len(x), os.getpid())


@worker.scalar(stability="volatile")
def double(x: Int64) -> Int64:
    return x * 2


@worker.scalar(stability="volatile")
def wait(x: Int64, path: Const[str]) -> Int64:
    """Until somebody has written to the pipe and closed it."""
    Path(path).read_text()
    return x


@worker.scalar(stability="volatile")
def die(x: Int64) -> Int64:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


@worker.scalar(stability="volatile")
def leave(x: Int64) -> Int64:
    sys.exit(3)


@worker.scalar(stability="volatile")
def grow(x: Int64, size_bytes: Const[int]) -> Int64:
    hoard.append(bytes(bytearray(size_bytes)))
    return x


@worker.scalar(stability="volatile")
def chance(x: Int64) -> Float64:
    return np.random.random(len(x))


if __name__ == "__main__":
    worker.run()
