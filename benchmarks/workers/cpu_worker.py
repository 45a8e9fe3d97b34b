"""A function that computes in pure Python, and so holds the interpreter's lock."""

import numpy as np

from vgi_fast import Int64, Worker

worker = Worker("example")


@worker.scalar
def spin(value: Int64) -> Int64:
    return np.array([_spun(each) for each in value.tolist()], np.int64)


def _spun(number: int) -> int:
    for _ in range(4):
        number = (number * 7919 + 1) % 1000003
    return number


if __name__ == "__main__":
    worker.run()
