/* The three kernels, for one type on one instruction set. Set before inclusion:
 *   TYPE    the name of the type, SIZE its bytes
 *   A, ACC  the vector of accumulators and its element; KIND the prefix of its words, TREE that of the scalar fold
 *   X, XLD, XLDN, ADDX   the vector of loaded elements, its loads, and how it is added to A
 *   BATCH   0, or how many rows may be added in X itself (exactly) before ADDX; XADD, XZERO
 */

#define K2(kind, word) kind##_##word
#define K1(kind, word) FN2(K2, kind, word)
#define A_ZERO K1(KIND, zero)
#define A_LD K1(KIND, ld)
#define A_ST K1(KIND, st)
#define A_ADD K1(KIND, add)
#define A_TREE K1(TREE, tree)
#define NAME(op) FN3(cpool_##op, TYPE)

/* All rows of `count` vectors, which stay in registers; the last of them has `tail` elements (8: whole). */
static inline __attribute__((always_inline)) void NAME(strip)(const cpool_job *job, const char *base, ACC *acc, int count, int tail)
{
    A a[STRIP];
    for (int u = 0; u < count; u++)
        a[u] = job->add ? A_LD(acc + 8 * u, job->plane) : A_ZERO();
#if BATCH
    X part[STRIP];
    int filled = 0;
    for (int u = 0; u < count; u++)
        part[u] = XZERO();
#endif
#if BATCH
#define ONE_ROW(p)                                                                                                 \
    do {                                                                                                           \
        for (int u = 0; u < count; u++)                                                                            \
            part[u] = XADD(part[u], u + 1 == count && tail < 8 ? XLDN((p) + 8 * SIZE * u, tail) : XLD((p) + 8 * SIZE * u)); \
        if (++filled == BATCH) {                                                                                   \
            for (int u = 0; u < count; u++) {                                                                      \
                a[u] = ADDX(a[u], part[u]);                                                                        \
                part[u] = XZERO();                                                                                 \
            }                                                                                                      \
            filled = 0;                                                                                            \
        }                                                                                                          \
    } while (0)
#else
#define ONE_ROW(p)                                                                                                 \
    for (int u = 0; u < count; u++)                                                                                \
    a[u] = ADDX(a[u], u + 1 == count && tail < 8 ? XLDN((p) + 8 * SIZE * u, tail) : XLD((p) + 8 * SIZE * u))
#endif
    const int64_t rows = job->rows, run = job->run, step = job->run_step;
    const int64_t *off = job->off;
    if (run == 1)
        for (int64_t r = 0; r < rows; r++)
            ONE_ROW(base + off[r]);
    else
        for (int64_t r = 0; r < rows; r++) {
            const char *p = base + off[r];
            for (int64_t t = 0; t < run; t++, p += step)
                ONE_ROW(p);
        }
#undef ONE_ROW
#if BATCH
    for (int u = 0; u < count; u++)
        a[u] = ADDX(a[u], part[u]);
#endif
    for (int u = 0; u < count; u++)
        A_ST(acc + 8 * u, job->plane, a[u]);
}

/* Eight rows (or `rows` < 8) into accumulators in memory, from element 0 to n. */
static inline __attribute__((always_inline)) A NAME(eight)(A a, const char *const *p, int64_t at, int rows)
{
#if BATCH
    X part = XLD(p[0] + at);
    for (int r = 1; r < rows; r++)
        part = XADD(part, XLD(p[r] + at));
    return ADDX(a, part);
#else
    for (int r = 0; r < rows; r++)
        a = ADDX(a, XLD(p[r] + at));
    return a;
#endif
}

static void NAME(rows)(const char *const *p, int rows, ACC *acc, int64_t plane, int64_t n, int add)
{
    int64_t i = 0;
    if (rows == 8) {
        for (; i + 16 <= n; i += 16) {
            A a = add ? A_LD(acc + i, plane) : A_ZERO(), b = add ? A_LD(acc + i + 8, plane) : A_ZERO();
            a = NAME(eight)(a, p, i * SIZE, 8);
            b = NAME(eight)(b, p, (i + 8) * SIZE, 8);
            A_ST(acc + i, plane, a);
            A_ST(acc + i + 8, plane, b);
        }
    }
#define SOME(R)                                                                                                    \
    case R:                                                                                                        \
        for (; i + 8 <= n; i += 8)                                                                                 \
            A_ST(acc + i, plane, NAME(eight)(add ? A_LD(acc + i, plane) : A_ZERO(), p, i * SIZE, R));              \
        break;
    switch (rows) {
        SOME(1) SOME(2) SOME(3) SOME(4) SOME(5) SOME(6) SOME(7) SOME(8)
    }
#undef SOME
    if (i < n) {
        A a = add ? A_LD(acc + i, plane) : A_ZERO();
        for (int r = 0; r < rows; r++)
            a = ADDX(a, XLDN(p[r] + i * SIZE, (int)(n - i)));
        A_ST(acc + i, plane, a);
    }
}

