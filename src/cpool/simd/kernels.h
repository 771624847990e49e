/* The kernels for one type and one reducer on one instruction set. Set before inclusion:
 *   TYPE    the name of the type, SIZE its bytes
 *   A, ACC  the vector of accumulators and its element; KIND the prefix of its words, TREE that of the scalar fold
 *   X, XLD, XLDN, ADDX   the vector of loaded elements, its loads, and how it is added to A
 *   FIRST   an X as the first of an A, if that is less than adding it to nothing
 *   BATCH   0, or how many rows may be added in X itself (exactly) before ADDX; XADD, XZERO
 *   FOLD8   eight A folded to the lanes of one; without it windows are folded one by one
 *   DIRECT  the prefix of the words for sums that are doubles, of type DIRECT_A; lines of one row have a kernel of their
 *           own then, with WIDE (an X as doubles), KEPT (the first of it) and PART (what taps are added in, if not in
 *           that); lines of few columns, too, with TO and TON (results), QUOTIENT (an A by its divisors and their
 *           reciprocals), ODD (see finish.h)
 *   PLANES  whether X is vf, and small planes are pooled side by side
 */

#define K2(kind, word) kind##_##word
#define K1(kind, word) FN2(K2, kind, word)
#define A_ZERO K1(KIND, zero)
#define A_LD K1(KIND, ld)
#define A_ST K1(KIND, st)
#define A_ADD K1(KIND, add)
#define A_FOLDED K1(KIND, folded)
#define A_TREE K1(TREE, tree)
#define A_PICKED K1(KIND, picked)
#define A_PICKED_ANY K1(KIND, picked_any)
#define NAME(op) FN3(cpool_##op, TYPE)
#ifndef TO_SIZE
#define TO_SIZE SIZE
#endif
#ifndef FIRST
#define FIRST(x) ADDX(A_ZERO(), x)
#endif

/* All rows of `count` vectors, which stay in registers; the last of them has `tail` elements (8: whole). Then to `acc`,
 * or, divided by the one divisor of `r`, to `out`; whether a result is odd. */
static inline __attribute__((always_inline)) int NAME(strip)(const cpool_job *job, const char *base, ACC *acc, int count, int tail,
                                                            const cpool_result *r, char *out)
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
    /* Rows of a few lines of cache each: the processor's own prefetching loses its way between them. */
    const int64_t pitch = cpool_pitch(job);
    const int64_t ahead = job->next ? job->next : cpool_ahead(pitch, cpool_rows_ahead(job, pitch));
#define PREFETCH(p)                                                                                                \
    for (int u = 0; u < count; u += 64 / (8 * SIZE))                                                               \
    cpool_prefetch_second((p), ahead + 8 * SIZE * u)
    if (run == 1)
        for (int64_t r = 0; r < rows; r++) {
            PREFETCH(base + off[r]);
            ONE_ROW(base + off[r]);
        }
    else
        for (int64_t r = 0; r < rows; r++) {
            const char *p = base + off[r];
            for (int64_t t = 0; t < run; t++, p += step) {
                PREFETCH(p);
                ONE_ROW(p);
            }
        }
#undef PREFETCH
#undef ONE_ROW
#if BATCH
    for (int u = 0; u < count; u++)
        a[u] = ADDX(a[u], part[u]);
#endif
#ifdef TO
    if (r) {
        const vf divisor = FN(f_set)(r->divisor[0]), reciprocal = FN(f_set)(r->reciprocal[0]);
        int odd = 0;
        (void)divisor, (void)reciprocal;
        for (int u = 0; u < count; u++) {
            const vf result = QUOTIENT(a[u], divisor, reciprocal);
            odd |= ODD(result);
            if (u + 1 == count && tail < 8)
                TON(out + 8 * TO_SIZE * u, result, tail);
            else
                TO(out + 8 * TO_SIZE * u, result);
        }
        return odd;
    }
#endif
    (void)r, (void)out;
    for (int u = 0; u < count; u++)
        A_ST(acc + 8 * u, job->plane, a[u]);
    return 0;
}

