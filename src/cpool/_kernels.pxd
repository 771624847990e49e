"""The compiled core. `Call` is a plan made ready for the CPU: its tables as C arrays."""

from libc.stdint cimport int64_t

cimport numpy as cnp


cdef extern from "simd/cpool_simd.h" nogil:
    ctypedef struct cpool_job:
        pass
    ctypedef struct cpool_fold:
        int64_t outputs, c, step
        const int64_t *start
        const int64_t *count
        int64_t vectors
        int64_t uniform
        const int64_t *perm
        const int64_t *perm_at
        int thin
    ctypedef struct cpool_kernels:
        pass
    ctypedef struct cpool_isa:
        const char *name
        cpool_kernels of[2]
        void (*read)(const char *data, int64_t bytes) noexcept nogil
    ctypedef struct cpool_pool:
        int64_t m, x_stride, out_stride, step, index_stride
        const int64_t *start
        const int64_t *count
    ctypedef struct cpool_tile:
        int64_t first, last, column, columns
        cpool_fold fold
    ctypedef struct cpool_call:
        const cpool_isa *isa
        const cpool_kernels *kernels
        int reducer
        int type, out_type, kind, path, size, out_size, pack, swap, kept
        int64_t kept_len[66]
        int64_t kept_x[66]
        int64_t kept_out[66]
        int64_t lines
        int outer
        cpool_pool pool[66]
        int64_t outer_windows, max_rows
        const int64_t *row_at
        const int64_t *row_off
        cpool_pool inner
        int64_t channels, channel_x, channel_out
        int lanes
        int64_t tiles
        const cpool_tile *tile
        int64_t channel_tile
        int quick, far
        int64_t next
        int64_t plane, line, results
        const int64_t *divisor_row
        const double *divisor
        const double *reciprocal
        const double *divisor_wide
        const double *reciprocal_wide
        int dense_out
        int64_t units, acc_len, sums_len, group, planes
    ctypedef struct cpool_scaling:
        const cpool_isa *isa
        int type, size, last
        int64_t batch, channels, inner
        const char *factor
    void cpool_scale_run(const cpool_scaling *c, const char *x, char *out, int64_t begin, int64_t end) noexcept
    ctypedef enum cpool_function "enum cpool_function":
        CPOOL_IDENTITY, CPOOL_RELU, CPOOL_RELU6, CPOOL_SIGMOID
        CPOOL_HARDSIGMOID, CPOOL_SILU, CPOOL_HARDSWISH, CPOOL_TANH
    enum: CPOOL_F32, CPOOL_F64
    ctypedef struct cpool_dense:
        const cpool_isa *isa
        int type, bias_type, single
        cpool_function function
        int64_t batch, terms, rows
        const double *x
        const char *w
        const char *bias
        char *out
    int64_t cpool_dense_units(const cpool_dense *d) noexcept
    int64_t cpool_dense_scratch(const cpool_dense *d) noexcept
    void cpool_dense_run(const cpool_dense *d, int64_t begin, int64_t end, void *scratch) noexcept
    ctypedef struct cpool_division:
        int type, size
        int64_t planes, length, inner
        const double *by
        const double *reciprocal
    ctypedef struct cpool_spread:
        int axes, inside, far
        int64_t m[66]
        int64_t stride[66]
        const int64_t *at[66]
        int64_t block, most, pieces, bytes
        int64_t kept_out[66]
    ctypedef struct cpool_work:
        const cpool_call *call
        const cpool_division *division
        const cpool_spread *spread
        int64_t pieces
    int64_t cpool_work_scratch(const cpool_work *w) noexcept
    void cpool_work_run(const cpool_work *w, const char *x, char *out, int64_t *indices, int64_t begin, int64_t end,
                        void *scratch) noexcept
    ctypedef struct cpool_scatter:
        const cpool_isa *isa
        int type, size
        int64_t outer, outputs, length, inner, chunks
        int parted, zeros
        int64_t *lowest
        int64_t *highest
    void cpool_scatter_cut(cpool_scatter *c) noexcept
    int cpool_scatter_is_sparse(const cpool_scatter *c) noexcept
    int64_t cpool_scatter_units(const cpool_scatter *c) noexcept
    int64_t cpool_scatter_scratch() noexcept
    int cpool_scatter_look(const cpool_scatter *c, const int64_t *indices, int64_t begin, int64_t end) noexcept
    ctypedef enum cpool_scattered "enum cpool_scattered":
        CPOOL_SCATTERED, CPOOL_SCATTERED_BAD, CPOOL_SCATTERED_BLIND
    cpool_scattered cpool_scatter_run(const cpool_scatter *c, const char *grad, const int64_t *indices, char *out,
                                      int64_t begin, int64_t end, void *scratch) noexcept
    ctypedef unsigned int cpool_mode
    int CPOOL_MAXDIM, CPOOL_AVG, CPOOL_MAX
    int CPOOL_PATH_ROWS, CPOOL_PATH_PIXELS, CPOOL_PATH_LANES, CPOOL_PATH_WIDE, CPOOL_PATH_COPY, CPOOL_PATH_PLANES
    const cpool_isa *cpool_isa_at(int index) noexcept
    int64_t cpool_blocks(const cpool_call *call, int64_t unit) noexcept
    void cpool_run_block(const cpool_call *call, const char *x, int64_t unit, int64_t block, double *partial,
                         void *scratch) noexcept
    void cpool_run_total(const cpool_call *call, const char *x, char *out, int64_t *indices, int64_t unit,
                         int64_t blocks, int first, int last, const double *partials, double *total,
                         void *scratch) noexcept
    cpool_mode cpool_mode_enter() noexcept
    void cpool_mode_leave(cpool_mode old) noexcept