static inline __attribute__((always_inline)) void NAME(line)(const cpool_job *job, const char *base)
{
    ACC *acc = (ACC *)job->acc;
    int64_t n = job->n;
    if (n <= 8 * STRIP) {
        int tail = (int)((n - 1) % 8) + 1;
#define STRIP_OF(C)                                                                                                \
    case C:                                                                                                        \
        if (tail == 8)                                                                                             \
            NAME(strip)(job, base, acc, C, 8);                                                                        \
        else                                                                                                       \
            NAME(strip)(job, base, acc, C, tail);                                                                     \
        return;
        switch ((n + 7) / 8) {
            STRIP_OF(1) STRIP_OF(2)
#if STRIP > 2
            STRIP_OF(3) STRIP_OF(4)
#endif
#if STRIP > 4
            STRIP_OF(5) STRIP_OF(6) STRIP_OF(7) STRIP_OF(8)
#endif
        }
#undef STRIP_OF
        return;
    }
    const char *p[8];
    int filled = 0, add = job->add;
    for (int64_t r = 0; r < job->rows; r++)
        for (int64_t t = 0; t < job->run; t++) {
            p[filled++] = base + job->off[r] + t * job->run_step;
            if (filled == 8) {
                NAME(rows)(p, 8, acc, job->plane, n, add);
                filled = 0;
                add = 1;
            }
        }
    if (filled)
        NAME(rows)(p, filled, acc, job->plane, n, add);
}

/* Add the rows of each job into its line. */
static void NAME(lines)(const cpool_job *jobs, int64_t count, int64_t shift)
{
    for (int64_t g = 0; g < count; g++)
        NAME(line)(jobs + g, jobs[g].base + shift);
}

/* The 32 lanes of one window, element i of a row in lane i % 32. */
static inline __attribute__((always_inline)) void NAME(window)(const cpool_job *job, A a[4])
{
    int64_t n = job->n;
    for (int u = 0; u < 4; u++)
        a[u] = A_ZERO();
    for (int64_t r = 0; r < job->rows; r++) {
        const char *p = job->base + job->off[r];
        int64_t i = 0;
#if BATCH
        while (i + CPOOL_LANES <= n) {
            X part[4];
            int64_t stop = i + (int64_t)CPOOL_LANES * BATCH <= n ? i + (int64_t)CPOOL_LANES * BATCH : n;
            for (int u = 0; u < 4; u++)
                part[u] = XZERO();
            for (; i + CPOOL_LANES <= stop; i += CPOOL_LANES)
                for (int u = 0; u < 4; u++)
                    part[u] = XADD(part[u], XLD(p + (i + 8 * u) * SIZE));
            for (int u = 0; u < 4; u++)
                a[u] = ADDX(a[u], part[u]);
        }
#else
        for (; i + CPOOL_LANES <= n; i += CPOOL_LANES)
            for (int u = 0; u < 4; u++)
                a[u] = ADDX(a[u], XLD(p + (i + 8 * u) * SIZE));
#endif
        int64_t rest = n - i;
        if (!rest)
            continue;
        p += i * SIZE;
        if (rest >= 8) {
            a[0] = ADDX(a[0], XLD(p));
            if (rest >= 16) {
                a[1] = ADDX(a[1], XLD(p + 8 * SIZE));
                if (rest >= 24) {
                    a[2] = ADDX(a[2], XLD(p + 16 * SIZE));
                    if (rest > 24)
                        a[3] = ADDX(a[3], XLDN(p + 24 * SIZE, (int)rest - 24));
                } else if (rest > 16)
                    a[2] = ADDX(a[2], XLDN(p + 16 * SIZE, (int)rest - 16));
            } else if (rest > 8)
                a[1] = ADDX(a[1], XLDN(p + 8 * SIZE, (int)rest - 8));
        } else
            a[0] = ADDX(a[0], XLDN(p, (int)rest));
    }
}

/* The sum of each window whose rows are contiguous; n is the width. */
static void NAME(lanes)(const cpool_job *jobs, int64_t count, double *sums, int64_t plane)
{
    int64_t g = 0;
#if FAST_FOLD
    for (; g + 8 <= count; g += 8) {
        vf v[8];
        for (int i = 0; i < 8; i++) {
            vf a[4];
            NAME(window)(jobs + g + i, a);
            v[i] = FN(f_add)(FN(f_add)(a[0], a[2]), FN(f_add)(a[1], a[3]));
        }
        FN(f_st)(sums + g, FN(f_fold8)(v));
    }
#endif
    for (; g < count; g++) {
        A a[4];
        ACC lane[2 * CPOOL_LANES];
        NAME(window)(jobs + g, a);
        for (int u = 0; u < 4; u++)
            A_ST(lane + 8 * u, CPOOL_LANES, a[u]);
        int64_t used = jobs[g].n < CPOOL_LANES ? jobs[g].n : CPOOL_LANES;
        A_TREE(lane, CPOOL_LANES, 1, used, sums + g, plane);
    }
}

#undef K2
#undef K1
#undef A_ZERO
#undef A_LD
#undef A_ST
#undef A_ADD
#undef A_TREE
#undef NAME
#undef TYPE
#undef SIZE
#undef A
#undef ACC
#undef KIND
#undef TREE
#undef X
#undef XLD
#undef XLDN
#undef ADDX
#undef BATCH
#undef XADD
#undef XZERO
#undef FAST_FOLD
