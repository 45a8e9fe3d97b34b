# Owns: compiled C functions over columns, without Python code per batch.
# May use: types, cdata.
# A kernel never takes the interpreter lock; the loop that calls it releases it from RELEASE_ROWS rows on.

cdef enum:
    RELEASE_ROWS = 16384

ctypedef void (*LoopFunction)(char **args, const intptr_t *dimensions, const intptr_t *strides,
                              void *data) noexcept nogil
ctypedef double (*D1)(double) noexcept nogil
ctypedef double (*D2)(double, double) noexcept nogil
ctypedef double (*D3)(double, double, double) noexcept nogil
ctypedef double (*D4)(double, double, double, double) noexcept nogil
ctypedef int64_t (*I1)(int64_t) noexcept nogil
ctypedef int64_t (*I2)(int64_t, int64_t) noexcept nogil
ctypedef int64_t (*I3)(int64_t, int64_t, int64_t) noexcept nogil
ctypedef int64_t (*I4)(int64_t, int64_t, int64_t, int64_t) noexcept nogil


cdef extern from "numpy/ufuncobject.h":
    ctypedef struct PyUFuncObject:
        int nin
        int nout
        int nargs
        LoopFunction *functions
        void **data
        int ntypes
        const char *types


@cython.final
cdef class Kernel:
    """Immutable; any thread, as far as the C function allows it."""
    cdef void *pointer
    cdef void *data                     # handed to a loop
    cdef readonly str signature
    cdef readonly int arity
    cdef readonly DataType type         # of arguments and result; None for "loop"
    cdef object keep_alive

    def __init__(self, pointer, str signature not None, keep_alive=None):
        self.signature = "".join(signature.split())
        self.keep_alive = (pointer, keep_alive)
        self.arity, self.type = parse_signature(signature)
        self.pointer = address_of(pointer)

    cdef void run(self, char **args, intptr_t n, intptr_t *strides) noexcept nogil:
        """args: inputs, then the output; strides in bytes."""
        if self.arity == 0:
            (<LoopFunction> self.pointer)(args, &n, strides, self.data)
        elif self.type.id == T_FLOAT64:
            self.run_doubles(args, n)
        else:
            self.run_integers(args, n)

    cdef void run_doubles(self, char **args, intptr_t n) noexcept nogil:
        cdef intptr_t i
        cdef double *out = <double *> args[self.arity]
        cdef const double *a = <const double *> args[0]
        cdef const double *b = <const double *> args[1]
        cdef const double *c
        cdef const double *d
        if self.arity == 1:
            for i in range(n):
                out[i] = (<D1> self.pointer)(a[i])
            return
        if self.arity == 2:
            for i in range(n):
                out[i] = (<D2> self.pointer)(a[i], b[i])
            return
        c = <const double *> args[2]
        if self.arity == 3:
            for i in range(n):
                out[i] = (<D3> self.pointer)(a[i], b[i], c[i])
            return
        d = <const double *> args[3]
        for i in range(n):
            out[i] = (<D4> self.pointer)(a[i], b[i], c[i], d[i])

    cdef void run_integers(self, char **args, intptr_t n) noexcept nogil:
        cdef intptr_t i
        cdef int64_t *out = <int64_t *> args[self.arity]
        cdef const int64_t *a = <const int64_t *> args[0]
        cdef const int64_t *b = <const int64_t *> args[1]
        cdef const int64_t *c
        cdef const int64_t *d
        if self.arity == 1:
            for i in range(n):
                out[i] = (<I1> self.pointer)(a[i])
            return
        if self.arity == 2:
            for i in range(n):
                out[i] = (<I2> self.pointer)(a[i], b[i])
            return
        c = <const int64_t *> args[2]
        if self.arity == 3:
            for i in range(n):
                out[i] = (<I3> self.pointer)(a[i], b[i], c[i])
            return
        d = <const int64_t *> args[3]
        for i in range(n):
            out[i] = (<I4> self.pointer)(a[i], b[i], c[i], d[i])


cdef Kernel kernel_of_ufunc(object ufunc, list type_numbers):
    """The inner loop that a ufunc has for exactly these NumPy type numbers (inputs, then the output), or None.

    Calling it saves the ufunc's own argument handling, which for 2,048 rows costs as much as the arithmetic.
    """
    cdef PyUFuncObject *u
    cdef Kernel found
    cdef int i, k
    need_numpy()
    if type(ufunc) is not np.ufunc:
        return None
    u = <PyUFuncObject *> <PyObject *> ufunc
    if u.nout != 1 or u.nargs != len(type_numbers) or u.functions == NULL or u.types == NULL:
        return None
    for i in range(u.ntypes):
        for k in range(u.nargs):
            if u.types[i * u.nargs + k] != type_numbers[k]:
                break
        else:
            if u.functions[i] == NULL:
                return None
            found = Kernel.__new__(Kernel)
            found.signature = "loop"
            found.pointer = <void *> u.functions[i]
            found.data = u.data[i] if u.data != NULL else NULL
            found.keep_alive = ufunc
            return found
    return None


def parse_signature(str signature):
    """(number of inputs, their type) of ``double(double, double)``; (0, None) of ``loop``."""
    cdef str text = signature.strip()
    if text == "loop":
        return 0, None
    result, cut, rest = text.partition("(")
    parameters = [p.strip() for p in rest.rstrip(")").split(",")]
    names = {"double": "float64", "float64": "float64", "int64_t": "int64", "int64": "int64", "long": "int64"}
    kinds = {names.get(p) for p in [result.strip(), *parameters]}
    if not cut or not text.endswith(")") or len(kinds) != 1 or None in kinds or not 1 <= len(parameters) <= 4:
        raise ValueError(
            f"kernel signature {signature!r} is not supported: expected 'loop', or one to four parameters and a "
            f"result of one type, such as 'double(double, double)' or 'int64_t(int64_t)'")
    return len(parameters), parse_type(kinds.pop())


cdef void *address_of(object pointer) except NULL:
    cdef const char *name
    if PyCapsule_CheckExact(pointer):
        name = PyCapsule_GetName(pointer)
        return PyCapsule_GetPointer(pointer, name)
    if hasattr(pointer, "address"):
        pointer = pointer.address
    if hasattr(pointer, "value"):
        pointer = pointer.value
    if not isinstance(pointer, int) or pointer <= 0:
        raise TypeError("expected a function address, a PyCapsule or an object with 'address'")
    return <void *> <uintptr_t> pointer