/* Rows into accumulators in memory, from element 0 to n; those `ahead` are asked for. */
#define ROWS 8
static inline __attribute__((always_inline)) A NAME(some_rows)(A a, const char *const *p, int64_t at, int rows)
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

static void NAME(rows)(const char *const *p, int rows, int64_t ahead, ACC *acc, int64_t plane, int64_t n, int add)
{
    int64_t i = 0;
#define SOME(R)                                                                                                    \
    case R:                                                                                                        \
        for (; i + 16 <= n; i += 16) {                                                                             \
            A a = add ? A_LD(acc + i, plane) : A_ZERO(), b = add ? A_LD(acc + i + 8, plane) : A_ZERO();            \
            for (int r = 0; r < R; r++)                                                                            \
                cpool_prefetch_second(p[r], ahead + i * SIZE);                                                     \
            a = NAME(some_rows)(a, p, i * SIZE, R);                                                                \
            b = NAME(some_rows)(b, p, (i + 8) * SIZE, R);                                                          \
            A_ST(acc + i, plane, a);                                                                               \
            A_ST(acc + i + 8, plane, b);                                                                           \
        }                                                                                                          \
        break;
    switch (rows) {
        SOME(1) SOME(2) SOME(3) SOME(4) SOME(5) SOME(6) SOME(7) SOME(8)
    }
#undef SOME
    for (; i < n; i += 8) {
        A a = add ? A_LD(acc + i, plane) : A_ZERO();
        for (int r = 0; r < rows; r++)
            cpool_prefetch_second(p[r], ahead + i * SIZE);
        for (int r = 0; r < rows; r++)
            a = ADDX(a, n - i < 8 ? XLDN(p[r] + i * SIZE, (int)(n - i)) : XLD(p[r] + i * SIZE));
        A_ST(acc + i, plane, a);
    }
}

static inline __attribute__((always_inline)) void NAME(line)(const cpool_job *job, const char *base)
{
    ACC *acc = (ACC *)job->acc;
    int64_t n = job->n;
    if (n <= 8 * STRIP || cpool_in_strips(job, SIZE, STRIP, BATCH)) {
        int64_t i = 0;
        for (; n - i > 8 * STRIP; i += 8 * STRIP)
            NAME(strip)(job, base + i * SIZE, acc + i, STRIP, 8, NULL, NULL);
        const int tail = (int)((n - i - 1) % 8) + 1;
#define STRIP_OF(C)                                                                                                \
    case C:                                                                                                        \
        NAME(strip)(job, base + i * SIZE, acc + i, C, tail, NULL, NULL);                                           \
        return;
        switch ((n - i + 7) / 8) {
            STRIPS(STRIP_OF)
        }
#undef STRIP_OF
        return;
    }
    /* What comes from afar comes fastest in its own order: a row at a time. */
    const int together = job->far ? 1 : ROWS;
    const int64_t ahead = cpool_ahead(cpool_pitch(job), ROWS);
    const char *p[ROWS];
    int filled = 0, add = job->add;
#define ADD_ROWS NAME(rows)(p, filled, ahead, acc, job->plane, n, add)
    for (int64_t r = 0; r < job->rows; r++)
        for (int64_t t = 0; t < job->run; t++) {
            p[filled++] = base + job->off[r] + t * job->run_step;
            if (filled == together) {
                ADD_ROWS;
                filled = 0;
                add = 1;
            }
        }
    if (filled || !add) /* without a row, nothing is what the line holds */
        ADD_ROWS;
#undef ADD_ROWS
}

/* Add the rows of each job into its line. */
static void NAME(lines)(const cpool_job *jobs, int64_t count, int64_t shift)
{
    for (int64_t g = 0; g < count; g++)
        NAME(line)(jobs + g, jobs[g].base + shift);
}

