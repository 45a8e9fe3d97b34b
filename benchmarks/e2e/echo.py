"""What does a table-in-out function cost for each batch?

``echo`` gives each batch of 2,048 int64 back: what is measured is the way there and back.
"""

from benchmarks.e2e.tables import through_table
from benchmarks.e2e.workload import Workload, main

WORKLOAD = Workload(
    name="echo",
    function="echo",
    query="SELECT sum(n) FROM {call}",
    check="SELECT bit_xor(hash(n)), count(*) FROM {call}",
    call="{function}((SELECT range AS n FROM range({rows})))",
    native="(SELECT range AS n FROM range({rows}))",
    rows=4_000_000,
    through_client=through_table,
)

if __name__ == "__main__":
    main(WORKLOAD, __doc__)
