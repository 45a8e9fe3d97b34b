# Owns: the declarations of filter_kernels.h; the kernels themselves are C, for their macros. They exist twice, for any
#   processor and for those with AVX2, see processor.h.
# May use: libc only. No kernel takes the interpreter lock.

cdef extern from "_core_parts/processor.h" nogil:
    int vgi_allow_wide(int allowed)

cdef extern from "_core_parts/filter_kernels.h" nogil:
    ctypedef struct vgi_text:
        int test
        const uint8_t *key
        int64_t size
        const uint8_t *high
        int64_t high_size
        int low_open
        int high_open
        int64_t least
        int64_t most
    ctypedef struct vgi_slots:
        int layout
        const uint8_t *slots
        const uint8_t *data
        const uint8_t **buffers
        int64_t width
    ctypedef struct vgi_numbers:
        uint64_t low
        uint64_t span
        uint64_t *bits
        uint64_t *table
        int shift
        uint64_t mask
        uint64_t seed
        int has_zero
    ctypedef struct vgi_byte_set:
        uint64_t *table
        uint64_t mask
        uint64_t seed
        const int64_t *offsets
        const uint8_t *data
    enum:
        VGI_TEXT_EQUAL
        VGI_TEXT_RANGE
        VGI_TEXT_PREFIX
        VGI_TEXT_SUFFIX
        VGI_TEXT_CONTAINS
        VGI_TEXT_LIKE
        VGI_TEXT_LENGTH
        VGI_SLOTS_32
        VGI_SLOTS_64
        VGI_SLOTS_VIEW
        VGI_SLOTS_FIXED
        VGI_KEY_I8
        VGI_KEY_I16
        VGI_KEY_I32
        VGI_KEY_I64
        VGI_KEY_U8
        VGI_KEY_U16
        VGI_KEY_U32
        VGI_KEY_U64
        VGI_KEY_F16
        VGI_KEY_F32
        VGI_KEY_F64
    void vgi_range8(const void *data, int64_t n, uint8_t low, uint8_t span, uint64_t flip, uint64_t *out)
    void vgi_range16(const void *data, int64_t n, uint16_t low, uint16_t span, uint64_t flip, uint64_t *out)
    void vgi_range32(const void *data, int64_t n, uint32_t low, uint32_t span, uint64_t flip, uint64_t *out)
    void vgi_range64(const void *data, int64_t n, uint64_t low, uint64_t span, uint64_t flip, uint64_t *out)
    void vgi_range_limbs(const void *data, int64_t n, int limbs, const uint64_t *low, const uint64_t *high,
                         uint64_t bias, uint64_t flip, uint64_t *out)
    void vgi_float16(const void *data, int64_t n, float low, float high, uint64_t flip, uint64_t *out)
    void vgi_float32(const void *data, int64_t n, float low, float high, uint64_t flip, uint64_t *out)
    void vgi_float64(const void *data, int64_t n, double low, double high, uint64_t flip, uint64_t *out)
    void vgi_text_rows(const vgi_slots *s, int64_t n, const uint64_t *within, const vgi_text *t, uint64_t *out)
    void vgi_in_numbers(const void *data, int64_t n, int form, const vgi_numbers *s, uint64_t *out)
    void vgi_in_bytes(const vgi_slots *s, int64_t n, const uint64_t *within, const vgi_byte_set *set, uint64_t *out)
    uint64_t vgi_key(const void *data, int64_t i, int form)
    int vgi_add_number(vgi_numbers *s, uint64_t key)
    int vgi_add_bytes(vgi_byte_set *s, int64_t k)
    uint64_t vgi_hash(const uint8_t *d, int64_t size, uint64_t seed)
    void vgi_box_rows(const vgi_slots *s, int64_t n, const uint64_t *within, const double *box, uint64_t *out)
    int vgi_box_of(const uint8_t *d, int64_t size, double *box)
    int vgi_arithmetic(const void *data, int64_t n, const uint64_t *within, const int *ops, const int64_t *constants,
                       int n_ops, int64_t low, int64_t high, uint64_t flip, uint64_t *out)
    enum:
        VGI_ADD
        VGI_SUBTRACT
        VGI_SUBTRACT_FROM
        VGI_MULTIPLY
        VGI_MODULO
    void vgi_lookup(const void *data, int64_t n, int width, const uint64_t *within, const uint64_t *lut,
                    uint64_t *out)


def allow_wide_kernels(bint allowed):
    """Whether loops for this processor are used instead of those for any; tests compare the two."""
    return bool(vgi_allow_wide(allowed))


cdef uint64_t hash_seed = 0


cdef uint64_t the_seed() except? 0:
    """Drawn once a process, so that a peer cannot choose keys that collide. Odd."""
    global hash_seed
    if hash_seed == 0:
        import os
        hash_seed = <uint64_t> int.from_bytes(os.urandom(8), "little") | 1
    return hash_seed


cdef bint text_slots(PlanNode *p, Node *n, int64_t at, vgi_slots *out) noexcept nogil:
    """Where the texts or fixed-width values from physical row ``at`` on are; False for another layout."""
    out.layout = VGI_SLOTS_FIXED
    out.slots = n.buf[1]
    out.data = n.buf[2]
    out.buffers = <const uint8_t **> n.data
    out.width = p.width
    if p.layout == L_VAR32:
        out.layout = VGI_SLOTS_32
        out.slots = n.buf[1] + 4 * at
    elif p.layout == L_VAR64:
        out.layout = VGI_SLOTS_64
        out.slots = n.buf[1] + 8 * at
    elif p.layout == L_VIEW:
        out.layout = VGI_SLOTS_VIEW
        out.slots = n.buf[1] + 16 * at
    elif p.layout == L_FIXED:
        out.data = n.buf[1] + at * p.width
    else:
        return False
    return True