#ifdef TO
/* Windows of channels, to results: as many channels at a time as registers hold. */
static int NAME(pixels)(const cpool_job *jobs, int64_t count, const cpool_result *results)
{
    int odd = 0;
    for (int64_t g = 0; g < count; g++) {
        const cpool_job *job = jobs + g;
        const cpool_result *r = results + g;
        int64_t i = 0;
        for (; job->n - i >= 8 * STRIP; i += 8 * STRIP)
            odd |= NAME(strip)(job, job->base + i * SIZE, (ACC *)job->acc, STRIP, 8, r, r->out + i * TO_SIZE);
        const int tail = (int)((job->n - i - 1) % 8) + 1;
#define STRIP_OF(C)                                                                                                \
    case C:                                                                                                        \
        odd |= NAME(strip)(job, job->base + i * SIZE, (ACC *)job->acc, C, tail, r, r->out + i * TO_SIZE);         \
        break;
        switch ((job->n - i + 7) / 8) {
            STRIPS(STRIP_OF)
        }
#undef STRIP_OF
    }
    return odd;
}
#endif

/* What is left of a row after the last whole 32 lanes: `vectors`, the last of them of `tail` elements. */
static inline __attribute__((always_inline)) void NAME(rest)(const char *p, A a[4], int vectors, int tail)
{
    for (int u = 0; u < vectors; u++)
        a[u] = ADDX(a[u], u + 1 == vectors && tail < 8 ? XLDN(p + 8 * u * SIZE, tail) : XLD(p + 8 * u * SIZE));
}

/* One row of a window to its 32 lanes, element i in lane i % 32; `whole` of its elements fill all lanes each time. */
static inline __attribute__((always_inline)) void NAME(window_row)(const char *p, int64_t whole, int64_t ahead, int second, A a[4],
                                                                 int vectors, int tail)
{
    const char *stop = p + whole * SIZE;
#if BATCH
    while (p < stop) {
        X part[4];
        const char *pause = stop - p > CPOOL_LANES * BATCH * SIZE ? p + CPOOL_LANES * BATCH * SIZE : stop;
        for (int u = 0; u < 4; u++)
            part[u] = XZERO();
        for (; p < pause; p += CPOOL_LANES * SIZE) {
            if (ahead)
                cpool_prefetch_into(second, p, ahead);
            for (int u = 0; u < 4; u++)
                part[u] = XADD(part[u], XLD(p + 8 * u * SIZE));
        }
        for (int u = 0; u < 4; u++)
            a[u] = ADDX(a[u], part[u]);
    }
    if (ahead && vectors)
        cpool_prefetch_into(second, p, ahead);
#else
    for (; p < stop; p += CPOOL_LANES * SIZE) {
        if (ahead)
            for (int u = 0; u < CPOOL_LANES * SIZE; u += 64)
                cpool_prefetch_into(second, p, ahead + u);
        for (int u = 0; u < 4; u++)
            a[u] = ADDX(a[u], XLD(p + 8 * u * SIZE));
    }
    if (ahead)
        for (int u = 0; u < 8 * vectors * SIZE; u += 64)
            cpool_prefetch_into(second, p, ahead + u);
#endif
    NAME(rest)(p, a, vectors, tail);
}

/* The 32 lanes of one window. */
static inline __attribute__((always_inline)) void NAME(window)(const cpool_job *job, const char *base, int64_t ahead, A a[4],
                                                             int vectors, int tail)
{
    const int64_t whole = job->n - job->n % CPOOL_LANES;
    const int second = job->rows > FEW_ROWS; /* rows that lie so far ahead are more than the first cache keeps */
    for (int u = 0; u < 4; u++)
        a[u] = A_ZERO();
    for (int64_t r = 0; r < job->rows; r++)
        NAME(window_row)(base + job->off[r], whole, ahead, second, a, vectors, tail);
}

/* The same where there is one row, of one time 32 elements and not two. */
static inline __attribute__((always_inline)) void NAME(short_row)(const char *p, int64_t ahead, A a[4], int vectors, int tail)
{
    if (ahead)
        for (int u = 0; u < (4 + vectors) * 8 * SIZE; u += 64)
            cpool_prefetch(p, ahead + u);
    for (int u = 0; u < 4; u++)
        a[u] = FIRST(XLD(p + 8 * u * SIZE));
    NAME(rest)(p + CPOOL_LANES * SIZE, a, vectors, tail);
}

