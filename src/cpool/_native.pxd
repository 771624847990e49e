"""What `cimport cpool` offers: pooling without the interpreter. No headers are needed to compile against it."""

from libc.stdint cimport int64_t


cdef class Pool:
    cdef object call          # holds what `ready` points to
    cdef const void *ready
    cdef int64_t scratch

    # Pools x into out on the calling thread; 0, or -1 if there was no memory. From any number of threads at once.
    cdef int run(self, const void *x, void *out) noexcept nogil
