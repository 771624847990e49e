# distutils: language = c
"""DLPack's capsules, read and written by ourselves: NumPy's reader and writer know no bfloat16.

The structures are those of the DLPack specification, version 1, and of the unversioned capsules before it.
"""

from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

cimport numpy as cnp

cnp.import_array()

cdef extern from "Python.h":
    int Py_IsInitialized() nogil
    ctypedef struct PyTypeObject:
        pass

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(PyTypeObject *subtype, cnp.PyArray_Descr *descr, int nd, const cnp.npy_intp *dims,
                                const cnp.npy_intp *strides, void *data, int flags, object obj)

cdef struct Device:
    int32_t kind
    int32_t number

cdef struct Element:
    uint8_t code
    uint8_t bits
    uint16_t lanes

cdef struct Tensor:
    void *data
    Device device
    int32_t ndim
    Element element
    int64_t *shape
    int64_t *strides  # in elements; NULL for C order
    uint64_t offset   # in bytes

cdef struct Plain:  # the capsule "dltensor"
    Tensor tensor
    void *owner
    void (*release)(Plain *self) noexcept

cdef struct Versioned:  # the capsule "dltensor_versioned"
    uint32_t major, minor
    void *owner
    void (*release)(Versioned *self) noexcept
    uint64_t flags
    Tensor tensor

cdef uint64_t READ_ONLY = 1
cdef int MOST_AXES = 64
HOST = (1, 3, 11)  # kinds of devices whose memory the host reads: its own, and what CUDA or ROCm pinned
CPU = (1, 0)


cdef class Borrowed:
    """Another library's memory, given back when no array lies in it any more."""

    cdef Plain *plain
    cdef Versioned *versioned

    def __dealloc__(self):
        if self.plain != NULL and self.plain.release != NULL:
            self.plain.release(self.plain)
        if self.versioned != NULL and self.versioned.release != NULL:
            self.versioned.release(self.versioned)


def read(capsule, dict types not None):
    """The capsule's tensor as an array over the same memory; `types` gives the dtype for (code, bits)."""
    cdef Borrowed memory = Borrowed.__new__(Borrowed)
    cdef Tensor *tensor
    cdef bint writeable = False  # unversioned capsules can't tell: jax's arrays must not be written
    if PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        memory.versioned = <Versioned *> PyCapsule_GetPointer(capsule, b"dltensor_versioned")
        PyCapsule_SetName(capsule, b"used_dltensor_versioned")
        if memory.versioned.major != 1:
            raise BufferError(f"it speaks DLPack {memory.versioned.major}, 1 is known here")
        tensor = &memory.versioned.tensor
        writeable = not memory.versioned.flags & READ_ONLY
    else:
        memory.plain = <Plain *> PyCapsule_GetPointer(capsule, b"dltensor")
        PyCapsule_SetName(capsule, b"used_dltensor")
        tensor = &memory.plain.tensor
    return array_of(tensor, memory, types, writeable)


cdef object array_of(Tensor *tensor, Borrowed memory, dict types, bint writeable):
    cdef cnp.npy_intp[64] shape, strides
    cdef int64_t step
    cdef int i
    cdef cnp.ndarray array
    element = (tensor.element.code, tensor.element.bits)
    dtype = types.get(element)
    if dtype is None or tensor.element.lanes != 1:
        raise BufferError(
            f"elements of {tensor.element.bits} bits, DLPack's kind {tensor.element.code}, are not supported")
    if tensor.device.kind not in HOST:
        raise BufferError(f"it lies on DLPack's device {(tensor.device.kind, tensor.device.number)}")
    if not 0 <= tensor.ndim <= MOST_AXES:
        raise BufferError(f"{tensor.ndim} axes are too many")
    step = dtype.itemsize
    for i in reversed(range(tensor.ndim)):
        if tensor.shape[i] < 0:
            raise BufferError(f"axis {i} has length {tensor.shape[i]}")
        shape[i] = tensor.shape[i]
        strides[i] = step if tensor.strides == NULL else tensor.strides[i] * dtype.itemsize
        step *= max(tensor.shape[i], 1)
    if tensor.data == NULL:  # there are no elements
        array = cnp.PyArray_EMPTY(tensor.ndim, shape, cnp.NPY_UINT8, 0)
        if array.size:
            raise BufferError("it has no memory")
        return array.astype(dtype)
    Py_INCREF(dtype)
    array = PyArray_NewFromDescr(
        <PyTypeObject *> cnp.ndarray, <cnp.PyArray_Descr *> dtype, tensor.ndim, shape, strides,
        <char *> tensor.data + tensor.offset, cnp.NPY_ARRAY_WRITEABLE if writeable else 0, None)
    cnp.PyArray_UpdateFlags(array, cnp.NPY_ARRAY_C_CONTIGUOUS | cnp.NPY_ARRAY_F_CONTIGUOUS | cnp.NPY_ARRAY_ALIGNED)
    cnp.set_array_base(array, memory)
    return array


