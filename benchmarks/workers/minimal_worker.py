"""The least that a worker can be, for the benchmark of starting one."""

from vgi_fast import Const, Int64, Worker

worker = Worker("example")


@worker.scalar
def multiply(value: Int64, factor: Const[int]) -> Int64:
    return value * factor


if __name__ == "__main__":
    worker.run()
