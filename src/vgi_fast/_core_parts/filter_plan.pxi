# Owns: FilterPlan, a filter bound to a schema, and the steps it is made of.
# May use: arrays, filter_kernels, inset, select.
# A step answers with the rows for which it is TRUE. NULL and FALSE need not be told apart: no node of the language
# negates, so AND and OR over these bitmaps are SQL's own. Comparisons arrive as ranges of stored values, made
# exactly by the Python side; nothing here rounds.

cdef Block word_block(int64_t n):
    return Block.new(((n + 63) >> 6) * 8)


cdef inline int64_t words_of(int64_t n) noexcept nogil:
    return (n + 63) >> 6


cdef void fill_words(uint64_t *out, int64_t n, const uint64_t *within) noexcept nogil:
    """All rows, or those of ``within``."""
    cdef int64_t w = words_of(n)
    if within != NULL:
        memcpy(out, within, w * 8)
        return
    memset(out, 0xFF, w * 8)
    if n & 63:
        out[w - 1] = (<uint64_t> 1 << (n & 63)) - 1


cdef void and_words(uint64_t *out, const uint64_t *other, int64_t n) noexcept nogil:
    cdef int64_t w
    for w in range(words_of(n)):
        out[w] &= other[w]


cdef class Step:
    """``values`` tells which slots pass, valid ones and others alike; only slots of ``within`` may be read where
    a slot of a null cannot be trusted."""

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        """Rows of ``within`` (NULL: all) that pass."""
        raise NotImplementedError

    cdef void collect(self, list leaves):
        pass


@cython.final
cdef class ConstantStep(Step):
    cdef bint everything

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        if self.everything:
            fill_words(out, batch.length, within)
        else:
            memset(out, 0, words_of(batch.length) * 8)
        return 0


@cython.final
cdef class AndStep(Step):
    cdef list steps

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        cdef Py_ssize_t i
        cdef Py_ssize_t n = len(self.steps)
        cdef Block other
        (<Step> self.steps[0]).run(batch, within, out)
        if n == 1:
            return 0
        other = word_block(batch.length)
        for i in range(1, n):
            if vgi_count_words(out, batch.length) == 0:
                return 0
            (<Step> self.steps[i]).run(batch, out, <uint64_t *> other.data)
            memcpy(out, other.data, words_of(batch.length) * 8)
        return 0

    cdef void collect(self, list leaves):
        for step in self.steps:
            (<Step> step).collect(leaves)


@cython.final
cdef class OrStep(Step):
    cdef list steps

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        cdef Py_ssize_t i
        cdef int64_t w
        cdef Block other = word_block(batch.length)
        cdef Block left = word_block(batch.length)      # rows that no step has taken yet
        cdef uint64_t *more = <uint64_t *> other.data
        cdef uint64_t *rest = <uint64_t *> left.data
        fill_words(rest, batch.length, within)
        memset(out, 0, words_of(batch.length) * 8)
        for i in range(len(self.steps)):
            (<Step> self.steps[i]).run(batch, rest, more)
            for w in range(words_of(batch.length)):
                out[w] |= more[w]
                rest[w] &= ~more[w]
            if vgi_count_words(rest, batch.length) == 0:
                break
        return 0

    cdef void collect(self, list leaves):
        for step in self.steps:
            (<Step> step).collect(leaves)


@cython.final
cdef class CallStep(Step):
    """A Python function of the batch; its answer is boolean, and null counts as false."""
    cdef object function

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        cdef Array answer = coerce_array(self.function(batch), parse_type("bool"))
        cdef Node *n = answer.node
        if n.length != batch.length:
            raise InternalError(f"a filter gave {n.length} answers for {batch.length} rows")
        out_bits(n.buf[1], n.offset, n.length, out)
        if n.buf[0] != NULL and n.length:
            and_bits(<uint8_t *> out, n.buf[0], n.offset, n.length)
        if within != NULL:
            and_words(out, within, batch.length)
        return 0


cdef void out_bits(const uint8_t *bits, int64_t offset, int64_t n, uint64_t *out) noexcept nogil:
    if n:
        out[words_of(n) - 1] = 0
        copy_bits(<uint8_t *> out, bits, offset, n)


