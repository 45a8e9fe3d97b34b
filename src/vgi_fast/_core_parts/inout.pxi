# Owns: what table-in-out functions need of a batch beside the exchange loop.
# May use: everything above.
# Invariant: the results share the buffers of the batch they are made from; nothing is copied.

def reshape(RecordBatch batch not None, Schema schema not None, positions=None):
    """The columns at ``positions`` (all by default) under ``schema``; None where a type differs.

    Names are not compared and the batch's metadata is dropped: it came with the batch and is not the answer's.
    """
    cdef Nodes nodes
    cdef Schema given = batch.schema
    cdef Field f
    cdef Py_ssize_t i, at
    cdef int32_t top
    if positions is None:
        if given is not schema and not compatible(given, schema):
            return None
        if batch.metadata_ is None and given is schema:
            return batch
        return RecordBatch.new(schema, batch.nodes, batch.length, None)
    if len(positions) != len(schema.fields):
        return None
    nodes = Nodes.new(schema.n_nodes, batch.nodes)
    nodes.borrows_data = True
    for i in range(len(schema.fields)):
        at = positions[i]
        if not 0 <= at < len(given.fields):
            return None
        f = <Field> schema.fields[i]
        if not same_type((<Field> given.fields[at]).type, f.type, False):
            return None
        top = schema.tops[i]
        memcpy(nodes.at + top, batch.nodes.at + given.tops[at], node_count(f.type) * sizeof(Node))
    return RecordBatch.new(schema, nodes, batch.length, None)