#ifdef DIRECT
#define SUM_OF K1(DIRECT, of)
#define SUM_ADD K1(DIRECT, add)
#define SUM_ST K1(DIRECT, st)
#ifndef KEPT
#define KEPT(x, n) FN(f_keep)(WIDE(x), n)
#define PART DIRECT_A
#define PART_OF(x) SUM_OF(WIDE(x))
#define PART_KEPT(x, n) SUM_OF(KEPT(x, n))
#define PART_ADD SUM_ADD
#define SUM_OF_PART(a) (a)
#endif
/* Lines of one row: windows of at most 32 columns are taken straight from it. */
static inline __attribute__((always_inline)) PART NAME(some)(const char *p, int64_t there, int64_t n)
{
    if (n >= 8)
        return PART_OF(XLD(p));
    return there >= 8 ? PART_KEPT(XLD(p), (int)n) : PART_OF(XLDN(p, (int)n));
}

static inline __attribute__((always_inline)) DIRECT_A NAME(short_window)(const char *p, int64_t there, int64_t n)
{
    PART a = NAME(some)(p, there, n);
    if (n <= 8)
        return SUM_OF_PART(a);
    PART b = NAME(some)(p + 8 * SIZE, there - 8, n - 8);
    if (n > 16)
        a = PART_ADD(a, NAME(some)(p + 16 * SIZE, there - 16, n - 16));
    if (n > 24)
        b = PART_ADD(b, NAME(some)(p + 24 * SIZE, there - 24, n - 24));
    return SUM_OF_PART(PART_ADD(a, b));
}

static void NAME(direct)(const cpool_job *lines, int64_t count, int64_t shift, const cpool_fold *f, double *sums,
                         int64_t stride, int64_t plane)
{
    const DIRECT_A none = K1(DIRECT, zero)();
    for (int64_t g = 0; g < count; g++, sums += stride) {
        if (!lines[g].rows) { /* a window of nothing */
            for (int64_t i = 0; i < f->outputs; i += 8)
                SUM_ST(sums + i, plane, none);
            continue;
        }
        const char *line = lines[g].base + shift + lines[g].off[0];
        const int64_t n = lines[g].n;
        for (int64_t i = 0; i < f->outputs; i += 8) {
#if HAS_PERM
            if (f->perm && f->perm_at[i / 8] >= 0) {
                const int64_t *entry = f->perm + f->perm_at[i / 8], there = n - entry[0];
                const char *p = line + entry[0] * SIZE;
                cpool_prefetch_second(p, AHEAD_BYTES);
                DIRECT_A a = SUM_OF(WIDE(there >= 8 ? XLD(p) : XLDN(p, (int)there))), b = none;
                if (there >= 16)
                    b = SUM_OF(WIDE(XLD(p + 8 * SIZE)));
                else if (there > 8)
                    b = SUM_OF(WIDE(XLDN(p + 8 * SIZE, (int)there - 8)));
                SUM_ST(sums + i, plane, K1(DIRECT, picked)(a, b, entry));
                continue;
            }
#endif
            if (f->vectors == 1 && i + 8 <= f->outputs && f->start[i + 7] + 8 <= n) {
                vf v[8];
                for (int k = 0; k < 8; k += SIZE < 8 ? 8 / SIZE : 1)
                    cpool_prefetch_second(line + f->start[i + k] * SIZE, AHEAD_BYTES);
                if (f->uniform && f->count[0] == 8)
                    for (int k = 0; k < 8; k++)
                        v[k] = WIDE(XLD(line + f->start[i + k] * SIZE));
                else
                    for (int k = 0; k < 8; k++)
                        v[k] = KEPT(XLD(line + f->start[i + k] * SIZE), (int)f->count[i + k]);
                SUM_ST(sums + i, plane, K1(DIRECT, fold8_of)(v));
                continue;
            }
            DIRECT_A v[8];
            int64_t some = f->outputs - i < 8 ? f->outputs - i : 8;
            for (int64_t k = 0; k < some; k++) {
                const char *p = line + f->start[i + k] * SIZE;
                cpool_prefetch_second(p, AHEAD_BYTES);
                v[k] = NAME(short_window)(p, n - f->start[i + k], f->count[i + k]);
            }
            for (int64_t k = some; k < 8; k++)
                v[k] = none;
            SUM_ST(sums + i, plane, K1(DIRECT, fold8)(v));
        }
    }
}
#undef SUM_OF
#undef SUM_ADD
#undef SUM_ST
#undef KEPT
#undef PART
#undef PART_OF
#undef PART_KEPT
#undef PART_ADD
#undef SUM_OF_PART