cdef class Leaf(Step):
    """A test of one column, or of a member of it. ``path`` leads from the column through struct members."""
    cdef tuple path
    cdef int32_t[MAX_DEPTH] hops        # plan positions, each relative to the one before; the first absolute
    cdef int n_hops
    cdef Block lut                      # answers for the dictionary seen last
    cdef Nodes lut_owner
    cdef Node *lut_values

    cdef int setup(self, tuple spec) except -1:
        """Take what follows kind and path in the tuple; also called to replace it."""
        return 0

    cdef bint accepts(self, PlanNode *p) noexcept:
        return False

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        pass

    cdef void collect(self, list leaves):
        leaves.append(self)

    cdef int locate(self, Schema schema) except -1:
        cdef PlanNode *p
        cdef int32_t at
        cdef Py_ssize_t i
        if not 0 <= self.path[0] < len(schema.fields) or len(self.path) > MAX_DEPTH:
            raise ValueError(f"a filter on column {self.path[0]} of ({schema})")
        at = schema.tops[self.path[0]]
        self.hops[0] = at
        p = schema.plan + at
        for i in range(1, len(self.path)):
            if p.layout != L_STRUCT or not 0 <= self.path[i] < p.n_children:
                raise ValueError(f"a filter on member {self.path[i]} of a column that has none such")
            at = 1
            for _ in range(self.path[i]):
                at += p[at].span
            self.hops[i] = at
            p += at
        self.n_hops = <int> len(self.path)
        while p.layout == L_DICTIONARY or p.layout == L_RUNS:
            p = p.values if p.layout == L_DICTIONARY else p + 2
        if p.layout != L_NULL and not self.accepts(p):
            raise TypeMismatchError(f"filter {self.kind()} does not apply to values of {KINDS[p.type]}")
        return 0

    cdef str kind(self):
        return type(self).__name__

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        cdef PlanNode *p = batch.schema.plan
        cdef Node *n = batch.nodes.at
        cdef int64_t at = 0
        cdef int k
        cdef Block valid = None
        for k in range(self.n_hops):
            p += self.hops[k]
            n += self.hops[k]
            at += n.offset
            if k < self.n_hops - 1 and n.buf[0] != NULL and n.null_count != 0:
                valid = self.narrowed(valid, n, at, batch.length, within)
        if valid is not None:
            within = <uint64_t *> valid.data
        return self.spread(p, n, at, batch.length, within, out, batch.nodes)

    cdef Block narrowed(self, Block valid, Node *n, int64_t at, int64_t count, const uint64_t *within):
        if valid is None:
            valid = word_block(count)
            fill_words(<uint64_t *> valid.data, count, within)
        if count:
            and_bits(valid.data, n.buf[0], at, count)
        return valid

    cdef int spread(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within, uint64_t *out,
                    Nodes owner) except -1:
        """As ``values``, through dictionaries and runs, and without the nulls."""
        cdef Block valid = None
        cdef Block inner
        if p.layout == L_NULL or count == 0:
            memset(out, 0, words_of(count) * 8)
            return 0
        if p.layout != L_RUNS and n.buf[0] != NULL and n.null_count != 0:
            valid = self.narrowed(None, n, at, count, within)
            within = <uint64_t *> valid.data
        if p.layout == L_DICTIONARY:
            inner = self.answers(p, n.dictionary, owner, count)
            vgi_lookup(n.buf[1] + at * p.width, count, p.width, within, <uint64_t *> inner.data, out)
            return 0
        if p.layout == L_RUNS:
            inner = word_block(n[2].length)
            self.spread(p + 2, n + 2, n[2].offset, n[2].length, NULL, <uint64_t *> inner.data, owner)
            spread_runs(p, n, at, count, inner.data, out)
        elif count >= RELEASE_ROWS:
            with nogil:
                self.values(p, n, at, count, within, out)
        else:
            self.values(p, n, at, count, within, out)
        if within != NULL:
            and_words(out, within, count)
        return 0

    cdef Block answers(self, PlanNode *p, Node *values, Nodes owner, int64_t count):
        """One bit for each value of the dictionary; kept while large ones repeat."""
        cdef Block lut
        if values == self.lut_values and self.lut is not None:
            return self.lut
        lut = word_block(max(values.length, 64))
        self.spread(p.values, values, values.offset, values.length, NULL, <uint64_t *> lut.data, owner)
        if values.length > count:
            self.lut, self.lut_owner, self.lut_values = lut, owner, values
        return lut


