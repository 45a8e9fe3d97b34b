# distutils: language = c
# cython: language_level=3
"""The compiled core: Arrow types, arrays and IPC without pyarrow, and the loops over them.

One module, so that every call inside it is a C call; split into parts that are included in the
order in which they build on each other. The public face is ``_core.pyi``.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport (PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_CheckBuffer,
                             PyObject_GetBuffer)
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_CheckExact, PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_New
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.errno cimport EAGAIN, EINTR, EINVAL, ENOSYS, errno
from libc.stdint cimport (int8_t, int16_t, int32_t, int64_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t,
                          uintptr_t, INT32_MAX, INT64_MAX)
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

cimport cython

from vgi_fast.errors import ArgumentError, InternalError, ProtocolError, TransportError, TypeMismatchError

cdef class DataType
cdef class Field
cdef class Schema
cdef class Array
cdef class RecordBatch
cdef class BatchTemplate
cdef class Kernel
cdef class Segment

include "_core_parts/debug.pxi"      # memory: blocks, held buffers, live-object counters
include "_core_parts/trace.pxi"      # where the time goes
include "_core_parts/span.pxi"       # bounded reading of peer bytes, flatbuffer tables
include "_core_parts/builder.pxi"    # flatbuffer writing
include "_core_parts/bitmap.pxi"     # validity bitmaps
include "_core_parts/types.pxi"      # DataType, Field, Schema and their flat plans
include "_core_parts/typetext.pxi"   # the text form of types
include "_core_parts/schema.pxi"     # Schema messages, both directions
include "_core_parts/cdata.pxi"      # Arrow C Data Interface, both directions
include "_core_parts/arrays.pxi"     # Array and RecordBatch
include "_core_parts/values.pxi"     # Python values, both directions
include "_core_parts/numpy.pxi"      # NumPy views, both directions
include "_core_parts/validate.pxi"   # every length and offset inside a received batch
include "_core_parts/frame.pxi"      # record batch and dictionary messages, both directions
include "_core_parts/shm.pxi"        # shared-memory segments
include "_core_parts/stream.pxi"     # Input and Output
include "_core_parts/pointers.pxi"   # batches in shared memory, both directions
include "_core_parts/kernels.pxi"    # compiled functions over columns
include "_core_parts/filter_kernels.pxi"    # tests of columns against constants
include "_core_parts/inset.pxi"      # values of IN lists, hashed
include "_core_parts/select.pxi"     # chosen rows of a batch
include "_core_parts/assemble.pxi"   # rows of several batches as one
include "_core_parts/filter_plan.pxi"       # filters bound to a schema
include "_core_parts/statistics.pxi" # extremes and distinct values of a column
include "_core_parts/partition.pxi"  # values of partition columns beside each batch
include "_core_parts/exchange.pxi"   # the scalar plan and the exchange loop
include "_core_parts/process.pxi"    # children that end with their parent
include "_core_parts/nested.pxi"     # records inside a cell, read in place
include "_core_parts/state.pxi"      # states of groups in shared memory
include "_core_parts/groups.pxi"     # reductions over groups
include "_core_parts/collect.pxi"    # values collected by group
include "_core_parts/window.pxi"     # frames over indexes of a partition, running results
include "_core_parts/inout.pxi"      # batches under another schema, for table-in-out functions
include "_core_parts/spool.pxi"      # received batches in files, and their replay
