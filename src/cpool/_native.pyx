# distutils: language = c
"""A prepared call for the loops of other extensions, which hold no GIL."""

from cpool._kernels cimport Call, pool_alone

from cpool import cpu
from cpool.errors import bad_kind, bad_value
from cpool.explain import Prepared


cdef class Pool:
    """What `cpool.prepare` prepared, to be run from Cython without the GIL: see docs/cimport.md.

    >>> import numpy as np, cpool
    >>> cpool.Pool(cpool.prepare("adaptive_avg_pool2d", np.ones((64, 10, 9), np.float32), 7)).out_shape
    (64, 7, 7)
    """

    def __cinit__(self, prepared):
        cdef Call call
        if not isinstance(prepared, Prepared):
            bad_kind("prepared", type(prepared), "what cpool.prepare(...) gives is needed")
        if prepared.backend != "cpu":
            bad_value("prepared", prepared, "a call that runs on the CPU is needed: backend='cpu'")
        if prepared.plan.indexed:
            bad_value("prepared", prepared, "a call without return_indices is needed")
        call = cpu.call_of(prepared.plan)
        self.call, self.ready, self.scratch = call, &call.work, call.scratch

    cdef int run(self, const void *x, void *out) noexcept nogil:
        return pool_alone(self.ready, self.scratch, <const char *> x, <char *> out)

    @property
    def x_shape(self):
        """The shape that x must have."""
        return self.call.plan.x_shape

    @property
    def x_strides(self):
        """The bytes between elements of x: those of the array with which the call was prepared."""
        return self.call.plan.x_strides

    @property
    def x_dtype(self):
        """The type that x must have."""
        return self.call.plan.x_dtype

    @property
    def out_shape(self):
        """The shape that out must have."""
        return self.call.plan.out_shape

    @property
    def out_strides(self):
        """The bytes between elements of out, which lies packed, in the order of the axes of x."""
        return self.call.out_strides()

    @property
    def out_dtype(self):
        """The type that out must have."""
        return self.call.plan.out_dtype

    def __repr__(self):
        return f"<pool {self.call.plan.operation}: {self.x_shape} -> {self.out_shape}>"