cdef void spread_runs(PlanNode *p, Node *n, int64_t at, int64_t count, const uint8_t *bits, uint64_t *out) noexcept:
    cdef int id = p[1].type
    cdef int64_t run = run_of(id, n + 1, at)
    cdef int64_t i = 0
    cdef int64_t end
    memset(out, 0, words_of(count) * 8)
    while i < count:
        end = min(index_at(id, n[1].buf[1], n[1].offset + run) - at, count)
        if get_bit(bits, run):
            while i < end:
                set_bit(<uint8_t *> out, i)
                i += 1
        i = end
        run += 1


@cython.final
cdef class NullStep(Leaf):
    """IS NULL or IS NOT NULL; a member of a null struct is null."""
    cdef bint wants_null

    cdef int setup(self, tuple spec) except -1:
        self.wants_null = spec[2]
        return 0

    cdef bint accepts(self, PlanNode *p) noexcept:
        return True

    cdef int spread(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within, uint64_t *out,
                    Nodes owner) except -1:
        cdef Block inner
        if p.layout == L_NULL:
            memset(out, 0, words_of(count) * 8)
        elif p.layout == L_RUNS and count:
            inner = word_block(n[2].length)
            self.valid_bits(p + 2, n + 2, n[2].offset, n[2].length, <uint64_t *> inner.data, owner)
            spread_runs(p, n, at, count, inner.data, out)
        else:
            self.valid_bits(p, n, at, count, out, owner)
        return 0

    cdef int valid_bits(self, PlanNode *p, Node *n, int64_t at, int64_t count, uint64_t *out, Nodes owner) except -1:
        cdef Block inner, lut
        fill_words(out, count, NULL)
        if p.layout in (L_SPARSE, L_DENSE) or count == 0:
            return 0
        if p.layout == L_NULL:
            memset(out, 0, words_of(count) * 8)
            return 0
        if n.buf[0] != NULL and n.null_count != 0:
            and_bits(<uint8_t *> out, n.buf[0], at, count)
        if p.layout == L_DICTIONARY and n.dictionary.buf[0] != NULL and n.dictionary.null_count != 0:
            lut = word_block(max(n.dictionary.length, 64))
            self.valid_bits(p.values, n.dictionary, n.dictionary.offset, n.dictionary.length,
                            <uint64_t *> lut.data, owner)
            inner = word_block(count)
            memcpy(inner.data, out, words_of(count) * 8)
            vgi_lookup(n.buf[1] + at * p.width, count, p.width, <uint64_t *> inner.data, <uint64_t *> lut.data, out)
        return 0

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        cdef PlanNode *p = batch.schema.plan
        cdef Node *n = batch.nodes.at
        cdef int64_t at = 0
        cdef int64_t w
        cdef int k
        cdef Block parents = None
        for k in range(self.n_hops):
            p += self.hops[k]
            n += self.hops[k]
            at += n.offset
            if k < self.n_hops - 1 and n.buf[0] != NULL and n.null_count != 0:
                parents = self.narrowed(parents, n, at, batch.length, NULL)
        self.spread(p, n, at, batch.length, NULL, out, batch.nodes)
        if parents is not None:
            and_words(out, <uint64_t *> parents.data, batch.length)
        if self.wants_null:
            parents = word_block(batch.length)
            fill_words(<uint64_t *> parents.data, batch.length, NULL)
            for w in range(words_of(batch.length)):
                out[w] = (<uint64_t *> parents.data)[w] & ~out[w]
        if within != NULL:
            and_words(out, within, batch.length)
        return 0