#if HAS_PERM && defined(TO) && defined(XADD)
/* Lines of at most sixteen columns stay in registers from the first row to the results. */
static inline __attribute__((always_inline)) int NAME(thin_line)(const cpool_job *job, const char *base, int n,
                                                               const cpool_fold *f, const cpool_result *r, char *out)
{
    X a = XZERO(), b = XZERO();
    int odd = 0;
    (void)r; /* not every QUOTIENT looks at its divisors */
    for (int64_t k = 0; k < job->rows; k++) {
        const char *p = base + job->off[k];
        if (job->next)
            cpool_prefetch_second(p, job->next);
        a = XADD(a, n < 8 ? XLDN(p, n) : XLD(p));
        if (n > 8)
            b = XADD(b, XLDN(p + 8 * SIZE, n - 8));
    }
    for (int64_t i = 0; i < f->outputs; i += 8) {
        const int64_t *entry = f->perm + f->perm_at[i / 8];
        vf sum = n < 16 ? A_PICKED_ANY(WIDE(a), WIDE(b), entry) : A_PICKED(WIDE(a), WIDE(b), entry);
        vf result = QUOTIENT(sum, FN(f_ld)(r->divisor + i), FN(f_ld)(r->reciprocal + i));
        odd |= ODD(result);
        if (f->outputs - i < 8)
            TON(out + i * TO_SIZE, result, (int)(f->outputs - i));
        else
            TO(out + i * TO_SIZE, result);
    }
    return odd;
}

static int NAME(thin)(const cpool_job *lines, int64_t count, int64_t shift, const cpool_fold *f,
                      const cpool_result *rows, int64_t out_shift)
{
    const int n = (int)lines[0].n; /* known to be small or large, the loops lose their branches */
    int odd = 0;
#define THIN(N)                                                                                                    \
    for (int64_t g = 0; g < count; g++)                                                                            \
        odd |= NAME(thin_line)(lines + g, lines[g].base + shift, N, f, rows + g, rows[g].out + out_shift)
    if (n == 16)
        THIN(16);
    else if (n > 8)
        THIN(n);
    else if (n == 8)
        THIN(8);
    else
        THIN(n);
#undef THIN
    return odd;
}
#endif
#endif

