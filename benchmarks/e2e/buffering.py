"""What does a table-buffering function cost for each batch?

``buffer_input`` takes all batches of 2,048 int64 and gives them back at the end: each goes in and comes out.
"""

from benchmarks.e2e.tables import through_table
from benchmarks.e2e.workload import Workload, main

WORKLOAD = Workload(
    name="buffering",
    function="buffer_input",
    query="SELECT sum(n) FROM {call}",
    check="SELECT bit_xor(hash(n)), count(*) FROM {call}",
    call="{function}((SELECT range AS n FROM range({rows})))",
    native="(SELECT range AS n FROM range({rows}))",
    rows=4_000_000,
    through_client=through_table,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
