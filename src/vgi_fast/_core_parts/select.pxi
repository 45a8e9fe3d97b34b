# Owns: selection, the chosen rows of a batch as a new one.
# May use: arrays, filter_kernels.
# What is gathered goes to one block and from there, as pieces, into the outgoing message. Long runs of rows are
# copied as such; a single run is a slice and copies nothing.

cdef extern from "_core_parts/select_kernels.h" nogil:
    ctypedef struct vgi_chosen:
        const uint64_t *words
        int64_t length
        const uint32_t *rows
        int64_t count
    enum:
        VGI_SPARE
    int64_t vgi_count_words(const uint64_t *words, int64_t n)
    int64_t vgi_count_runs(const uint64_t *words, int64_t n)
    int64_t vgi_rows_of(const uint64_t *words, int64_t n, uint32_t *rows)
    void vgi_take(const vgi_chosen *c, const void *data, int64_t width, void *out)
    int64_t vgi_take_bits(const vgi_chosen *c, const uint8_t *bits, int64_t offset, uint8_t *out)
    int64_t vgi_spans32(const vgi_chosen *c, const int32_t *offsets, int32_t *starts, int32_t *made)
    int64_t vgi_spans64(const vgi_chosen *c, const int64_t *offsets, int64_t *starts, int64_t *made)
    void vgi_copy32(const int32_t *starts, const uint8_t *data, int64_t end, const int32_t *made, int64_t n,
                    int64_t most, uint8_t *out)
    void vgi_copy64(const int64_t *starts, const uint8_t *data, int64_t end, const int64_t *made, int64_t n,
                    int64_t most, uint8_t *out)

cdef enum:
    LONG_RUN = 32               # rows of a run, on average, from which on runs are copied instead of rows
    ARENA = 1 << 16