@cython.final
cdef class RangeStep(Leaf):
    """low <= stored integer <= high, or not that. Booleans are 0 and 1."""
    cdef uint64_t[4] low
    cdef uint64_t[4] high
    cdef uint64_t bias
    cdef uint64_t flip
    cdef int width                      # bytes; 0 for bits
    cdef bint is_signed

    cdef bint accepts(self, PlanNode *p) noexcept:
        return p.layout == L_BITS and self.width == 0 or p.layout == L_FIXED and p.width == self.width

    cdef int setup(self, tuple spec) except -1:
        _, _, width, is_signed, low, high, negate = spec
        if width not in (0, 1, 2, 4, 8, 16, 32):
            raise ValueError(f"no integers of {width} bytes")
        if self.width and width != self.width:
            raise ValueError("a leaf keeps its width")
        self.width = width
        self.is_signed = is_signed
        self.flip = <uint64_t> -1 if negate else 0
        self.bias = 0
        for k in range(4):
            self.low[k] = self.high[k] = 0
        if low > high:
            # Nothing: no value lies between them, and everything where that is negated.
            self.flip = ~self.flip
            low, high = (-(1 << (8 * width - 1)), (1 << (8 * width - 1)) - 1) if is_signed and width else \
                (0, (1 << (8 * width)) - 1 if width else 1)
        raw = low.to_bytes(width or 1, "little", signed=is_signed and width)
        memcpy(self.low, PyBytes_AS_STRING(raw), len(raw))
        raw = high.to_bytes(width or 1, "little", signed=is_signed and width)
        memcpy(self.high, PyBytes_AS_STRING(raw), len(raw))
        if width >= 16 and is_signed:
            self.bias = <uint64_t> 1 << 63
            self.low[width // 8 - 1] += self.bias
            self.high[width // 8 - 1] += self.bias
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        cdef const uint8_t *data = n.buf[1] + at * self.width
        cdef uint64_t low = self.low[0]
        cdef uint64_t high = self.high[0]
        cdef uint64_t ones, zeros
        cdef int64_t w
        if self.width == 8:
            vgi_range64(data, count, low, high - low, self.flip, out)
        elif self.width == 4:
            vgi_range32(data, count, <uint32_t> low, <uint32_t> (high - low), self.flip, out)
        elif self.width == 2:
            vgi_range16(data, count, <uint16_t> low, <uint16_t> (high - low), self.flip, out)
        elif self.width == 1:
            vgi_range8(data, count, <uint8_t> low, <uint8_t> (high - low), self.flip, out)
        elif self.width:
            vgi_range_limbs(data, count, self.width // 8, self.low, self.high, self.bias, self.flip, out)
        else:
            out_bits(n.buf[1], at, count, out)
            ones = (<uint64_t> -1 if high == 1 else 0) ^ self.flip
            zeros = (<uint64_t> -1 if low == 0 else 0) ^ self.flip
            for w in range(words_of(count)):
                out[w] = (out[w] & ones) | (~out[w] & zeros)
            if count & 63:
                out[words_of(count) - 1] &= (<uint64_t> 1 << (count & 63)) - 1


@cython.final
cdef class FloatStep(Leaf):
    """low <= number <= high, or not that: NaN is outside of every range."""
    cdef double low
    cdef double high
    cdef uint64_t flip

    cdef bint accepts(self, PlanNode *p) noexcept:
        return T_FLOAT16 <= p.type <= T_FLOAT64

    cdef int setup(self, tuple spec) except -1:
        _, _, self.low, self.high, negate = spec
        self.flip = <uint64_t> -1 if negate else 0
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        cdef const uint8_t *data = n.buf[1] + at * p.width
        if p.type == T_FLOAT64:
            vgi_float64(data, count, self.low, self.high, self.flip, out)
        elif p.type == T_FLOAT32:
            vgi_float32(data, count, <float> self.low, <float> self.high, self.flip, out)
        else:
            vgi_float16(data, count, <float> self.low, <float> self.high, self.flip, out)


cdef dict TEXT_TESTS = {"equal": VGI_TEXT_EQUAL, "range": VGI_TEXT_RANGE, "prefix": VGI_TEXT_PREFIX,
                        "suffix": VGI_TEXT_SUFFIX, "contains": VGI_TEXT_CONTAINS, "like": VGI_TEXT_LIKE,
                        "length": VGI_TEXT_LENGTH}


@cython.final
cdef class TextStep(Leaf):
    """A test of strings or bytes, or not that."""
    cdef vgi_text text
    cdef bytes key
    cdef bytes high
    cdef bint negate

    cdef bint accepts(self, PlanNode *p) noexcept:
        return p.layout in (L_VAR32, L_VAR64, L_VIEW) or p.type == T_FIXED_SIZE_BINARY

    cdef int setup(self, tuple spec) except -1:
        self.text.test = TEXT_TESTS[spec[2]]
        self.negate = spec[len(spec) - 1]
        self.key = self.high = None
        if self.text.test == VGI_TEXT_LENGTH:
            _, _, _, self.text.least, self.text.most, _ = spec
        elif self.text.test == VGI_TEXT_RANGE:
            _, _, _, self.key, self.text.low_open, self.high, self.text.high_open, _ = spec
        else:
            _, _, _, self.key, _ = spec
            if self.key is None:
                raise TypeError("a text test without its text")
        self.text.key = self.text.high = NULL
        if self.key is not None:
            self.text.key = <const uint8_t *> PyBytes_AS_STRING(self.key)
            self.text.size = PyBytes_GET_SIZE(self.key)
        if self.high is not None:
            self.text.high = <const uint8_t *> PyBytes_AS_STRING(self.high)
            self.text.high_size = PyBytes_GET_SIZE(self.high)
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        cdef vgi_slots slots
        cdef int64_t w
        text_slots(p, n, at, &slots)
        vgi_text_rows(&slots, count, within, &self.text, out)
        if self.negate:
            for w in range(words_of(count)):
                out[w] = ~out[w]
            if count & 63:
                out[words_of(count) - 1] &= (<uint64_t> 1 << (count & 63)) - 1


@cython.final
cdef class InStep(Leaf):
    cdef KeySet keys

    cdef bint accepts(self, PlanNode *p) noexcept:
        return self.keys.fits(p)

    cdef int setup(self, tuple spec) except -1:
        cdef KeySet keys = spec[2]
        if keys is None or self.keys is not None and keys.form != self.keys.form:
            raise TypeError("an IN test takes a KeySet")
        self.keys = keys
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        cdef vgi_slots slots
        if self.keys.count == 0:
            memset(out, 0, words_of(count) * 8)
        elif self.keys.form >= 0:
            vgi_in_numbers(n.buf[1] + at * p.width, count, self.keys.form, &self.keys.numbers, out)
        else:
            text_slots(p, n, at, &slots)
            vgi_in_bytes(&slots, count, within, &self.keys.bytes_set, out)


@cython.final
cdef class BoxStep(Leaf):
    """The bounding box of a geometry in WKB touches a box."""
    cdef double[4] box

    cdef bint accepts(self, PlanNode *p) noexcept:
        return p.layout in (L_VAR32, L_VAR64, L_VIEW)

    cdef int setup(self, tuple spec) except -1:
        for k in range(4):
            self.box[k] = spec[2 + k]
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        cdef vgi_slots slots
        text_slots(p, n, at, &slots)
        vgi_box_rows(&slots, count, within, self.box, out)


cdef dict OPERATIONS = {"+": VGI_ADD, "-": VGI_SUBTRACT, "from": VGI_SUBTRACT_FROM, "*": VGI_MULTIPLY,
                        "%": VGI_MODULO}


@cython.final
cdef class ArithmeticStep(Leaf):
    """A 64-bit integer, after operations with constants, lies inside of a range, or outside."""
    cdef int[8] operations
    cdef int64_t[8] constants
    cdef int n_operations
    cdef int64_t low
    cdef int64_t high
    cdef uint64_t flip
    cdef bint overflow

    cdef bint accepts(self, PlanNode *p) noexcept:
        return p.type == T_INT64

    cdef int setup(self, tuple spec) except -1:
        _, _, operations, self.low, self.high, negate = spec
        self.flip = <uint64_t> -1 if negate else 0
        self.n_operations = 0
        if len(operations) > 8:
            raise ValueError("more than eight operations")
        for name, constant in operations:
            if name == "%" and constant == 0:
                raise ValueError("a modulo of zero")
            self.operations[self.n_operations] = OPERATIONS[name]
            self.constants[self.n_operations] = constant
            self.n_operations += 1
        return 0

    cdef int run(self, RecordBatch batch, const uint64_t *within, uint64_t *out) except -1:
        self.overflow = False
        Leaf.run(self, batch, within, out)
        if self.overflow:
            raise ArgumentError("an arithmetic operation in a pushed filter left the range of 64-bit integers")
        return 0

    cdef void values(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within,
                     uint64_t *out) noexcept nogil:
        self.overflow |= vgi_arithmetic(n.buf[1] + 8 * at, count, within, self.operations, self.constants,
                                        self.n_operations, self.low, self.high, self.flip, out)


@cython.final
cdef class ListStep(Leaf):
    """Any element of a list passes the inner test."""
    cdef Leaf inner

    cdef bint accepts(self, PlanNode *p) noexcept:
        cdef PlanNode *e = p + 1
        if not L_LIST32 <= p.layout <= L_FIXED_LIST or p.type == T_MAP:
            return False
        while e.layout == L_DICTIONARY or e.layout == L_RUNS:
            e = e.values if e.layout == L_DICTIONARY else e + 2
        return e.layout == L_NULL or self.inner.accepts(e)

    cdef int setup(self, tuple spec) except -1:
        step = step_of(spec[2])
        if not isinstance(step, Leaf):
            raise TypeError("a list's elements take one test")
        self.inner = <Leaf> step
        return 0

    cdef int spread(self, PlanNode *p, Node *n, int64_t at, int64_t count, const uint64_t *within, uint64_t *out,
                    Nodes owner) except -1:
        cdef Block valid, hits
        cdef int64_t i, start = 0, end = 0, first, last
        if p.layout < L_LIST32 or p.layout > L_FIXED_LIST:
            return Leaf.spread(self, p, n, at, count, within, out, owner)
        memset(out, 0, words_of(count) * 8)
        valid = word_block(count)
        fill_words(<uint64_t *> valid.data, count, within)
        if n.buf[0] != NULL and n.null_count != 0 and count:
            and_bits(valid.data, n.buf[0], at, count)
        first = INT64_MAX
        last = 0
        for i in range(count):
            if get_bit(valid.data, i):
                element_range(p, n, at + i, &start, &end)
                if end > start:
                    first = min(first, start)
                    last = max(last, end)
        if first >= last:
            return 0
        hits = word_block(last - first)
        self.inner.spread(p + 1, n + 1, n[1].offset + first, last - first, NULL, <uint64_t *> hits.data, owner)
        for i in range(count):
            if get_bit(valid.data, i):
                element_range(p, n, at + i, &start, &end)
                while start < end:
                    if get_bit(hits.data, start - first):
                        set_bit(<uint8_t *> out, i)
                        break
                    start += 1
        return 0


cdef void element_range(PlanNode *p, Node *n, int64_t at, int64_t *start, int64_t *end) noexcept nogil:
    """Elements of the list in physical slot ``at``."""
    if p.layout == L_LIST32:
        start[0] = (<const int32_t *> n.buf[1])[at]
        end[0] = (<const int32_t *> n.buf[1])[at + 1]
    elif p.layout == L_LIST64:
        start[0] = (<const int64_t *> n.buf[1])[at]
        end[0] = (<const int64_t *> n.buf[1])[at + 1]
    elif p.layout == L_LISTVIEW32:
        start[0] = (<const int32_t *> n.buf[1])[at]
        end[0] = start[0] + (<const int32_t *> n.buf[2])[at]
    elif p.layout == L_LISTVIEW64:
        start[0] = (<const int64_t *> n.buf[1])[at]
        end[0] = start[0] + (<const int64_t *> n.buf[2])[at]
    else:
        start[0] = at * p.list_size
        end[0] = start[0] + p.list_size


cdef dict LEAVES = {"null": NullStep, "range": RangeStep, "float": FloatStep, "text": TextStep, "in": InStep,
                    "box": BoxStep, "list": ListStep, "arithmetic": ArithmeticStep}


cdef Step step_of(tuple spec):
    cdef Leaf leaf
    cdef AndStep both
    cdef OrStep either
    cdef CallStep call
    cdef ConstantStep constant
    kind = spec[0]
    if kind == "and" and spec[1]:
        both = AndStep.__new__(AndStep)
        both.steps = [step_of(s) for s in spec[1]]
        return both
    if kind == "or" and spec[1]:
        either = OrStep.__new__(OrStep)
        either.steps = [step_of(s) for s in spec[1]]
        return either
    if kind in ("all", "none", "and", "or"):
        constant = ConstantStep.__new__(ConstantStep)
        constant.everything = kind == "all" or kind == "and"
        return constant
    if kind == "call":
        call = CallStep.__new__(CallStep)
        call.function = spec[1]
        return call
    if kind not in LEAVES:
        raise ValueError(f"unknown filter step {kind!r}")
    leaf = <Leaf> (<type> LEAVES[kind]).__new__(LEAVES[kind])
    leaf.path = tuple(spec[1])
    leaf.setup(spec)
    return leaf


cdef int locate_all(Step step, Schema schema) except -1:
    cdef list leaves = []
    step.collect(leaves)
    for leaf in leaves:
        (<Leaf> leaf).locate(schema)
    return 0


@cython.final
cdef class FilterPlan:
    """One thread at a time: a stream has its own."""
    cdef readonly Schema schema
    cdef Step step
    cdef list leaves
    cdef RecordBatch empty

    def __init__(self, Schema schema not None, tuple spec not None):
        self.schema = schema
        self.step = step_of(spec)
        self.leaves = []
        self.step.collect(self.leaves)
        locate_all(self.step, schema)

    def patch(self, specs, Py_ssize_t start=0):
        """Replace the constants of the leaves from ``start`` on, in their order."""
        cdef Py_ssize_t i
        if start < 0 or start + len(specs) != len(self.leaves):
            raise ValueError(f"{len(specs)} leaves from {start} on for a plan of {len(self.leaves)}")
        for i in range(len(specs)):
            (<Leaf> self.leaves[start + i]).setup(specs[i])
            (<Leaf> self.leaves[start + i]).lut = None

    cdef Block rows(self, RecordBatch batch):
        cdef Block out
        if batch.schema is not self.schema and not compatible(batch.schema, self.schema):
            raise TypeMismatchError(f"a filter of ({self.schema}) got a batch of ({batch.schema})")
        out = word_block(batch.length)
        self.step.run(batch, NULL, <uint64_t *> out.data)
        return out

    def mask(self, RecordBatch batch not None):
        """Which rows pass, as an array of bool without nulls."""
        cdef Nodes nodes = Nodes.new(1, None)
        cdef Block bits = self.rows(batch)
        nodes.hold(bits)
        nodes.at[0].length = batch.length
        nodes.at[0].buf[1] = bits.data
        return Array.new(bool_type(), nodes, nodes.at)

    def count(self, RecordBatch batch not None):
        """How many rows pass."""
        cdef Block bits = self.rows(batch)
        return vgi_count_words(<uint64_t *> bits.data, batch.length)

    def apply(self, RecordBatch batch not None):
        """The rows that pass: the batch itself where all do, a slice of it where they are neighbours."""
        cdef Block bits
        cdef int64_t count
        if batch.length == 0:
            return batch
        bits = self.rows(batch)
        count = vgi_count_words(<uint64_t *> bits.data, batch.length)
        if count == batch.length:
            return batch
        if count == 0:
            if self.empty is None or self.empty.schema is not batch.schema:
                self.empty = RecordBatch.new(batch.schema, empty_nodes(batch.schema.plan, batch.schema.n_nodes), 0,
                                             None)
            if batch.metadata_:
                return RecordBatch.new(batch.schema, self.empty.nodes, 0, batch.metadata_)
            return self.empty
        return select_rows(batch, <uint64_t *> bits.data, count)


def geometry_box(data):
    """(xmin, ymin, xmax, ymax) of a geometry in WKB; None where the bytes are not that or the geometry is empty."""
    cdef View view = View.of(data)
    cdef double[4] box
    if vgi_box_of(view.data, view.size, box) < 0 or box[0] > box[2]:
        return None
    return box[0], box[1], box[2], box[3]


cdef DataType the_bool_type = None


cdef DataType bool_type():
    global the_bool_type
    if the_bool_type is None:
        the_bool_type = DataType.new(T_BOOL)
    return the_bool_type