#ifdef PLANES
/* Small planes, eight at a time, a plane in each lane: no window is too small for whole vectors then. */
static int NAME(planes)(const cpool_call *c, const char *x, int64_t x_step, int64_t planes, char *out, int64_t out_step,
                        const cpool_eight *s)
{
    const int64_t n = c->plane, columns = c->line, windows = c->inner.m, step = 8 * c->inner.step;
    const int64_t apart = 8 * (columns + columns % 2); /* sums are made by twos */
    const int64_t *start = c->inner.start, *count = c->inner.count;
    double *elements = s->elements, *line = s->line, *to = s->results;
    const char *from[8];
    const double *row[CPOOL_SMALL];
    int odd = 0;
    for (int k = 0; k < 8; k++)
        from[k] = x + (k < planes ? k * x_step : 0);
    for (int64_t i = 0; i < n; i += 8) {
        X v[8];
        if (!(i * SIZE % 64))
            for (int k = 0; k < 8; k++) /* of the next eight planes */
                cpool_prefetch_second(from[k] + i * SIZE, 8 * x_step);
        if (n - i >= 8)
            for (int k = 0; k < 8; k++)
                v[k] = XLD(from[k] + i * SIZE);
        else
            for (int k = 0; k < 8; k++)
                v[k] = XLDN(from[k] + i * SIZE, (int)(n - i));
        FN(f_turn8)(v);
        for (int k = 0; k < 8; k++)
            FN(f_st)(elements + 8 * (i + k), v[k]);
    }
    for (int64_t o = 0; o < c->outer_windows; o++) {
        const int64_t *off = c->row_off + c->row_at[o], rows = c->row_at[o + 1] - c->row_at[o];
        for (int64_t r = 0; r < rows; r++)
            row[r] = elements + 8 * (off[r] / SIZE);
#define TWO_COLUMNS(R)                                                                                             \
    for (int64_t i = 0; i < columns; i += 2) {                                                                     \
        A a = A_ZERO(), b = A_ZERO();                                                                              \
        for (int64_t r = 0; r < (R); r++) {                                                                        \
            a = ADDX(a, FN(f_ld)(row[r] + 8 * i));                                                                 \
            b = ADDX(b, FN(f_ld)(row[r] + 8 * i + 8));                                                             \
        }                                                                                                          \
        A_ST(line + 8 * i, apart, a);                                                                              \
        A_ST(line + 8 * i + 8, apart, b);                                                                          \
    }
        if (rows == 2)
            TWO_COLUMNS(2)
        else if (rows == 3)
            TWO_COLUMNS(3)
        else
            TWO_COLUMNS(rows)
#undef TWO_COLUMNS
        const double *divisor = c->divisor + c->divisor_row[o] * windows;
        const double *reciprocal = c->reciprocal + c->divisor_row[o] * windows;
        (void)reciprocal;
        for (int64_t j = 0; j < windows; j++, to += 8) {
            A sum = A_FOLDED(line + 8 * start[j], apart, step, count[j]);
            vf result = QUOTIENT(sum, FN(f_set)(divisor[j]), FN(f_set)(reciprocal[j]));
            odd |= ODD(result);
            FN(f_st)(to, result);
        }
    }
    for (int64_t i = 0; i < c->results; i += 8) {
        vf v[8];
        const int some = c->results - i < 8 ? (int)(c->results - i) : 8;
        for (int k = 0; k < 8; k++)
            v[k] = FN(f_ld)(s->results + 8 * (i + k));
        FN(f_turn8)(v);
        for (int k = 0; k < planes; k++) {
            char *p = out + k * out_step + i * TO_SIZE;
            if (some < 8)
                TON(p, v[k], some);
            else
                TO(p, v[k]);
        }
    }
    return odd;
}
#endif

/* 32 lanes to their sum; eight windows are folded together. */
static inline __attribute__((always_inline)) double *NAME(fold_lanes)(const A a[4], int64_t n, A *kept, int *filled, double *sums,
                                                                    int64_t plane)
{
#ifdef FOLD8
    kept[*filled] = n <= 8 ? a[0] : A_ADD(A_ADD(a[0], a[2]), A_ADD(a[1], a[3]));
    if (++*filled == 8) {
        A_ST(sums, plane, FOLD8(kept));
        *filled = 0;
        sums += 8;
    }
    return sums;
#else
    ACC lane[2 * CPOOL_LANES];
    (void)kept, (void)filled;
    for (int u = 0; u < 4; u++)
        A_ST(lane + 8 * u, CPOOL_LANES, a[u]);
    A_TREE(lane, CPOOL_LANES, 1, n < CPOOL_LANES ? n : CPOOL_LANES, sums, plane);
    return sums + 1;
#endif
}

/* The sums of windows whose rows are contiguous: n is the width, and `run` windows lie run_step apart. */
static inline __attribute__((always_inline)) double *NAME(windows)(const cpool_job *job, int vectors, A *kept, int *filled,
                                                                 double *sums, int64_t plane)
{
    const char *base = job->base;
    const int tail = (int)((job->n - 1) % 8) + 1;
    /* Between rows there are gaps, which the processor's own prefetching would rather fill; long ones outrun it. */
    const int64_t ahead = job->rows > FEW_ROWS ? cpool_ahead(job->off[1] - job->off[0], AHEAD_ROWS) : job->far ? AHEAD_FAR : 0;
    const int short_row = HAS_PERM && job->rows == 1 && job->n >= CPOOL_LANES && job->n < 2 * CPOOL_LANES;
    for (int64_t t = 0; t < job->run; t++, base += job->run_step) {
        A a[4];
        if (short_row)
            NAME(short_row)(base + job->off[0], ahead, a, vectors, tail);
        else
            NAME(window)(job, base, ahead, a, vectors, tail);
        sums = NAME(fold_lanes)(a, job->n, kept, filled, sums, plane);
    }
    return sums;
}