@cython.final
cdef class Gather:
    """Rows chosen from nodes of one length, and room for what they become. Used once."""
    cdef Nodes nodes
    cdef Block block
    cdef Block scratch          # where the texts of a column begin, for each chosen row
    cdef size_t used
    cdef vgi_chosen chosen

    @staticmethod
    cdef Gather new(int32_t count, size_t room):
        cdef Gather g = Gather.__new__(Gather)
        g.nodes = Nodes.new(count, None)
        g.block = Block.new(room)
        g.nodes.hold(g.block)
        return g

    cdef uint8_t *room(self, size_t size) except NULL:
        cdef uint8_t *at
        size = (size + VGI_SPARE + 7) & ~(<size_t> 7)
        if size > self.block.capacity - self.used:
            self.block = Block.new(max(size, <size_t> ARENA))
            self.nodes.hold(self.block)
            self.used = 0
        at = self.block.data + self.used
        self.used += size
        return at

    # ---- by rows ----

    cdef int rows(self, PlanNode *p, Node *n, Node *out, int64_t skip) except -1:
        """The chosen rows, which count from the node's offset + ``skip``."""
        cdef int64_t at = n.offset + skip
        cdef int64_t count = self.chosen.count
        cdef int layout = p.layout
        cdef uint8_t *bits
        cdef int32_t child = 1
        out.length = count
        if layout == L_NULL:
            out.null_count = count
            return 0
        if layout == L_RUNS or L_LIST32 <= layout <= L_FIXED_LIST:
            return self.runs_of_rows(p, n, out, skip)
        if layout < L_SPARSE or layout == L_DICTIONARY:
            if n.buf[0] != NULL and n.null_count != 0:
                bits = self.room((count + 7) >> 3)
                out.null_count = count - vgi_take_bits(&self.chosen, n.buf[0], at, bits)
                out.buf[0] = bits if out.null_count else NULL
        if layout == L_FIXED or layout == L_DICTIONARY:
            bits = self.room(count * p.width)
            out.buf[1] = bits
            vgi_take(&self.chosen, n.buf[1] + at * p.width, p.width, bits)
            if layout == L_DICTIONARY:
                out.dictionary = n.dictionary
        elif layout == L_BITS:
            bits = self.room((count + 7) >> 3)
            out.buf[1] = bits
            vgi_take_bits(&self.chosen, n.buf[1], at, bits)
        elif layout == L_VAR32 or layout == L_VAR64:
            self.texts(p, n, out, at)
        elif layout == L_VIEW:
            bits = self.room(count * 16)
            out.buf[1] = bits
            vgi_take(&self.chosen, n.buf[1] + at * 16, 16, bits)
            self.views(n, out, bits, count)
        elif layout == L_STRUCT or layout == L_SPARSE:
            if layout == L_SPARSE:
                bits = self.room(count)
                out.buf[0] = bits
                vgi_take(&self.chosen, n.buf[0] + at, 1, bits)
            for _ in range(p.n_children):
                self.rows(p + child, n + child, out + child, at)
                child += p[child].span
        else:
            self.dense(p, n, out, at)
        return 0

    cdef int texts(self, PlanNode *p, Node *n, Node *out, int64_t at) except -1:
        cdef int width = 4 if p.layout == L_VAR32 else 8
        cdef int64_t count = self.chosen.count
        cdef const uint8_t *offsets = n.buf[1] + at * width
        cdef uint8_t *made = self.room((count + 1) * width)
        cdef uint8_t *starts
        cdef uint8_t *data
        cdef int64_t most, size
        cdef int64_t end = 0
        out.buf[1] = made
        if count == 0:
            memset(made, 0, width)
            out.buf[2] = EMPTY
            return 0
        if self.scratch is None:
            self.scratch = Block.new(count * 8 + VGI_SPARE)
        starts = self.scratch.data
        if self.chosen.words != NULL:       # in order
            end = offset_at(offsets, self.chosen.rows[count - 1] + 1, width == 8)
        if width == 4:
            most = vgi_spans32(&self.chosen, <const int32_t *> offsets, <int32_t *> starts, <int32_t *> made)
        else:
            most = vgi_spans64(&self.chosen, <const int64_t *> offsets, <int64_t *> starts, <int64_t *> made)
        size = offset_at(made, count, width == 8)
        data = self.room(size)
        if width == 4:
            vgi_copy32(<const int32_t *> starts, n.buf[2], end, <const int32_t *> made, count, most, data)
        else:
            vgi_copy64(<const int64_t *> starts, n.buf[2], end, <const int64_t *> made, count, most, data)
        out.buf[2] = data
        out.size[2] = size
        return 0

    cdef int views(self, Node *n, Node *out, uint8_t *views, int64_t count) except -1:
        """What the views refer to: as it is, or moved together where less than half of it is used."""
        cdef int64_t total = 0
        cdef int64_t held = 0
        cdef int64_t i
        cdef int32_t size, k
        cdef int32_t zero = 0
        cdef int32_t filled = 0
        cdef uint8_t *data
        for i in range(count):
            if out.buf[0] != NULL and not get_bit(out.buf[0], i):
                memset(views + 16 * i, 0, 16)       # nothing is promised about the slots of nulls
                continue
            size = load_i32(views + 16 * i)
            if size > 12:
                total += size
        for k in range(n.n_data):
            held += n.data_size[k]
        if total > INT32_MAX or (total and held and total >= held // 2):
            out.n_data = n.n_data
            out.data = <const uint8_t **> checked_alloc(n.n_data * sizeof(void *))
            out.data_size = <int64_t *> checked_alloc(n.n_data * sizeof(int64_t))
            memcpy(out.data, n.data, n.n_data * sizeof(void *))
            memcpy(out.data_size, n.data_size, n.n_data * sizeof(int64_t))
            return 0
        out.n_data = 1 if total else 0
        out.data = <const uint8_t **> checked_alloc(sizeof(void *))
        out.data_size = <int64_t *> checked_alloc(sizeof(int64_t))
        if not total:
            return 0
        data = self.room(total)
        out.data[0] = data
        out.data_size[0] = total
        for i in range(count):
            size = load_i32(views + 16 * i)
            if size > 12:
                memcpy(data + filled, n.data[load_i32(views + 16 * i + 8)] + load_i32(views + 16 * i + 12), size)
                memcpy(views + 16 * i + 8, &zero, 4)
                memcpy(views + 16 * i + 12, &filled, 4)
                filled += size
        return 0

    cdef int dense(self, PlanNode *p, Node *n, Node *out, int64_t at) except -1:
        cdef uint8_t *codes = self.room(self.chosen.count)
        cdef uint8_t *offsets = self.room(self.chosen.count * 4)
        cdef int32_t i
        vgi_take(&self.chosen, n.buf[0] + at, 1, codes)
        vgi_take(&self.chosen, n.buf[1] + 4 * at, 4, offsets)
        out.buf[0] = codes
        out.buf[1] = offsets
        for i in range(1, p.span):
            self.share(out + i, n + i)
        return 0

    cdef int share(self, Node *out, Node *n) except -1:
        """The node as it is; its own copy of what ``Nodes`` frees."""
        out[0] = n[0]
        if n.data != NULL:
            out.data = <const uint8_t **> checked_alloc(n.n_data * sizeof(void *))
            out.data_size = <int64_t *> checked_alloc(n.n_data * sizeof(int64_t))
            memcpy(out.data, n.data, n.n_data * sizeof(void *))
            memcpy(out.data_size, n.data_size, n.n_data * sizeof(int64_t))
        return 0

    cdef int runs_of_rows(self, PlanNode *p, Node *n, Node *out, int64_t skip) except -1:
        cdef int64_t count = self.chosen.count
        cdef const uint32_t *rows = self.chosen.rows
        cdef int64_t *runs = <int64_t *> self.room(2 * count * 8)
        cdef int64_t n_runs = 0
        cdef int64_t i
        for i in range(count):
            if n_runs and runs[2 * n_runs - 2] + runs[2 * n_runs - 1] == rows[i]:
                runs[2 * n_runs - 1] += 1
            else:
                runs[2 * n_runs] = rows[i]
                runs[2 * n_runs + 1] = 1
                n_runs += 1
        return self.runs(p, n, out, runs, n_runs, count, skip)

    # ---- by runs: pairs of start and length ----

    cdef int runs(self, PlanNode *p, Node *n, Node *out, const int64_t *runs, int64_t n_runs, int64_t count,
                  int64_t skip) except -1:
        cdef int64_t at = n.offset + skip
        cdef int layout = p.layout
        cdef uint8_t *bits
        cdef int32_t child = 1
        out.length = count
        if layout == L_NULL:
            out.null_count = count
            return 0
        if layout == L_RUNS:
            return self.run_ends(p, n, out, runs, n_runs, count, at)
        if layout < L_SPARSE or layout == L_DICTIONARY:
            if n.buf[0] != NULL and n.null_count != 0:
                bits = self.bits(n.buf[0], at, runs, n_runs, count)
                out.null_count = count - count_set(bits, 0, count)
                out.buf[0] = bits if out.null_count else NULL
        if layout == L_FIXED or layout == L_DICTIONARY:
            out.buf[1] = self.fixed(n.buf[1] + at * p.width, p.width, runs, n_runs, count)
            if layout == L_DICTIONARY:
                out.dictionary = n.dictionary
        elif layout == L_BITS:
            out.buf[1] = self.bits(n.buf[1], at, runs, n_runs, count)
        elif layout == L_VAR32 or layout == L_VAR64 or layout == L_LIST32 or layout == L_LIST64:
            self.ranges(p, n, out, runs, n_runs, count, at)
        elif layout == L_VIEW:
            bits = self.fixed(n.buf[1] + at * 16, 16, runs, n_runs, count)
            out.buf[1] = bits
            self.views(n, out, bits, count)
        elif layout == L_FIXED_LIST:
            self.fixed_lists(p, n, out, runs, n_runs, count, at)
        elif layout == L_LISTVIEW32 or layout == L_LISTVIEW64 or layout == L_DENSE:
            child = 4 if layout == L_LISTVIEW32 else 8
            if layout == L_DENSE:
                out.buf[0] = self.fixed(n.buf[0] + at, 1, runs, n_runs, count)
                out.buf[1] = self.fixed(n.buf[1] + 4 * at, 4, runs, n_runs, count)
            else:
                out.buf[1] = self.fixed(n.buf[1] + at * child, child, runs, n_runs, count)
                out.buf[2] = self.fixed(n.buf[2] + at * child, child, runs, n_runs, count)
            for child in range(1, p.span):
                self.share(out + child, n + child)
        else:
            if layout == L_SPARSE:
                out.buf[0] = self.fixed(n.buf[0] + at, 1, runs, n_runs, count)
            for _ in range(p.n_children):
                self.runs(p + child, n + child, out + child, runs, n_runs, count, at)
                child += p[child].span
        return 0

    cdef uint8_t *fixed(self, const uint8_t *data, int64_t width, const int64_t *runs, int64_t n_runs,
                        int64_t count) except NULL:
        cdef uint8_t *out = self.room(count * width)
        cdef uint8_t *at = out
        cdef int64_t i
        for i in range(n_runs):
            memcpy(at, data + runs[2 * i] * width, runs[2 * i + 1] * width)
            at += runs[2 * i + 1] * width
        return out

    cdef uint8_t *bits(self, const uint8_t *data, int64_t offset, const int64_t *runs, int64_t n_runs,
                       int64_t count) except NULL:
        cdef uint8_t *out = self.room((count + 7) >> 3)
        cdef int64_t made = 0
        cdef int64_t i, k, size
        memset(out, 0, ((count + 7) >> 3) + 8)
        for i in range(n_runs):
            for k in range(0, runs[2 * i + 1], 64):
                size = min(runs[2 * i + 1] - k, <int64_t> 64)
                add_bits(out, made, load_bits(data, offset + runs[2 * i] + k, size), size)
                made += size
        return out

    cdef int ranges(self, PlanNode *p, Node *n, Node *out, const int64_t *runs, int64_t n_runs, int64_t count,
                    int64_t at) except -1:
        """Offsets, and behind them bytes or elements."""
        cdef bint wide = p.layout == L_VAR64 or p.layout == L_LIST64
        cdef bint texts = p.layout == L_VAR32 or p.layout == L_VAR64
        cdef const uint8_t *offsets = n.buf[1] + at * (8 if wide else 4)
        cdef uint8_t *made = self.room((count + 1) * (8 if wide else 4))
        cdef int64_t *inner = <int64_t *> self.room(2 * n_runs * 8)
        cdef int64_t total = 0
        cdef int64_t row = 0
        cdef int64_t i, k, first
        cdef uint8_t *data
        memset(made, 0, 8 if wide else 4)
        for i in range(n_runs):
            first = offset_at(offsets, runs[2 * i], wide)
            inner[2 * i] = first
            inner[2 * i + 1] = offset_at(offsets, runs[2 * i] + runs[2 * i + 1], wide) - first
            for k in range(runs[2 * i] + 1, runs[2 * i] + runs[2 * i + 1] + 1):
                row += 1
                if wide:
                    (<int64_t *> made)[row] = offset_at(offsets, k, wide) - first + total
                else:
                    (<int32_t *> made)[row] = <int32_t> (offset_at(offsets, k, wide) - first + total)
            total += inner[2 * i + 1]
        out.buf[1] = made
        if not texts:
            return self.runs(p + 1, n + 1, out + 1, inner, n_runs, total, 0)
        data = self.room(total)
        out.buf[2] = data
        out.size[2] = total
        for i in range(n_runs):
            memcpy(data, n.buf[2] + inner[2 * i], inner[2 * i + 1])
            data += inner[2 * i + 1]
        return 0

    cdef int fixed_lists(self, PlanNode *p, Node *n, Node *out, const int64_t *runs, int64_t n_runs, int64_t count,
                         int64_t at) except -1:
        cdef int64_t *inner = <int64_t *> self.room(2 * n_runs * 8)
        cdef int64_t i
        for i in range(n_runs):
            inner[2 * i] = (at + runs[2 * i]) * p.list_size
            inner[2 * i + 1] = runs[2 * i + 1] * p.list_size
        return self.runs(p + 1, n + 1, out + 1, inner, n_runs, count * p.list_size, 0)

    cdef int run_ends(self, PlanNode *p, Node *n, Node *out, const int64_t *runs, int64_t n_runs, int64_t count,
                      int64_t at) except -1:
        """Runs of the column cut to the runs of rows; equal neighbours are not joined."""
        cdef int id = p[1].type
        cdef int width = p[1].width
        cdef int64_t i, row, stop, end, run
        cdef int64_t made = 0
        cdef int64_t last = 0
        cdef int64_t room = 0
        cdef uint8_t *ends
        cdef int64_t *inner
        for i in range(n_runs):
            room += run_of(id, n + 1, at + runs[2 * i] + runs[2 * i + 1] - 1) - run_of(id, n + 1, at + runs[2 * i]) + 1
        ends = self.room(room * width)
        inner = <int64_t *> self.room(2 * room * 8)
        for i in range(n_runs):
            row = at + runs[2 * i]
            stop = row + runs[2 * i + 1]
            run = run_of(id, n + 1, row)
            while row < stop:
                end = min(index_at(id, n[1].buf[1], n[1].offset + run), stop)
                last += end - row
                memcpy(ends + made * width, &last, width)
                inner[2 * made] = run
                inner[2 * made + 1] = 1
                made += 1
                row = end
                run += 1
        out[1].length = made
        out[1].buf[1] = ends
        return self.runs(p + 2, n + 2, out + 2, inner, made, made, 0)


cdef inline int64_t offset_at(const uint8_t *offsets, int64_t i, bint wide) noexcept nogil:
    return (<const int64_t *> offsets)[i] if wide else (<const int32_t *> offsets)[i]


cdef inline void add_bits(uint8_t *out, int64_t at, uint64_t bits, int64_t n) noexcept nogil:
    """``n`` bits behind the ``at`` that are there; what follows them is zero, up to eight bytes of it."""
    cdef uint8_t *p = out + (at >> 3)
    cdef int shift = at & 7
    cdef uint64_t word = bits << shift
    word |= p[0]
    memcpy(p, &word, 8)
    if shift + n > 64:
        p[8] = <uint8_t> (bits >> (64 - shift))


cdef size_t room_for(PlanNode *p, Node *n, int32_t nodes, int64_t length, int64_t count) noexcept:
    """A guess that usually holds what ``count`` of ``length`` rows take."""
    cdef size_t total = 64
    cdef int64_t bytes
    cdef int32_t i
    for i in range(nodes):
        total += 2 * VGI_SPARE + 16 + ((count + 7) >> 3)
        if p[i].layout == L_VAR32 and n[i].length == length and length:
            bytes = ((<const int32_t *> n[i].buf[1])[n[i].offset + length]
                     - (<const int32_t *> n[i].buf[1])[n[i].offset])
            total += VGI_SPARE + 40 + 4 * count + <size_t> (<double> bytes / length * count * 1.1)
        else:
            total += count * p[i].width
    return total


cdef RecordBatch select_rows(RecordBatch batch, const uint64_t *chosen, int64_t count):
    """The ``count`` rows whose bits are set; at least one, not all."""
    cdef Schema schema = batch.schema
    cdef int64_t n_runs = vgi_count_runs(chosen, batch.length)
    cdef Gather g
    cdef Block rows
    cdef int64_t *pairs
    cdef int64_t i
    cdef Py_ssize_t k
    cdef int32_t at
    if n_runs == 1:
        i = 0
        while chosen[i] == 0:
            i += 1
        return slice_rows(batch, 64 * i + trailing_zeros(chosen[i]), count)
    if batch.length > <int64_t> 0xFFFFFFFF:
        raise ValueError(f"a filter on a batch of {batch.length} rows")
    g = Gather.new(schema.n_nodes, room_for(schema.plan, batch.nodes.at, schema.n_nodes, batch.length, count))
    g.nodes.keep = batch.nodes      # dictionaries, views and shared children stay where they are
    if n_runs * LONG_RUN > count:
        rows = Block.new(count * 4 + VGI_SPARE)
        vgi_rows_of(chosen, batch.length, <uint32_t *> rows.data)
        g.chosen = vgi_chosen(chosen, batch.length, <const uint32_t *> rows.data, count)
        for k in range(len(schema.fields)):
            at = schema.tops[k]
            g.rows(schema.plan + at, batch.nodes.at + at, g.nodes.at + at, 0)
    else:
        rows = Block.new(n_runs * 16)
        pairs = <int64_t *> rows.data
        run_pairs(chosen, batch.length, pairs)
        for k in range(len(schema.fields)):
            at = schema.tops[k]
            g.runs(schema.plan + at, batch.nodes.at + at, g.nodes.at + at, pairs, n_runs, count, 0)
    return RecordBatch.new(schema, g.nodes, count, batch.metadata_)


cdef void run_pairs(const uint64_t *chosen, int64_t length, int64_t *pairs) noexcept nogil:
    cdef int64_t k = -1
    cdef int64_t end = -1
    cdef int64_t w, start, size
    cdef uint64_t todo
    for w in range(words_of(length)):
        todo = chosen[w]
        while todo:
            start = trailing_zeros(todo)
            size = 64 if ~(todo >> start) == 0 else trailing_zeros(~(todo >> start))
            size = min(size, 64 - start)
            if 64 * w + start == end:
                pairs[2 * k + 1] += size
            else:
                k += 1
                pairs[2 * k] = 64 * w + start
                pairs[2 * k + 1] = size
            end = 64 * w + start + size
            if start + size >= 64:
                break
            todo &= (<uint64_t> -1) << (start + size)


cdef extern from *:
    int trailing_zeros "__builtin_ctzll"(uint64_t) noexcept nogil


cdef RecordBatch slice_rows(RecordBatch batch, int64_t offset, int64_t count):
    cdef Schema schema = batch.schema
    cdef Nodes nodes = Nodes.new(schema.n_nodes, batch.nodes)
    cdef Node *n
    cdef Py_ssize_t i
    nodes.borrows_data = True
    memcpy(nodes.at, batch.nodes.at, schema.n_nodes * sizeof(Node))
    for i in range(len(schema.fields)):
        n = nodes.at + schema.tops[i]
        n.offset += offset
        n.length = count
        if n.null_count != 0:
            n.null_count = count if schema.plan[schema.tops[i]].layout == L_NULL else -1
    return RecordBatch.new(schema, nodes, count, batch.metadata_)
