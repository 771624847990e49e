# distutils: language = c
"""The Cython core: calls made ready, threads, slices. The inner loops are C, in simd/."""

from cython.parallel cimport parallel
from cpython.exc cimport PyErr_CheckSignals
from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t, intptr_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cimport numpy as cnp

cnp.import_array()

cdef extern from "simd/threads.h" nogil:
    int cpool_openmp() noexcept
    int cpool_team_rank() noexcept
    int cpool_team_size() noexcept
    int cpool_openmp_threads() noexcept
    int cpool_processors() noexcept
    int64_t cpool_take(int64_t *next) noexcept
    int64_t cpool_look(int64_t *value) noexcept
    int64_t cpool_now() noexcept
    void cpool_yield() noexcept
    int cpool_cpu() noexcept
    void cpool_leave_cpu(int cpu) noexcept
    void cpool_pause() noexcept
    int cpool_forked() noexcept
    void cpool_watch_fork() noexcept
    void *cpool_scratch_take(int64_t bytes) noexcept
    void cpool_scratch_give(void *scratch) noexcept

cdef extern from "simd/memory.h" nogil:
    int cpool_memory_is_kept() noexcept
    int cpool_memory_waits(size_t size) noexcept
    int64_t cpool_memory_waiting() noexcept
    int64_t cpool_memory_most() noexcept
    void *cpool_memory_new(void *context, size_t size) noexcept
    void *cpool_memory_zeros(void *context, size_t count, size_t size) noexcept
    void *cpool_memory_resized(void *context, void *memory, size_t size) noexcept
    void cpool_memory_free(void *context, void *memory, size_t size) noexcept

cdef extern from *:
    """
    #if defined(__clang__)
    #define CPOOL_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define CPOOL_COMPILER "gcc " __VERSION__
    #elif defined(_MSC_VER)
    #define CPOOL_COMPILER "msvc"
    #else
    #define CPOOL_COMPILER "unknown"
    #endif
    """
    const char *CPOOL_COMPILER

cdef extern from "Python.h":
    ctypedef struct PyTypeObject:
        pass

cdef extern from "numpy/arrayobject.h":
    object PyArray_Zeros(int nd, const cnp.npy_intp *dims, cnp.PyArray_Descr *descr, int fortran)
    object PyArray_NewFromDescr(PyTypeObject *subtype, cnp.PyArray_Descr *descr, int nd, const cnp.npy_intp *dims,
                                const cnp.npy_intp *strides, void *data, int flags, object obj)
    ctypedef struct PyDataMemAllocator:
        void *ctx
        void *(*malloc)(void *context, size_t size) noexcept nogil
        void *(*calloc)(void *context, size_t count, size_t size) noexcept nogil
        void *(*realloc)(void *context, void *memory, size_t size) noexcept nogil
        void (*free)(void *context, void *memory, size_t size) noexcept nogil
    ctypedef struct PyDataMem_Handler:
        char name[127]
        uint8_t version
        PyDataMemAllocator allocator
    object PyDataMem_SetHandler(object handler)
    void *PyDataMem_DefaultHandler  # NumPy's own

cpool_watch_fork()

# Measured costs in nanoseconds; see docs/performance.md. Integers: no decision leaves the caller a floating-point flag.
cdef int64_t TEAM_WARM = 4000    # work that two warm threads finish as fast as one
cdef int64_t TEAM_COLD = 150_000  # the same when the other thread sleeps
cdef int64_t WARM = 2_000_000    # a worker spins this long after its last work
cdef int64_t STALL = 1_500_000   # a region that takes so long, and thrice its work, waited for a processor
cdef int64_t TRUCE = 50_000_000  # for so long, work below that is not split
cdef int64_t SLICE = 50_000_000  # work between two looks at Ctrl-C
cdef int64_t RELEASE = 5000      # work below which the GIL is kept
cdef int64_t GUESS = 20_000      # an estimate below that is replaced
cdef int RUNS = 8                # ... by what so many runs alone take
cdef int64_t MAPPED = 32 << 20   # bytes above which C libraries hand out pages that nobody used
cdef int64_t APART = 1 << 20     # ... between gradients, from which most of these stay untouched

cdef int64_t last_team = 0       # when a team of threads last ended
cdef int64_t last_call = 0       # when a call last stayed alone though a team would have paid
cdef int64_t lonely = 0          # how many such calls followed each other without a pause
cdef int64_t crowded = 0         # until when small work is not split
cdef bint force_team = False     # tests: split everything

PATHS = {
    "rows": CPOOL_PATH_ROWS, "pixels": CPOOL_PATH_PIXELS, "lanes": CPOOL_PATH_LANES, "wide": CPOOL_PATH_WIDE,
    "copy": CPOOL_PATH_COPY, "planes": CPOOL_PATH_PLANES,
}
REDUCERS = {"avg": CPOOL_AVG, "max": CPOOL_MAX}


def isa_names():
    """The instruction sets of this machine, best first."""
    names = []
    cdef const cpool_isa *isa
    cdef int i = 0
    while (isa := cpool_isa_at(i)) != NULL:
        names.append((<bytes> isa.name).decode())
        i += 1
    return tuple(names)


