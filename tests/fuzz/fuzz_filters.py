"""Mutates filter blobs and evaluates what is accepted: only a VgiError may come out.

    python -m tests.fuzz.fuzz_filters --count 100000 --seed 1

Each blob is a valid one with changes: to its JSON (nodes replaced, keys removed, values of other types, deep
nesting), to its constants (other types), or to its bytes. Accepted filters are bound to batches of every layout and
applied. Ends with status 1 after a finding and prints the blob in hex; ``--replay HEX`` reads one again.
"""

import argparse
import copy
import json
import sys
import time
import traceback
from functools import cache
from random import Random
from typing import Any, Final

import pyarrow as pa

from tests.functions.filter_cases import KINDS, filter_blob, make_cases
from vgi_fast import RecordBatch
from vgi_fast.errors import VgiError
from vgi_fast.functions.filters.decoding import decode_filters
from vgi_fast.functions.filters.plan import StreamFilters, bind_filters

_SCALARS: Final[list[Any]] = [None, True, -1, 0, 1, 2, 2**40, 2**70, 1.5, "", "v", "s", "eq", "and", "constant", [], {}]
_TYPES: Final = [
    "constant", "is_null", "is_not_null", "join_keys", "in", "and", "or", "struct", "expression", "column_ref",
    "function", "comparison", "conjunction",
]  # fmt: skip
_FUNCTIONS: Final = ["prefix", "contains", "list_contains", "~~", "length", "+", "%", "*", "-", "&&", "struct_extract"]


known_cases = cache(make_cases)
"""Made once: that takes longer than everything else."""


class Mutator:
    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.names = list(KINDS)

    def blob(self) -> tuple[bytes, list[bytes], RecordBatch]:
        rng = self.rng
        cases = known_cases(rng.randrange(8), rng.choice(self.names), 3, rows=12)
        predicate = rng.choice(cases.predicates)
        nodes: list[Any] = [copy.deepcopy(predicate.node)]
        constants = cases.constants
        if rng.random() < 0.3:
            constants = known_cases(rng.randrange(8), rng.choice(self.names), 1, rows=12).constants
        for _ in range(rng.randrange(4)):
            self.change(nodes)
        try:
            data = filter_blob(nodes, constants)
        except (TypeError, ValueError, RecursionError):
            data = cases.blob(predicate)
        if rng.random() < 0.4:
            data = self.bytes_changed(data)
        batch = RecordBatch.from_arrow(cases.table.to_batches()[0])
        return data, cases.keys(predicate), batch

    def change(self, nodes: list[Any]) -> None:
        """One change somewhere in the tree."""
        rng = self.rng
        places: list[tuple[Any, Any]] = []
        pending: list[Any] = [nodes]
        while pending:
            each = pending.pop()
            keys = range(len(each)) if isinstance(each, list) else list(each)
            for key in keys:
                places.append((each, key))
                if isinstance(each[key], (list, dict)):
                    pending.append(each[key])
        if not places:
            nodes.append(self.node(2))
            return
        holder, key = rng.choice(places)
        how = rng.random()
        if how < 0.2 and isinstance(holder, dict):
            del holder[key]
        elif how < 0.5:
            holder[key] = rng.choice(_SCALARS)
        elif how < 0.6:
            deep: Any = holder[key]
            for _ in range(rng.choice([1, 3, 120])):
                deep = {"type": "and", "column_name": "v", "column_index": 0, "children": [deep]}
            holder[key] = deep
        else:
            holder[key] = self.node(3)

    def node(self, depth: int) -> Any:
        rng = self.rng
        node: dict[str, Any] = {"column_name": rng.choice("vsx"), "column_index": rng.randrange(3)}
        node |= {"type": rng.choice(_TYPES), "op": rng.choice(["eq", "lt", "ne", "unknown", "x"])}
        node |= {"value_ref": rng.randrange(18), "child_index": rng.randrange(3), "child_name": rng.choice(["", "v"])}
        node |= {"keys_column": "keys0", "children": [], "index": 0, "conjunction_type": rng.choice(["and", "or"])}
        node |= {"expr_type": rng.choice([*_TYPES[-4:], "constant"]), "function_name": rng.choice(_FUNCTIONS)}
        if depth:
            node["children"] = [self.node(depth - 1) for _ in range(rng.randrange(3))]
            node |= {"expr": self.node(depth - 1), "left": self.node(depth - 1), "right": self.node(depth - 1)}
            node["child_filter"] = self.node(depth - 1)
        return node

    def bytes_changed(self, data: bytes) -> bytes:
        rng = self.rng
        changed = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(changed))
            how = rng.random()
            if how < 0.5:
                changed[at] ^= 1 << rng.randrange(8)
            elif how < 0.8:
                changed[at : at + 4] = rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 255]).to_bytes(4, "little")
            else:
                del changed[at:]
                if not changed:
                    break
        return bytes(changed)


def touch(data: bytes, keys: list[bytes], batch: RecordBatch) -> bool:
    """Whether it was accepted."""
    try:
        filters = decode_filters(data, keys)
        repr(filters)
        filters.to_sql()
        for column in filters.columns:
            filters.values(column)
        plan = bind_filters(filters, batch.schema)
        if plan is not None:
            kept = plan.apply(batch)
            assert kept.num_rows == plan.count(batch)
            kept.to_pydict()
    except VgiError:
        return False
    StreamFilters(filters, batch.schema, True).tick(data)
    return True


def run(count: int, seed: int) -> tuple[int, bytes | None]:
    """How many were accepted, and the blob that raised something else."""
    mutator = Mutator(seed)
    accepted = 0
    for _ in range(count):
        data, keys, batch = mutator.blob()
        try:
            accepted += touch(data, keys, batch)
        except Exception:
            traceback.print_exc()
            return accepted, data
    return accepted, None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="HEX")
    options = parser.parse_args()
    if options.replay:
        batch = RecordBatch.from_arrow(pa.record_batch({"v": [1, 2, None]}))
        print(json.dumps({"accepted": touch(bytes.fromhex(options.replay), [], batch)}))
        return
    started = time.monotonic()
    accepted, finding = run(options.count, options.seed)
    print(f"{options.count} blobs, {accepted} accepted, {time.monotonic() - started:.0f} s")
    if finding is not None:
        print(finding.hex())
        sys.exit(1)


if __name__ == "__main__":
    main()