cdef class Lent:
    """An array of NumPy for other libraries to take, as elements that its dtype doesn't tell them of."""

    cdef cnp.ndarray array
    cdef uint8_t code

    def __cinit__(self, cnp.ndarray array not None, int code):
        self.array, self.code = array, code

    def __dlpack_device__(self):
        """The CPU."""
        return CPU

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """A capsule; versioned, if the other side knows versions."""
        cdef cnp.ndarray array = self.array
        cdef Plain *plain
        cdef Versioned *versioned
        if dl_device is not None and tuple(dl_device) != CPU:
            raise BufferError(f"the array lies on the CPU, not on device {dl_device}")
        if copy:
            array = array.copy()
        if max_version is None or max_version[0] < 1:
            if not cnp.PyArray_ISWRITEABLE(array):
                raise BufferError("the array is read-only, which unversioned capsules can't tell")
            plain = <Plain *> malloc(sizeof(Plain))
            if plain == NULL:
                raise MemoryError()
            if fill(&plain.tensor, array, self.code) < 0:
                free(plain)
                raise MemoryError()
            plain.owner, plain.release = keep(array), release_plain
            return PyCapsule_New(plain, b"dltensor", drop_plain)
        versioned = <Versioned *> malloc(sizeof(Versioned))
        if versioned == NULL:
            raise MemoryError()
        if fill(&versioned.tensor, array, self.code) < 0:
            free(versioned)
            raise MemoryError()
        versioned.major, versioned.minor = 1, 0
        versioned.flags = 0 if cnp.PyArray_ISWRITEABLE(array) else READ_ONLY
        versioned.owner, versioned.release = keep(array), release_versioned
        return PyCapsule_New(versioned, b"dltensor_versioned", drop_versioned)


cdef int fill(Tensor *tensor, cnp.ndarray array, uint8_t code) noexcept:
    """Describe the array; -1 without memory for that."""
    cdef int i
    tensor.data = cnp.PyArray_DATA(array)
    tensor.device.kind, tensor.device.number = 1, 0
    tensor.ndim = array.ndim
    tensor.element.code = code
    tensor.element.bits = <uint8_t> (8 * cnp.PyArray_ITEMSIZE(array))
    tensor.element.lanes = 1
    tensor.offset = 0
    tensor.shape = <int64_t *> malloc((2 * array.ndim + 1) * sizeof(int64_t))
    if tensor.shape == NULL:
        return -1
    tensor.strides = tensor.shape + array.ndim
    for i in range(array.ndim):
        tensor.shape[i] = array.shape[i]
        tensor.strides[i] = cnp.PyArray_STRIDES(array)[i] // cnp.PyArray_ITEMSIZE(array)
    return 0


cdef void *keep(object owner) noexcept:
    Py_INCREF(owner)
    return <void *> owner


cdef void let_go(void *owner, int64_t *shape) noexcept with gil:
    free(shape)
    Py_DECREF(<object> owner)


cdef void release_plain(Plain *self) noexcept nogil:
    if Py_IsInitialized():  # else nobody is left whom it matters to
        let_go(self.owner, self.tensor.shape)
    free(self)


cdef void release_versioned(Versioned *self) noexcept nogil:
    if Py_IsInitialized():
        let_go(self.owner, self.tensor.shape)
    free(self)


cdef void drop_plain(object capsule) noexcept:
    """Of a capsule that nobody took."""
    if PyCapsule_IsValid(capsule, b"dltensor"):
        release_plain(<Plain *> PyCapsule_GetPointer(capsule, b"dltensor"))


cdef void drop_versioned(object capsule) noexcept:
    if PyCapsule_IsValid(capsule, b"dltensor_versioned"):
        release_versioned(<Versioned *> PyCapsule_GetPointer(capsule, b"dltensor_versioned"))