def build_info():
    """How the extension was built."""
    return {"compiler": (<bytes> CPOOL_COMPILER).decode(), "openmp": bool(cpool_openmp())}


def processors():
    """How many processors this thread may run on now; 0 if that can't be told."""
    return cpool_processors()


def openmp_threads():
    """How many threads OpenMP would use for a region."""
    return cpool_openmp_threads()


def is_forked():
    """Whether this process is the child of a fork, where everything runs on one thread."""
    return bool(cpool_forked())


def split_everything(on):
    """Split even the smallest work, whatever it costs; for tests. Returns what was set before."""
    global force_team
    before, force_team = force_team, bool(on)
    return before


def read(const unsigned char[::1] data not None, str isa):
    """Read the bytes as fast as this instruction set can: the limit that pooling is held against."""
    cdef const cpool_isa *table = find_isa(isa)
    cdef int64_t n = data.shape[0]
    if n:
        with nogil:
            table.read(<const char *> &data[0], n)


cdef const cpool_isa *find_isa(str name) except NULL:
    cdef int i = 0
    cdef const cpool_isa *isa
    while (isa := cpool_isa_at(i)) != NULL:
        if (<bytes> isa.name).decode() == name:
            return isa
        i += 1
    raise ValueError(f"instruction set {name!r} is not one of {isa_names()}")


cdef const int64_t *ints(cnp.ndarray array):
    return <const int64_t *> cnp.PyArray_DATA(array)


cdef const double *doubles(cnp.ndarray array):
    return <const double *> cnp.PyArray_DATA(array)


cdef void set_pool(cpool_pool *pool, dict axis):
    pool.m = axis["m"]
    pool.x_stride = axis["x_stride"]
    pool.out_stride = axis["out_stride"]
    pool.step = axis["step"]
    pool.index_stride = axis["index_stride"]
    pool.start = ints(axis["start"])
    pool.count = ints(axis["count"])