/* Windows beside each other, from afar, each row through all of them: so it comes in the order of memory. */
static double *NAME(beside)(const cpool_job *jobs, int count, A *kept, int *filled, double *sums, int64_t plane)
{
    ACC lanes[2 * BESIDE * CPOOL_LANES];
    const int64_t apart = BESIDE * CPOOL_LANES;
    const int64_t wide = jobs[count - 1].base + jobs[count - 1].n * SIZE - jobs->base;
    const int64_t ahead = cpool_ahead(cpool_pitch(jobs), (int)(AHEAD_FAR / wide + 1));
    for (int64_t r = 0; r < jobs->rows; r++)
        for (int g = 0; g < count; g++) {
            const cpool_job *job = jobs + g;
            const char *p = job->base + job->off[r];
            const int64_t whole = job->n - job->n % CPOOL_LANES;
            const int tail = (int)((job->n - 1) % 8) + 1;
            ACC *lane = lanes + g * CPOOL_LANES;
            A a[4];
            for (int u = 0; u < 4; u++)
                a[u] = r ? A_LD(lane + 8 * u, apart) : A_ZERO();
            switch ((job->n % CPOOL_LANES + 7) / 8) {
#define LEFT(V)                                                                                                    \
    case V:                                                                                                        \
        NAME(window_row)(p, whole, ahead, 1, a, V, tail);                                                          \
        break;
                LEFT(0) LEFT(1) LEFT(2) LEFT(3) LEFT(4)
#undef LEFT
            }
            for (int u = 0; u < 4; u++)
                A_ST(lane + 8 * u, apart, a[u]);
        }
    for (int g = 0; g < count; g++) {
        A a[4];
        for (int u = 0; u < 4; u++)
            a[u] = A_LD(lanes + g * CPOOL_LANES + 8 * u, apart);
        sums = NAME(fold_lanes)(a, jobs[g].n, kept, filled, sums, plane);
    }
    return sums;
}

static void NAME(lanes)(const cpool_job *jobs, int64_t count, double *sums, int64_t plane)
{
    A kept[8];
    int filled = 0;
    for (int64_t g = 0, some; g < count; g += some) {
        some = cpool_beside(jobs + g, count - g, MANY_COLUMNS);
        if (some > 1) {
            sums = NAME(beside)(jobs + g, (int)some, kept, &filled, sums, plane);
            continue;
        }
        switch ((jobs[g].n % CPOOL_LANES + 7) / 8) {
#define LEFT(V)                                                                                                    \
    case V:                                                                                                        \
        sums = NAME(windows)(jobs + g, V, kept, &filled, sums, plane);                                             \
        break;
            LEFT(0) LEFT(1) LEFT(2) LEFT(3) LEFT(4)
#undef LEFT
        }
    }
#ifdef FOLD8
    if (filled) {
        for (int k = filled; k < 8; k++)
            kept[k] = A_ZERO();
        A_ST(sums, plane, FOLD8(kept));
    }
#endif
}

#undef K2
#undef K1
#undef A_ZERO
#undef A_LD
#undef A_ST
#undef A_ADD
#undef A_FOLDED
#undef A_TREE
#undef A_PICKED
#undef A_PICKED_ANY
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
#undef FIRST
#undef BATCH
#undef XADD
#undef XZERO
#undef FOLD8
#undef DIRECT
#undef DIRECT_A
#undef WIDE
#undef ODD
#undef PLANES
#undef QUOTIENT
#undef ROWS
#undef TO
#undef TO_SIZE
#undef TON
