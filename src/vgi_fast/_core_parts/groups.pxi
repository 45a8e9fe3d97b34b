# Owns: reductions over groups: what a batch does to the records of its groups, without Python code per batch.
# May use: state.
# A column is widened to int64 or double first, so that there are two families of kernels and not twenty.
# Record: one byte that tells whether the group has a state, seven unused, then the fields of the reduction.

cdef enum Operation:
    R_COUNT_ROWS
    R_COUNT
    R_SUM
    R_PRODUCT
    R_MIN
    R_MAX
    R_MEAN
    R_VARIANCE
    R_FIRST
    R_LAST
    R_BIT_AND
    R_BIT_OR
    R_BIT_XOR
    R_DISTINCT          # approximately: HyperLogLog

REDUCTIONS = {"count_rows": R_COUNT_ROWS, "count": R_COUNT, "sum": R_SUM, "product": R_PRODUCT, "min": R_MIN,
              "max": R_MAX, "mean": R_MEAN, "variance": R_VARIANCE, "first": R_FIRST, "last": R_LAST,
              "bit_and": R_BIT_AND, "bit_or": R_BIT_OR, "bit_xor": R_BIT_XOR, "approx_distinct": R_DISTINCT}

cdef enum Family:
    F_NONE
    F_INT
    F_UINT64            # as int64 with the top bit flipped where order matters
    F_DOUBLE
    F_BYTES             # hashed only

cdef enum:
    SKETCH_BITS = 11    # 2048 registers: a standard error of 2.3 %
    SKETCH_SIZE = 1 << SKETCH_BITS


cdef int family_of(DataType t) noexcept:
    if t.id == T_UINT64:
        return F_UINT64
    if T_FLOAT16 <= t.id <= T_FLOAT64:
        return F_DOUBLE
    if T_BOOL <= t.id <= T_UINT32 or T_DATE32 <= t.id <= T_DURATION:
        return F_INT
    return F_NONE


cdef inline int64_t int_at(int id, const uint8_t *data, int64_t i) noexcept nogil:
    if id == T_INT64 or id == T_UINT64 or id == T_DATE64 or id == T_TIME64 or id == T_TIMESTAMP or id == T_DURATION:
        return (<const int64_t *> data)[i]
    if id == T_INT32 or id == T_DATE32 or id == T_TIME32:
        return (<const int32_t *> data)[i]
    if id == T_BOOL:
        return get_bit(data, i)
    return index_at(id, data, i)


cdef extern from *:
    """
    #include <math.h>
    #include <string.h>
    #ifdef __SIZEOF_INT128__
    static inline void vgi_add_wide(uint8_t *at, int64_t v) {
        __int128 sum; memcpy(&sum, at, 16); sum += v; memcpy(at, &sum, 16);
    }
    static inline void vgi_add_wider(uint8_t *at, const uint8_t *other) {
        __int128 sum, more; memcpy(&sum, at, 16); memcpy(&more, other, 16); sum += more; memcpy(at, &sum, 16);
    }
    static inline double vgi_wide_double(const uint8_t *at) {
        __int128 sum; memcpy(&sum, at, 16); return (double)sum;
    }
    #else
    #error "this core needs a compiler with 128-bit integers"
    #endif
    """
    void add_wide "vgi_add_wide"(uint8_t *at, int64_t v) noexcept nogil
    void add_wider "vgi_add_wider"(uint8_t *at, const uint8_t *other) noexcept nogil
    double wide_double "vgi_wide_double"(const uint8_t *at) noexcept nogil
    double sqrt(double) noexcept nogil


cdef inline double double_at(int id, const uint8_t *data, int64_t i) noexcept nogil:
    if id == T_FLOAT64:
        return (<const double *> data)[i]
    if id == T_FLOAT32:
        return (<const float *> data)[i]
    if id == T_FLOAT16:
        return half_value((<const uint16_t *> data)[i])
    if id == T_UINT64:
        return <double> (<const uint64_t *> data)[i]
    return <double> int_at(id, data, i)


