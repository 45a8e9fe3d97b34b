"""The example worker under a protocol version that no client speaks: each call is refused."""

from vgi_fast.examples.example_worker import worker
from vgi_fast.wire import versions


def main() -> None:
    versions.pretend("99.0.0")
    worker.run()


if __name__ == "__main__":
    main()