cdef struct Team:
    # what the threads of one region share
    void (*run)(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil
    const cpool_call *call
    const cpool_work *work
    const cpool_scatter *gradients
    const cpool_scaling *scaling
    const cpool_dense *layer
    const char *x
    char *out
    int64_t *indices          # where the largest are, or NULL
    int64_t begin, end, chunk, scratch
    int64_t together          # pieces that share work: a chunk is no smaller
    int64_t unit              # the window whose blocks are spread
    double *partials
    int64_t partial
    int64_t next, arrived
    int64_t bad               # whether an index lies outside its plane
    int64_t blind             # whether indices must be looked at first
    char *memory
    int64_t cost              # nanoseconds of the work on one thread
    int cpu                   # where the thread runs that started the region


cdef class Layout:
    # how an array lies in memory
    cdef object dtype
    cdef int ndim
    cdef cnp.npy_intp dims[66]
    cdef cnp.npy_intp strides[66]

    cdef bint holds(self, cnp.ndarray array) noexcept
    cdef int64_t size(self) noexcept
    cdef object made(self)
    cdef object empty(self)
    cdef object zeros(self)


cdef class Call:
    cdef cpool_call c
    cdef cpool_tile *tiles
    cdef cpool_division division
    cdef cpool_spread spread
    cdef cpool_work work
    cdef readonly object plan
    cdef object tables  # the arrays that c points into
    cdef readonly str path
    cdef Layout result
    cdef readonly int64_t scratch
    cdef readonly int64_t cost  # nanoseconds on one thread: estimated, then measured
    cdef bint measured
    cdef int guesses  # runs alone that are still to be made

    cdef int start(self, cnp.ndarray x, cnp.ndarray out, int64_t *indices, threads) except -1
    cdef int execute(self, const char *x, char *out, int64_t *indices, int threads) except -1
    cdef int execute_blocks(self, Team *team, int size) except -1
    cdef void total(self, Team *team, int64_t unit, int64_t blocks, bint first, bint last, int64_t at) noexcept nogil
    cdef int most(self, int threads) noexcept
    cdef void learn(self, int64_t took) noexcept
    cdef set_division(self, dict spec)
    cdef set_spread(self, dict spec)
    cdef set_tiles(self, list tiles)


# A call on the calling thread, without the GIL; 0, or -1 if there was no memory. For _native.
cdef int pool_alone(const void *work, int64_t scratch, const char *x, char *out) noexcept nogil