cdef int widen_ints(int id, const uint8_t *data, int64_t offset, int64_t n, int64_t *out) noexcept nogil:
    cdef int64_t i
    if id == T_INT32 or id == T_DATE32 or id == T_TIME32:
        for i in range(n):
            out[i] = (<const int32_t *> data)[offset + i]
    else:
        for i in range(n):
            out[i] = int_at(id, data, offset + i)
    return 0


cdef int widen_doubles(int id, const uint8_t *data, int64_t offset, int64_t n, double *out) noexcept nogil:
    cdef int64_t i
    for i in range(n):
        out[i] = double_at(id, data, offset + i)
    return 0


@cython.final
cdef class Reduction:
    """One building block. Immutable but for its scratch; one thread at a time."""
    cdef readonly str name
    cdef int op
    cdef int family
    cdef readonly DataType type         # of the column; None for count_rows
    cdef readonly DataType result
    cdef readonly int64_t stride
    cdef bint as_double                 # integers are accumulated as double
    cdef int degrees                    # variance: what is subtracted from the count
    cdef bint root                      # … and whether its square root is wanted
    cdef Block values
    cdef Block valid

    def __init__(self, str name not None, type=None, result=None, int degrees=1, root=False):
        if name not in REDUCTIONS:
            raise ValueError(f"no reduction {name!r}; there are {', '.join(sorted(REDUCTIONS))}")
        self.name = name
        self.op = REDUCTIONS[name]
        self.degrees = degrees
        self.root = root
        if type is None:
            if self.op != R_COUNT_ROWS:
                raise ValueError(f"{name} takes a column")
            self.family = F_NONE
        else:
            self.type = DataType.of(type)
            self.family = family_of(self.type)
            if self.family == F_NONE and self.op in (R_DISTINCT, R_COUNT):
                self.family = F_BYTES
            if self.family == F_NONE or (self.op == R_DISTINCT and self.family == F_BYTES
                                         and LAYOUTS[self.type.id] not in (L_FIXED, L_VAR32, L_VAR64, L_VIEW)):
                raise TypeMismatchError(f"{name} of {type_text(self.type)} is not possible")
            if (R_BIT_AND <= self.op <= R_BIT_XOR or self.op == R_MEAN or self.op == R_VARIANCE) and (
                    self.type.id >= T_DATE32):
                raise TypeMismatchError(f"{name} of {type_text(self.type)} is not possible")
            if R_BIT_AND <= self.op <= R_BIT_XOR and not T_BOOL <= self.type.id <= T_UINT64:
                raise TypeMismatchError(f"{name} of {type_text(self.type)} is not possible")
        self.result = self.natural() if result is None else DataType.of(result)
        if self.op in (R_SUM, R_PRODUCT) and self.result.id == T_FLOAT64 and self.family != F_DOUBLE:
            self.as_double = True
        self.check_result()
        self.stride = 8 + self.size()

    cdef DataType natural(self):
        if self.op in (R_COUNT_ROWS, R_COUNT, R_DISTINCT):
            return DataType.new(T_INT64)
        if self.op in (R_MEAN, R_VARIANCE):
            return DataType.new(T_FLOAT64)
        if self.op in (R_SUM, R_PRODUCT):
            if self.type.id >= T_DATE32 and (self.type.id != T_DURATION or self.op == R_PRODUCT):
                raise TypeMismatchError(f"{self.name} of {type_text(self.type)} is not possible")
            if self.type.id == T_DURATION:
                return self.type
            return DataType.new(T_FLOAT64 if self.family == F_DOUBLE
                                else T_UINT64 if T_UINT8 <= self.type.id <= T_UINT64 else T_INT64)
        return self.type

    cdef int check_result(self) except -1:
        cdef DataType natural = self.natural()
        if same_type(natural, self.result, True) or self.as_double or (
                natural.id == T_INT64 and self.result.id == T_UINT64):
            return 0
        raise TypeMismatchError(f"{self.name} gives {type_text(natural)}, not {type_text(self.result)}")

    cdef int64_t size(self) except -1:
        if self.op == R_MEAN:
            return 24
        if self.op == R_VARIANCE:
            return 24
        if self.op == R_DISTINCT:
            return SKETCH_SIZE
        return 8

    # ---- update ----

    def update(self, Groups groups not None, RecordBatch batch not None, Py_ssize_t column):
        """Add the rows of a column of ``batch``, which are those that ``groups`` were assigned from."""
        cdef PlanNode *p
        cdef Node *n
        cdef DataType t
        cdef const uint8_t *valid = NULL
        cdef const uint8_t *data
        cdef const int64_t *local = NULL if groups.count == 1 else groups.local
        if batch.length != groups.rows or groups.stride != self.stride:
            raise InternalError("a reduction over other rows than those of its groups")
        if groups.rows == 0:
            return
        if self.op == R_COUNT_ROWS:
            self.count_rows(groups, NULL, local)
            return
        if not 0 <= column < len(batch.schema.fields):
            raise ProtocolError(f"an update has {len(batch.schema.fields)} columns, column {column} is missing")
        t = (<Field> batch.schema.fields[column]).type
        if not same_type(t, self.type, False):
            raise TypeMismatchError(f"{self.name}: expected a column of {type_text(self.type)}, got {type_text(t)}")
        p = batch.schema.plan + batch.schema.tops[column]
        n = batch.nodes.at + batch.schema.tops[column]
        if count_nulls(p, n):
            if n.null_count == n.length:
                return
            self.valid = self.scratch(self.valid, n.length)
            expand_bits(self.valid.data, n.buf[0], n.offset, n.length)
            valid = self.valid.data
        if self.op == R_COUNT:
            self.count_rows(groups, valid, local)
        elif self.op == R_DISTINCT:
            self.sketch(groups, p, n, valid, local)
        elif self.family == F_DOUBLE or self.as_double:
            data = n.buf[1] + 8 * n.offset
            if t.id != T_FLOAT64:
                self.values = self.scratch(self.values, 8 * n.length)
                widen_doubles(t.id, n.buf[1], n.offset, n.length, <double *> self.values.data)
                data = self.values.data
            update_doubles(self.op, groups.records, self.stride, local, <const double *> data, valid, n.length)
        else:
            data = n.buf[1] + 8 * n.offset
            if p.layout != L_FIXED or p.width != 8:
                self.values = self.scratch(self.values, 8 * n.length)
                widen_ints(t.id, n.buf[1], n.offset, n.length, <int64_t *> self.values.data)
                data = self.values.data
            update_ints(self.op, groups.records, self.stride, local, <const int64_t *> data, valid, n.length,
                        self.family == F_UINT64)

    cdef Block scratch(self, Block have, int64_t size):
        return have if have is not None and have.capacity >= <size_t> size else Block.new(size)

    cdef void count_rows(self, Groups groups, const uint8_t *valid, const int64_t *local) noexcept:
        cdef int64_t i, total = 0
        cdef uint8_t *r
        if local == NULL:
            for i in range(groups.rows):
                total += 1 if valid == NULL else valid[i]
            if total:
                groups.records[0] = 1
                (<int64_t *> (groups.records + 8))[0] += total
            return
        for i in range(groups.rows):
            if valid == NULL or valid[i]:
                r = groups.records + local[i] * self.stride
                r[0] = 1
                (<int64_t *> (r + 8))[0] += 1

    cdef void sketch(self, Groups groups, PlanNode *p, Node *n, const uint8_t *valid,
                     const int64_t *local) noexcept:
        cdef int64_t i, size = 0
        cdef const uint8_t *data = NULL
        cdef uint64_t hashed[2]
        cdef uint64_t bits
        cdef double d
        cdef uint8_t *r
        cdef uint8_t rank
        for i in range(groups.rows):
            if valid != NULL and not valid[i]:
                continue
            if self.family == F_BYTES and p.layout != L_FIXED:
                slot_text_bytes(p, n, n.offset + i, &data, &size)
                digest(data, size, hashed)
            elif self.family == F_DOUBLE:
                d = double_at(p.type, n.buf[1], n.offset + i)
                d = 0.0 if d == 0.0 else d      # both zeros are one value
                digest(<const uint8_t *> &d, 8, hashed)
            elif self.family == F_BYTES:
                digest(n.buf[1] + p.width * (n.offset + i), p.width, hashed)
            else:
                bits = <uint64_t> int_at(p.type, n.buf[1], n.offset + i)
                digest(<const uint8_t *> &bits, 8, hashed)
            r = groups.records + (0 if local == NULL else local[i]) * self.stride
            r[0] = 1
            rank = rank_of(hashed[1])
            if rank > r[8 + (hashed[0] & (SKETCH_SIZE - 1))]:
                r[8 + (hashed[0] & (SKETCH_SIZE - 1))] = rank

    # ---- combine ----

    def combine(self, Groups groups not None):
        """After ``assign_pairs``: each target takes its source in, in the order of the pairs."""
        cdef int64_t i
        cdef uint8_t *source
        cdef uint8_t *target
        for i in range(groups.rows // 2):
            source = groups.records + groups.local[2 * i] * self.stride
            target = groups.records + groups.local[2 * i + 1] * self.stride
            if not source[0] or source == target:
                continue
            groups.dirty[groups.local[2 * i + 1]] = 1
            if target[0]:
                merge(self.op, target, source, self.stride, self.family == F_DOUBLE or self.as_double,
                      self.family == F_UINT64)
            else:
                memcpy(target, source, self.stride)
        groups.keep_changed()

    # ---- finalize ----

    def finish(self, Groups groups not None):
        """The results of the rows that ``groups`` were assigned from."""
        cdef Nodes nodes = Nodes.new(1, None)
        cdef int64_t i, nulls = 0
        cdef int width = self.result.width_
        cdef bint bits = self.result.id == T_BOOL
        cdef uint8_t *r
        cdef Block out = new_buffer(nodes, (groups.rows + 7) >> 3 if bits else groups.rows * width)
        cdef Block valid = new_buffer(nodes, (groups.rows + 7) >> 3)
        cdef uint8_t slot_bytes[16]
        for i in range(groups.rows):
            r = groups.records + (0 if groups.count == 1 else groups.local[i]) * self.stride
            if not self.result_of(r, slot_bytes):
                nulls += 1
                continue
            set_bit(valid.data, i)
            if not bits:
                memcpy(out.data + i * width, slot_bytes, width)
            elif slot_bytes[0]:
                set_bit(out.data, i)
        nodes.at[0].length = groups.rows
        nodes.at[0].null_count = nulls
        nodes.at[0].buf[0] = valid.data if nulls else NULL
        nodes.at[0].buf[1] = out.data
        return Array.new(self.result, nodes, nodes.at)

    cdef bint result_of(self, const uint8_t *r, uint8_t *out) noexcept:
        """False where the result is NULL."""
        cdef double d
        cdef double count
        cdef float f
        cdef int64_t n
        if self.op == R_COUNT or self.op == R_COUNT_ROWS:
            n = (<const int64_t *> (r + 8))[0] if r[0] else 0
            memcpy(out, &n, 8)
            return True
        if self.op == R_DISTINCT:
            n = <int64_t> (sketch_count(r + 8) + 0.5) if r[0] else 0
            memcpy(out, &n, 8)
            return True
        if not r[0]:
            return False
        if self.op == R_MEAN:
            count = <double> (<const int64_t *> (r + 24))[0]
            d = ((<const double *> (r + 8))[0] if self.family == F_DOUBLE else wide_double(r + 8)) / count
            memcpy(out, &d, 8)
            return True
        if self.op == R_VARIANCE:
            count = (<const double *> (r + 8))[0]
            if count <= self.degrees:
                return False
            d = (<const double *> (r + 24))[0] / (count - self.degrees)
            if self.root:
                d = sqrt(d)
            memcpy(out, &d, 8)
            return True
        if self.family == F_DOUBLE and self.result.id != T_FLOAT64:
            d = (<const double *> (r + 8))[0]
            if self.result.id == T_FLOAT32:
                f = <float> d
                memcpy(out, &f, 4)
            else:
                double_half(d, out)
            return True
        memcpy(out, r + 8, 8)
        return True


cdef void double_half(double d, uint8_t *out) noexcept:
    # The value came from a half, so it fits.
    import struct
    half = struct.pack("<e", d)
    memcpy(out, PyBytes_AS_STRING(half), 2)


cdef extern from *:
    """
    #define vgi_leading_zeros(x) ((x) ? __builtin_clzll(x) : 64)
    """
    int leading_zeros "vgi_leading_zeros"(uint64_t) noexcept nogil
    double log(double) noexcept nogil


cdef inline uint8_t rank_of(uint64_t h) noexcept nogil:
    return <uint8_t> (leading_zeros(h) + 1)


cdef double sketch_count(const uint8_t *registers) noexcept nogil:
    cdef double total = 0
    cdef double m = SKETCH_SIZE
    cdef double estimate
    cdef int64_t i, empty = 0
    for i in range(SKETCH_SIZE):
        total += 1.0 / <double> (<uint64_t> 1 << (registers[i] if registers[i] < 63 else 63))
        empty += registers[i] == 0
    estimate = 0.7213 / (1 + 1.079 / m) * m * m / total
    if estimate <= 2.5 * m and empty:
        return m * log(m / <double> empty)      # linear counting is better for few values
    return estimate


cdef inline bint int_before(int64_t a, int64_t b, bint unsigned) noexcept nogil:
    return <uint64_t> a < <uint64_t> b if unsigned else a < b


cdef inline bint double_before(double a, double b) noexcept nogil:
    """NaN is the greatest, as in DuckDB."""
    return a < b or (b != b and a == a)


cdef void update_ints(int op, uint8_t *records, int64_t stride, const int64_t *local, const int64_t *v,
                      const uint8_t *valid, int64_t n, bint unsigned) noexcept nogil:
    cdef int64_t i
    cdef uint64_t total = 0
    cdef uint8_t *r = records
    cdef int64_t *slot
    if local == NULL and op == R_SUM:           # one group: nothing but the addition is in the loop
        if valid == NULL:
            for i in range(n):
                total += <uint64_t> v[i]
        else:
            for i in range(n):
                total += <uint64_t> v[i] & (<uint64_t> 0 - valid[i])
        r[0] = 1
        (<uint64_t *> (r + 8))[0] += total
        return
    if op == R_SUM:
        for i in range(n):
            if valid == NULL or valid[i]:
                r = records + local[i] * stride
                r[0] = 1
                (<uint64_t *> (r + 8))[0] += <uint64_t> v[i]
        return
    for i in range(n):
        if valid != NULL and not valid[i]:
            continue
        if local != NULL:
            r = records + local[i] * stride
        slot = <int64_t *> (r + 8)
        if op == R_MEAN:
            if unsigned and v[i] < 0:           # add 2**64
                (<uint64_t *> (r + 16))[0] += 1
            add_wide(r + 8, v[i])
            (<int64_t *> (r + 24))[0] += 1
        elif op == R_VARIANCE:
            welford(r, <double> <uint64_t> v[i] if unsigned else <double> v[i])
        elif not r[0]:
            slot[0] = v[i]
        elif op == R_MIN:
            if int_before(v[i], slot[0], unsigned):
                slot[0] = v[i]
        elif op == R_MAX:
            if int_before(slot[0], v[i], unsigned):
                slot[0] = v[i]
        elif op == R_LAST:
            slot[0] = v[i]
        elif op == R_PRODUCT:
            slot[0] = <int64_t> (<uint64_t> slot[0] * <uint64_t> v[i])
        elif op == R_BIT_AND:
            slot[0] &= v[i]
        elif op == R_BIT_OR:
            slot[0] |= v[i]
        elif op == R_BIT_XOR:
            slot[0] ^= v[i]
        r[0] = 1


cdef void update_doubles(int op, uint8_t *records, int64_t stride, const int64_t *local, const double *v,
                         const uint8_t *valid, int64_t n) noexcept nogil:
    cdef int64_t i
    cdef uint8_t *r = records
    cdef double *slot
    for i in range(n):
        if valid != NULL and not valid[i]:
            continue
        if local != NULL:
            r = records + local[i] * stride
        slot = <double *> (r + 8)
        if op == R_SUM:
            slot[0] += v[i]
        elif op == R_MEAN:
            slot[0] += v[i]
            (<int64_t *> (r + 24))[0] += 1
        elif op == R_VARIANCE:
            welford(r, v[i])
        elif not r[0]:
            slot[0] = v[i]
        elif op == R_MIN:
            if double_before(v[i], slot[0]):
                slot[0] = v[i]
        elif op == R_MAX:
            if double_before(slot[0], v[i]):
                slot[0] = v[i]
        elif op == R_LAST:
            slot[0] = v[i]
        elif op == R_PRODUCT:
            slot[0] *= v[i]
        r[0] = 1


cdef inline void welford(uint8_t *r, double v) noexcept nogil:
    """Count, mean and sum of squared distances."""
    cdef double *s = <double *> (r + 8)
    cdef double distance = v - s[1]
    s[0] += 1
    s[1] += distance / s[0]
    s[2] += distance * (v - s[1])


cdef void merge(int op, uint8_t *target, const uint8_t *source, int64_t stride, bint doubles,
                bint unsigned) noexcept nogil:
    """Both have a state; the source's rows come after the target's."""
    cdef int64_t *ti = <int64_t *> (target + 8)
    cdef const int64_t *si = <const int64_t *> (source + 8)
    cdef double *td = <double *> (target + 8)
    cdef const double *sd = <const double *> (source + 8)
    cdef double count, distance
    cdef int64_t i
    if op == R_COUNT or op == R_COUNT_ROWS or (op == R_SUM and not doubles):
        ti[0] = <int64_t> (<uint64_t> ti[0] + <uint64_t> si[0])
    elif op == R_SUM:
        td[0] += sd[0]
    elif op == R_PRODUCT and doubles:
        td[0] *= sd[0]
    elif op == R_PRODUCT:
        ti[0] = <int64_t> (<uint64_t> ti[0] * <uint64_t> si[0])
    elif op == R_MEAN:
        if doubles:
            td[0] += sd[0]
        else:
            add_wider(target + 8, source + 8)
        ti[2] += si[2]
    elif op == R_VARIANCE:
        count = td[0] + sd[0]
        distance = sd[1] - td[1]
        td[2] += sd[2] + distance * distance * td[0] * sd[0] / count
        td[1] += distance * sd[0] / count
        td[0] = count
    elif op == R_MIN or op == R_MAX:
        if doubles:
            if double_before(sd[0], td[0]) if op == R_MIN else double_before(td[0], sd[0]):
                td[0] = sd[0]
        elif int_before(si[0], ti[0], unsigned) if op == R_MIN else int_before(ti[0], si[0], unsigned):
            ti[0] = si[0]
    elif op == R_LAST:
        ti[0] = si[0]
    elif op == R_BIT_AND:
        ti[0] &= si[0]
    elif op == R_BIT_OR:
        ti[0] |= si[0]
    elif op == R_BIT_XOR:
        ti[0] ^= si[0]
    elif op == R_DISTINCT:
        for i in range(8, stride):
            if source[i] > target[i]:
                target[i] = source[i]
