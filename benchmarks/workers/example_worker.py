"""The whole example worker, for the benchmark of starting one with many functions and tables."""

from vgi_fast.examples.example_worker import worker

if __name__ == "__main__":
    worker.run()