cdef void run_units(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    cpool_work_run(team.work, team.x, team.out, team.indices, begin, end, scratch)


cdef void run_blocks(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    cdef int64_t i
    for i in range(begin, end):
        cpool_run_block(team.call, team.x, team.unit, i, team.partials + (i - team.begin) * team.partial, scratch)


cdef void run_scatter(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    cdef cpool_scattered how = cpool_scatter_run(team.gradients, team.x, team.indices, team.out, begin, end, scratch)
    if how != CPOOL_SCATTERED:
        cpool_take(<int64_t *> (&team.bad if how == CPOOL_SCATTERED_BAD else &team.blind))


cdef void run_look(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    if cpool_scatter_look(team.gradients, team.indices, begin, end):
        cpool_take(<int64_t *> &team.bad)


cdef void run_dense(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    cpool_dense_run(team.layer, begin, end, scratch)


cdef void run_scale(const Team *team, int64_t begin, int64_t end, void *scratch) noexcept nogil:
    cpool_scale_run(team.scaling, team.x, team.out, begin, end)


cdef void work(Team *team) noexcept nogil:
    """What each thread does: take pieces until none is left."""
    cdef int rank = cpool_team_rank(), size = cpool_team_size()
    cdef void *scratch = team.memory + rank * team.scratch
    cdef int64_t i
    cdef int spins = 0
    cdef cpool_mode mode
    if rank:
        cpool_leave_cpu(team.cpu)
    mode = cpool_mode_enter()
    while True:
        i = team.begin + cpool_take(&team.next) * team.chunk
        if i >= team.end:
            break
        team.run(team, i, min(i + team.chunk, team.end), scratch)
    cpool_mode_leave(mode)
    cpool_take(&team.arrived)
    # A worker that just woke may sit on this very processor, and would wait there for the end of our
    # time slice while we spin in OpenMP's barrier: milliseconds. So wait here, and make room.
    while rank == 0 and cpool_look(&team.arrived) < size:
        spins += 1
        if spins < 200:
            cpool_pause()
        else:
            cpool_yield()


cdef void run_team(Team *team, int threads) noexcept nogil:
    global last_team, crowded
    cdef int64_t begun = cpool_now()
    team.next = 0
    team.arrived = 0
    if threads <= 1:
        work_alone(team)
        return
    team.cpu = cpool_cpu()
    with parallel(num_threads=threads):
        work(team)
    last_team = cpool_now()
    if last_team - begun > STALL and last_team - begun > 3 * team.cost:
        crowded = last_team + TRUCE  # others use the processors: waiting for one took a time slice


cdef void work_alone(Team *team) noexcept nogil:
    """No region, not even of one thread: all that the child of a fork can rely on."""
    cdef cpool_mode mode = cpool_mode_enter()
    team.run(team, team.begin, team.end, team.memory)
    cpool_mode_leave(mode)


cdef int run_all(Team *team, int64_t units, int threads) except -1:
    """All units, in slices: between two of them Ctrl-C is looked for."""
    cdef int64_t slices = min(units, team.cost // (SLICE * threads) + 1)
    cdef int64_t per_slice = (units + slices - 1) // slices, i = 0
    team.memory = <char *> cpool_scratch_take(team.scratch * threads)
    if team.memory == NULL:
        raise MemoryError(f"no memory for {team.scratch * threads} bytes of scratch")
    try:
        while i < units:
            team.begin, team.end = i, min(i + per_slice, units)
            # pieces of at least two microseconds, eight per thread if there are enough
            team.chunk = max((team.end - team.begin) // (8 * threads), 2000 * units // team.cost, 1)
            team.chunk = (team.chunk + team.together - 1) // team.together * team.together
            if force_team:
                team.chunk = 1
            with nogil:
                run_team(team, threads)
            i = team.end
            if i < units:
                PyErr_CheckSignals()
    finally:
        cpool_scratch_give(team.memory)
    return 0


cdef int most_threads(int wanted) noexcept nogil:
    """What a team never exceeds, whatever is asked for: where threads can't be made, OpenMP ends the process."""
    cdef int n
    if wanted <= 16:
        return wanted  # the system need not be asked
    n = cpool_processors()
    return min(wanted, max(8 * n, 16) if n else 256)


cdef int team_size(int64_t cost, int threads) noexcept nogil:
    """How many threads are worth it for `cost` nanoseconds of work."""
    global last_call, lonely
    cdef int64_t now, since
    if threads <= 1 or cpool_forked():
        return 1
    threads = most_threads(threads)
    if force_team:
        return threads
    if cost < TEAM_WARM:
        return 1
    now = cpool_now()
    if now < crowded and cost < STALL:
        return 1
    if now - last_team > WARM and cost < TEAM_COLD:
        # The others sleep. Waking them costs more than this call; a run of calls makes it worth it.
        since = now - last_call
        last_call = now
        lonely = lonely + 1 if since < 1_000_000 else 0
        if lonely * cost < 2 * TEAM_COLD:
            return 1
        lonely = 0
    return <int> min(<int64_t> threads, max(<int64_t> 2, cost // 1000))


cdef int asked(threads, int64_t cost) except -1:
    """How many threads there may be, which is only asked when it matters."""
    return threads() if cost >= TEAM_WARM or force_team else 1


cdef int run_worth(Team *team, int64_t units, threads) except -1:
    """All units, on as many threads as are worth it."""
    return run_all(team, units, team_size(team.cost, <int> min(<int64_t> asked(threads, team.cost), units)))


cdef class Layout:
    """How arrays lie in memory: native type, shape and strides."""

    def __cinit__(self, cnp.dtype dtype not None, tuple shape not None, tuple strides not None):
        cdef int i
        if len(shape) > CPOOL_MAXDIM or len(shape) != len(strides):
            raise ValueError("too many axes")
        self.dtype = dtype
        self.ndim = len(shape)
        for i in range(self.ndim):
            self.dims[i], self.strides[i] = shape[i], strides[i]

    cdef bint holds(self, cnp.ndarray array) noexcept:
        """Whether the array lies so."""
        cdef int i
        if array.ndim != self.ndim or <object> cnp.PyArray_DESCR(array) is not self.dtype:
            return False
        for i in range(self.ndim):
            if array.shape[i] != self.dims[i] or cnp.PyArray_STRIDES(array)[i] != self.strides[i]:
                return False
        return True

    cdef int64_t size(self) noexcept:
        """The bytes of a packed array."""
        cdef int i
        cdef int64_t bytes = cnp.PyDataType_ELSIZE(<cnp.dtype> self.dtype)
        for i in range(self.ndim):
            bytes *= self.dims[i]
        return bytes

    cdef object made(self):
        Py_INCREF(self.dtype)
        return PyArray_NewFromDescr(
            <PyTypeObject *> cnp.ndarray, <cnp.PyArray_Descr *> self.dtype, self.ndim, self.dims,
            self.strides, NULL, 0, None)

    cdef object empty(self):
        """A new array that lies so; the strides must be those of a packed one. A large one, if nobody chose another
        memory for NumPy's arrays, in ours."""
        if self.size() <= MAPPED or not cpool_memory_is_kept():
            return self.made()
        before = PyDataMem_SetHandler(keeping)
        try:
            if <void *> before == PyDataMem_DefaultHandler:
                return self.made()
        finally:
            PyDataMem_SetHandler(before)
        return self.made()

    cdef object zeros(self):
        """The same of zeros that the operating system still has to make; None where they would have to be written."""
        cdef int i
        cdef int64_t bytes = cnp.PyDataType_ELSIZE(<cnp.dtype> self.dtype)
        for i in range(self.ndim - 1, -1, -1):
            if self.strides[i] != bytes:
                return None
            bytes *= self.dims[i]
        if bytes <= MAPPED:
            return None
        Py_INCREF(self.dtype)
        return PyArray_Zeros(self.ndim, self.dims, <cnp.PyArray_Descr *> self.dtype, 0)


# How NumPy asks for the memory of large results: it must stay where it is.
cdef PyDataMem_Handler handler
memset(&handler, 0, sizeof(handler))
memcpy(handler.name, b"cpool_keeps_memory", 18)
handler.version = 1
handler.allocator.malloc = cpool_memory_new
handler.allocator.calloc = cpool_memory_zeros
handler.allocator.realloc = cpool_memory_resized
handler.allocator.free = cpool_memory_free
cdef object keeping = PyCapsule_New(&handler, "mem_handler", NULL)


def empty(cnp.dtype dtype, tuple shape, tuple strides):
    """A new packed array that lies so."""
    cdef Layout layout = Layout(dtype, shape, strides)
    return layout.empty()


def kept_memory():
    """Bytes that results left behind and that wait for others, and how many there may be."""
    return cpool_memory_waiting(), cpool_memory_most()


cdef cnp.ndarray target_of(Layout result, cnp.ndarray x, out):
    """`out`, if it lies as a new result would and apart from x; a new array if it is None; else None."""
    if out is None:
        return result.empty()
    if type(out) is not cnp.ndarray or not result.holds(<cnp.ndarray> out) or (
            not cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out) or not apart(x, <cnp.ndarray> out)):
        return None
    return <cnp.ndarray> out


cdef class Call:
    """A plan made ready for the CPU."""

    def __cinit__(self, plan, dict spec):
        cdef cpool_call *c = &self.c
        cdef int i
        memset(c, 0, sizeof(cpool_call))
        self.plan = plan
        self.tables = spec
        self.path = spec["path"]
        c.isa = find_isa(spec["isa"])
        c.reducer = REDUCERS[plan.reducer]
        c.kernels = &c.isa.of[c.reducer]
        c.type, c.out_type, c.kind = spec["type"], spec["out_type"], spec["kind"]
        c.path = PATHS[self.path]
        c.size, c.out_size = spec["size"], spec["out_size"]
        c.pack, c.swap = spec["pack"], spec["swap"]
        kept = spec["kept"]
        pools = spec["pools"]
        if len(kept) > CPOOL_MAXDIM or len(pools) > CPOOL_MAXDIM:
            raise ValueError("too many axes")
        c.kept = len(kept)
        c.lines = 1
        for i in range(c.kept):
            c.kept_len[i], c.kept_x[i], c.kept_out[i] = kept[i]
            c.lines *= c.kept_len[i]
        c.outer = len(pools)
        c.outer_windows = spec["outer_windows"]
        for i in range(c.outer):
            set_pool(&c.pool[i], pools[i])
        c.max_rows = spec["max_rows"]
        if spec["row_off"] is not None:
            c.row_at = ints(spec["row_at"])
            c.row_off = ints(spec["row_off"])
        set_pool(&c.inner, spec["inner"])
        c.channels, c.channel_x, c.channel_out = spec["channels"], spec["channel_x"], spec["channel_out"]
        c.channel_tile, c.quick, c.far, c.next = spec["channel_tile"], spec["quick"], spec["far"], spec["next"]
        c.plane, c.line, c.results = spec["plane"], spec["line"], spec["results"]
        c.lanes = spec["lanes"]
        c.divisor_row = ints(spec["divisor_row"])
        c.divisor, c.reciprocal = doubles(spec["divisor"]), doubles(spec["reciprocal"])
        c.divisor_wide, c.reciprocal_wide = doubles(spec["divisor_wide"]), doubles(spec["reciprocal_wide"])
        c.dense_out = spec["dense_out"]
        c.acc_len, c.sums_len, c.group = spec["acc_len"], spec["sums_len"], spec["group"]
        c.planes = spec["planes"]
        self.set_tiles(spec["tiles"])
        c.units = spec["units"]
        self.work.call, self.work.pieces = c, c.units
        self.work.division, self.work.spread = NULL, NULL
        if plan.division is not None:
            self.set_division(spec["division"])
        if spec["spread"] is not None:
            self.set_spread(spec["spread"])
        self.scratch = cpool_work_scratch(&self.work)
        self.cost = spec["cost"]
        self.measured = False
        self.guesses = RUNS if TEAM_WARM <= self.cost < GUESS else 0
        self.result = Layout.__new__(Layout, plan.out_dtype, plan.out_shape, spec["out_strides"])

    cdef set_division(self, dict spec):
        cdef cpool_division *d = &self.division
        d.type, d.size = spec["type"], spec["size"]
        d.planes, d.length, d.inner = spec["planes"], spec["length"], spec["inner"]
        d.by, d.reciprocal = doubles(spec["by"]), doubles(spec["reciprocal"])
        self.work.division = d

    cdef set_spread(self, dict spec):
        cdef cpool_spread *s = &self.spread
        cdef int i
        s.axes, s.block, s.most = len(spec["at"]), spec["block"], spec["most"]
        for i in range(s.axes):
            s.at[i], s.m[i], s.stride[i] = ints(spec["at"][i]), len(spec["at"][i]) - 1, spec["strides"][i]
        for i in range(self.c.kept):
            s.kept_out[i] = spec["kept_out"][i]
        s.inside, s.far = spec["inside"], spec["far"]
        s.pieces, s.bytes = 1, s.block
        for i in range(s.axes):
            if i < s.inside:
                s.pieces *= s.m[i]
            else:
                s.bytes *= s.m[i]
        self.work.spread = s
        self.work.pieces = self.c.lines * s.pieces if self.c.units else 0

    cdef set_tiles(self, list tiles):
        cdef int64_t i
        cdef cpool_tile *tile
        self.c.tiles = len(tiles)
        self.tiles = <cpool_tile *> malloc(max(len(tiles), 1) * sizeof(cpool_tile))
        if self.tiles == NULL:
            raise MemoryError("no memory for the tables of a plan")
        self.c.tile = self.tiles
        for i, spec in enumerate(tiles):
            tile = &self.tiles[i]
            memset(tile, 0, sizeof(cpool_tile))
            tile.first, tile.last = spec["first"], spec["last"]
            tile.column, tile.columns = spec["column"], spec["columns"]
            tile.fold.outputs, tile.fold.c, tile.fold.step = tile.last - tile.first, self.c.channels, self.c.inner.step
            tile.fold.start, tile.fold.count = ints(spec["start"]), ints(spec["count"])
            tile.fold.vectors, tile.fold.uniform = spec["vectors"], spec["uniform"]
            if spec["perm"] is not None:
                tile.fold.perm, tile.fold.perm_at = ints(spec["perm"]), ints(spec["perm_at"])
                tile.fold.thin = tile.columns <= 16 and bool((spec["perm_at"] >= 0).all())

    def __dealloc__(self):
        free(self.tiles)

    @property
    def units(self):
        """How many pieces the work has."""
        return self.work.pieces

    @property
    def isa(self):
        """The instruction set."""
        return (<bytes> self.c.isa.name).decode()

    def out_strides(self):
        """The strides of a result."""
        return tuple([self.result.strides[i] for i in range(self.result.ndim)])

    def threads(self, int limit):
        """How many threads the next warm call would use, of at most `limit`."""
        if self.most(limit) <= 1 or cpool_forked() or (self.cost < TEAM_WARM and not force_team):
            return 1
        return min(most_threads(self.most(limit)), max(2, self.cost // 1000))

    cdef int most(self, int threads) noexcept:
        """No more threads than pieces; huge windows are cut into blocks, too."""
        if self.c.path == CPOOL_PATH_WIDE and self.work.spread == NULL:
            return threads
        return <int> min(<int64_t> threads, max(self.work.pieces, 1))

    @property
    def gathers(self):
        """Whether rows are copied to a tile first."""
        return bool(self.c.pack)

    def prepared(self, threads):
        """A function of (x, out) for arrays that lie just so; it returns None for others."""
        return Prepared.__new__(Prepared, self, threads)

    def run(self, cnp.ndarray x not None, cnp.ndarray out, int threads, cnp.ndarray indices=None):
        """Pool x, which is as the plan says, into `out` or a new array; the result. `indices` lie as it does."""
        if out is None:
            out = self.result.empty()
        if self.c.units and self.c.lines:
            self.execute(<const char *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out),
                         NULL if indices is None else <int64_t *> cnp.PyArray_DATA(indices), threads)
        return out

    cdef int start(self, cnp.ndarray x, cnp.ndarray out, int64_t *indices, threads) except -1:
        if self.c.units:
            self.execute(<const char *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out), indices,
                         asked(threads, self.cost))
        return 0

    cdef int execute(self, const char *x, char *out, int64_t *indices, int threads) except -1:
        cdef Team team
        # an estimate is not enough to wake others for little
        cdef bint guess = self.guesses > 0 and not force_team
        cdef int size = 1 if guess else team_size(self.cost, self.most(threads))
        cdef int64_t begun
        team.run = run_units
        team.together = 8 if self.c.path == CPOOL_PATH_PLANES else 1
        team.call, team.work = &self.c, &self.work
        if self.work.division != NULL and self.division.planes >= 4 * size:  # else each piece divides
            team.together = self.work.pieces // self.division.planes
        team.x = x
        team.out = out
        team.indices = indices
        team.cost = self.cost
        team.scratch = self.scratch
        if size == 1 and self.cost < RELEASE and not guess:
            team.memory = <char *> cpool_scratch_take(team.scratch)
            if team.memory == NULL:
                raise MemoryError(f"no memory for {team.scratch} bytes of scratch")
            team.begin, team.end = 0, self.work.pieces
            work_alone(&team)
            cpool_scratch_give(team.memory)
            return 0
        begun = cpool_now()
        if self.c.path == CPOOL_PATH_WIDE and self.work.division == NULL and self.work.spread == NULL and (
                self.c.units < 4 * size or self.cost > SLICE * self.c.units):
            self.execute_blocks(&team, size)
        else:
            run_all(&team, self.work.pieces, size)
        if size == 1:
            self.learn(cpool_now() - begun)
        return 0

    cdef void learn(self, int64_t took) noexcept:
        """Replace the estimate by what a serial run took; the smallest seen is the least disturbed."""
        if self.guesses > 0:
            self.guesses -= 1
        if self.measured:
            self.cost = max(min(self.cost, took), 100)
        else:  # the first run also pays for what is not yet in memory or cache
            self.cost = max(min(4 * self.cost, took), 100)
            self.measured = True

    cdef int execute_blocks(self, Team *team, int size) except -1:
        """Few huge windows: their blocks are spread over the threads, and their sums added in order."""
        cdef int64_t unit, blocks, wave, i, total = self.c.planes * self.c.sums_len
        cdef int64_t most = 64 * size
        team.run = run_blocks
        team.partial = total
        team.memory = <char *> cpool_scratch_take(team.scratch * size)
        team.partials = <double *> malloc((most + 1) * total * sizeof(double))
        try:
            if team.memory == NULL or team.partials == NULL:
                raise MemoryError(f"no memory for {team.scratch * size} bytes of scratch")
            for unit in range(self.c.units):
                team.unit = unit
                blocks = cpool_blocks(&self.c, unit)
                i = 0
                while i < blocks:
                    wave = min(most, blocks - i)
                    team.begin, team.end, team.chunk = i, i + wave, 1
                    with nogil:
                        run_team(team, size)
                        self.total(team, unit, wave, i == 0, i + wave == blocks, total * most)
                    i += wave
                    PyErr_CheckSignals()
        finally:
            if team.memory != NULL:
                cpool_scratch_give(team.memory)
            free(team.partials)
        return 0

    cdef void total(self, Team *team, int64_t unit, int64_t blocks, bint first, bint last, int64_t at) noexcept nogil:
        cdef cpool_mode mode = cpool_mode_enter()
        cpool_run_total(team.call, team.x, team.out, team.indices, unit, blocks, first, last, team.partials,
                        team.partials + at, team.memory)
        cpool_mode_leave(mode)


cdef int pool_alone(const void *work, int64_t scratch, const char *x, char *out) noexcept nogil:
    cdef const cpool_work *w = <const cpool_work *> work
    cdef void *memory = cpool_scratch_take(scratch)
    cdef cpool_mode mode
    if memory == NULL:
        return -1
    if w.pieces and w.call.lines:
        mode = cpool_mode_enter()
        cpool_work_run(w, x, out, NULL, 0, w.pieces, memory)
        cpool_mode_leave(mode)
    cpool_scratch_give(memory)
    return 0


cdef class Short:
    """A call bound to arrays that lie as they did before, which it checks: the short way in."""

    cdef object threads

    cdef object run(self, x, out, indices):
        """The result, or None if the arrays lie otherwise."""
        raise NotImplementedError


cdef class Prepared(Short):
    """A call of one array; where indices are wanted, too, it gives a pair."""

    cdef Call call
    cdef Layout x, indices

    def __cinit__(self, Call call, threads):
        plan = call.plan
        self.call, self.threads = call, threads
        self.x = Layout.__new__(Layout, plan.x_dtype, plan.x_shape, plan.x_strides)
        if plan.indexed:
            self.indices = Layout.__new__(Layout, *plan.indices)

    cdef object run(self, x, out, indices):
        cdef cnp.ndarray target, where
        if type(x) is not cnp.ndarray or not self.x.holds(<cnp.ndarray> x):
            return None
        if self.indices is None:
            target = target_of(self.call.result, <cnp.ndarray> x, out)
            if target is not None:
                self.call.start(<cnp.ndarray> x, target, NULL, self.threads)
            return target
        if out is None:
            target, where = self.call.result.empty(), self.indices.empty()
        elif type(out) is not tuple or len(<tuple> out) != 2 or (<tuple> out)[0] is None or (<tuple> out)[1] is None:
            return None
        else:
            target = target_of(self.call.result, <cnp.ndarray> x, (<tuple> out)[0])
            where = target_of(self.indices, <cnp.ndarray> x, (<tuple> out)[1])
            if target is None or where is None or not cnp.PyArray_ISALIGNED(where) or not apart(target, where):
                return None
        self.call.start(<cnp.ndarray> x, target, <int64_t *> cnp.PyArray_DATA(where), self.threads)
        return (target, where) if out is None else out


cdef class Ready:
    """A function of (x, out=None): the short way where there is one, `otherwise` of the class below where not."""

    cdef Short bound
    cdef bint whole

    def bind(self, Short call not None, bint whole):
        """Take the short way by this call; by itself, if what it gives is the `whole` answer."""
        self.bound, self.whole = call, whole

    def short(self, x, out):
        """The result, or None if there is no short way for these arrays."""
        return None if self.bound is None else self.bound.run(x, out, None)

    def __call__(self, x, out=None):
        """Pool x, which must have the shape and type that this was prepared for."""
        result = self.bound.run(x, out, None) if self.whole else None
        return self.otherwise(x, out) if result is None else result


cdef class Scatter(Short):
    """Gradients added to the elements that indices name. All arrays are packed in one order of their axes."""

    cdef cpool_scatter c
    cdef Layout grad, indices, result

    def __cinit__(self, dict spec, threads):
        cdef cpool_scatter *c = &self.c
        memset(c, 0, sizeof(cpool_scatter))
        c.isa = find_isa(spec["isa"])
        c.type, c.size = spec["type"], spec["size"]
        c.outer, c.outputs, c.length, c.inner = spec["outer"], spec["outputs"], spec["length"], spec["inner"]
        cpool_scatter_cut(c)
        self.threads = threads
        self.grad, self.indices, self.result = [Layout.__new__(Layout, *spec[name]) for name in (
            "grad", "indices", "result")]

    cdef object run(self, x, out, indices):
        if type(x) is not cnp.ndarray or type(indices) is not cnp.ndarray or not self.grad.holds(<cnp.ndarray> x) or (
                not self.indices.holds(<cnp.ndarray> indices) or not cnp.PyArray_ISALIGNED(<cnp.ndarray> indices)):
            return None
        if out is not None and (
                target_of(self.result, <cnp.ndarray> x, out) is None or not apart(<cnp.ndarray> indices, out)):
            return None
        return self.add(<cnp.ndarray> x, <cnp.ndarray> indices, out)

    def add(self, cnp.ndarray grad not None, cnp.ndarray indices not None, cnp.ndarray out):
        """The result, in `out` if that isn't None. None, and nothing is written, if an index lies in no plane."""
        cdef cpool_scatter c = self.c
        cdef Team team
        cdef bint fresh = out is None
        if not c.outer or not c.inner:
            return self.result.empty() if fresh else out
        team.gradients = &c
        team.x = <const char *> cnp.PyArray_DATA(grad)
        team.indices = <int64_t *> cnp.PyArray_DATA(indices)
        team.together = 1
        team.bad = team.blind = 0
        bounds = self.look(&team, c.parted) if c.parted or not fresh or not c.length else None
        if team.bad:
            return None
        if fresh:
            if cpool_scatter_is_sparse(&c) and not (
                    c.length * c.size < APART * c.outputs and cpool_memory_waits(self.result.size())):
                out = self.result.zeros()
            c.zeros = out is not None
            if out is None:
                out = self.result.empty()
        if c.length:
            team.out = <char *> cnp.PyArray_DATA(out)
            self.scatter(&team)
            if team.blind and not team.bad:
                bounds = self.look(&team, True)
                c.zeros = False
                if not team.bad:
                    self.scatter(&team)
        return None if team.bad else out

    cdef object look(self, Team *team, bint note):
        """Whether indices lie in their planes; and their bounds, if they are to be noted: these must be held."""
        cdef cpool_scatter *c = <cpool_scatter *> team.gradients
        cdef int64_t looks = c.outer * c.chunks
        cdef cnp.ndarray bounds = None
        if not looks:
            return None
        if note:
            bounds = cnp.PyArray_EMPTY(1, [2 * looks], cnp.NPY_INT64, 0)
            c.lowest = <int64_t *> cnp.PyArray_DATA(bounds)
            c.highest = c.lowest + looks
        team.run = run_look
        team.cost = looks * c.inner * 32 + 100
        team.scratch = 64
        run_worth(team, looks, self.threads)
        return bounds

    cdef int scatter(self, Team *team) except -1:
        cdef const cpool_scatter *c = team.gradients
        team.run = run_scatter
        team.cost = c.outer * c.inner * (c.length // 6 + c.outputs * 2 // 3) + 100
        team.scratch = cpool_scatter_scratch()
        return run_worth(team, cpool_scatter_units(c), self.threads)


cdef dict functions = {
    "identity": CPOOL_IDENTITY, "relu": CPOOL_RELU, "relu6": CPOOL_RELU6, "sigmoid": CPOOL_SIGMOID,
    "hardsigmoid": CPOOL_HARDSIGMOID, "silu": CPOOL_SILU, "hardswish": CPOOL_HARDSWISH, "tanh": CPOOL_TANH,
}


def dense(cnp.ndarray x not None, cnp.ndarray w not None, cnp.ndarray bias not None, str function, bint single, str isa,
          threads):
    """The function of x @ w.T + bias, as doubles or (`single`) floats: x is doubles, w and bias floats or doubles, all
    packed."""
    cdef cpool_dense d
    cdef Team team
    cdef int kind = cnp.NPY_FLOAT if single else cnp.NPY_DOUBLE
    cdef cnp.ndarray out = cnp.PyArray_EMPTY(2, [x.shape[0], w.shape[0]], kind, 0)
    d.isa = find_isa(isa)
    d.type = CPOOL_F64 if cnp.PyArray_TYPE(w) == cnp.NPY_DOUBLE else CPOOL_F32
    d.bias_type = CPOOL_F64 if cnp.PyArray_TYPE(bias) == cnp.NPY_DOUBLE else CPOOL_F32
    d.function, d.single = functions[function], single
    d.batch, d.terms, d.rows = x.shape[0], x.shape[1], w.shape[0]
    d.x, d.out = <const double *> cnp.PyArray_DATA(x), <char *> cnp.PyArray_DATA(out)
    d.w, d.bias = <const char *> cnp.PyArray_DATA(w), <const char *> cnp.PyArray_DATA(bias)
    team.run = run_dense
    team.together = 1
    team.layer = &d
    team.cost = d.batch * d.rows * (d.terms // 16 + 8) + 100
    team.scratch = cpool_dense_scratch(&d)
    if d.batch and d.rows:
        run_worth(&team, cpool_dense_units(&d), threads)
    return out


def scale(cnp.ndarray x not None, cnp.ndarray factor not None, cnp.ndarray out not None, str isa, int kind, bint last,
          threads):
    """Multiply channels by their factors (batch, channels): packed arrays of that kind, channels first or last. Factors
    of doubles are doubles, all others floats."""
    cdef cpool_scaling c
    cdef Team team
    cdef int64_t factors = factor.shape[0] * factor.shape[1], units
    if not factors or not x.size:
        return
    c.isa = find_isa(isa)
    c.type, c.size, c.last = kind, <int> x.itemsize, last
    c.batch, c.channels, c.inner = factor.shape[0], factor.shape[1], x.size // factors
    c.factor = <const char *> cnp.PyArray_DATA(factor)
    units = c.batch * (c.inner if c.last else c.channels)
    team.run = run_scale
    team.together = 1
    team.scaling = &c
    team.x = <const char *> cnp.PyArray_DATA(x)
    team.out = <char *> cnp.PyArray_DATA(out)
    team.cost = c.batch * c.channels * c.inner * 3 // 10 + 100
    team.scratch = 64
    run_worth(&team, units, threads)


cdef class DefaultMode:
    """Within the block this thread rounds to nearest and keeps subnormals, whatever the caller had set."""

    cdef cpool_mode before

    def __enter__(self):
        self.before = cpool_mode_enter()

    def __exit__(self, *error):
        cpool_mode_leave(self.before)


# ---- the short way in: calls that were seen before -------------------------------------------------

cdef dict seen = {}
cdef Py_ssize_t SLOTS = 512  # a later call may push an earlier one out of its slot


cdef class Seen:
    """What was called, and the call made ready."""

    cdef str name
    cdef tuple args
    cdef Short call


cdef bint same(a, b) noexcept:
    """Whether two arguments mean the same: True and 1 are equal, but not the same."""
    cdef Py_ssize_t i
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is int or type(a) is str:
        return a == b
    if type(a) is tuple:
        if len(<tuple> a) != len(<tuple> b):
            return False
        for i in range(len(<tuple> a)):
            if not same((<tuple> a)[i], (<tuple> b)[i]):
                return False
        return True
    return False


cdef bint lasts(value):
    """Whether nobody can change what this argument means."""
    if type(value) is tuple:
        return all(lasts(v) for v in <tuple> value)
    return value is None or isinstance(value, (type, cnp.dtype)) or type(value) in (int, bool, str)


cdef Py_ssize_t slot(str name, tuple args, cnp.ndarray x) except -1:
    cdef int i
    cdef uint64_t mixed = <uint64_t> hash(args) ^ <uint64_t> hash(name) ^ (
        <uint64_t> <intptr_t> <void *> cnp.PyArray_DESCR(x) >> 4)
    for i in range(x.ndim):
        mixed = (mixed ^ <uint64_t> x.shape[i]) * 0x9e3779b97f4a7c15u
        mixed = (mixed ^ <uint64_t> cnp.PyArray_STRIDES(x)[i]) * 0x9e3779b97f4a7c15u
    return <Py_ssize_t> ((mixed >> 32) % <uint64_t> SLOTS)


def again(str name not None, tuple args not None, x, out, indices=None):
    """The result of a call that was seen before, into `out` if it lies as a new result would; else None."""
    cdef Seen found
    if type(x) is not cnp.ndarray:
        return None
    try:
        found = seen.get(slot(name, args, <cnp.ndarray> x))
    except TypeError:  # a list among the arguments
        return None
    if found is None or found.name != name or not same(found.args, args):
        return None
    return found.call.run(x, out, indices)


def remember(str name not None, tuple args not None, cnp.ndarray x not None, Short call not None):
    """Keep a call for `again`."""
    cdef Seen entry
    if not lasts(args):
        return
    entry = Seen.__new__(Seen)
    entry.name, entry.args, entry.call = name, args, call
    seen[slot(name, args, x)] = entry


def forget():
    """Forget every call that was seen."""
    seen.clear()


cdef bint apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two arrays certainly share no memory: their bounds don't touch."""
    cdef const char *a_low
    cdef const char *a_high
    cdef const char *b_low
    cdef const char *b_high
    bounds(a, &a_low, &a_high)
    bounds(b, &b_low, &b_high)
    return a_high <= b_low or b_high <= a_low


cdef void bounds(cnp.ndarray a, const char **low, const char **high) noexcept:
    cdef int i
    cdef int64_t reach
    low[0] = <const char *> cnp.PyArray_DATA(a)
    high[0] = low[0] + cnp.PyArray_ITEMSIZE(a)
    for i in range(a.ndim):
        reach = (a.shape[i] - 1) * cnp.PyArray_STRIDES(a)[i]
        if reach > 0:
            high[0] += reach
        else:
            low[0] += reach
