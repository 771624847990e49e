/* How fast this machine reads and copies: the floor under every pooling.
 *
 * Plain vector loops, compiled and loaded by limit.py. The loops are leaf functions with a target of
 * their own; the OpenMP regions around them are plain code that calls them through a pointer.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#endif

/* Read n bytes with aligned loads and four sums; the two ends are read by loads that overlap them. */
#define READ(ISA, TARGET, BYTES)                                                                   \
    typedef uint64_t vec_##ISA __attribute__((vector_size(BYTES), aligned(1), may_alias));         \
    TARGET static uint64_t read_##ISA(const char *in, size_t n) {                                  \
        uint64_t all = 0;                                                                          \
        const char *end = in + n;                                                                  \
        if (n < BYTES) {                                                                           \
            while (in < end) all |= (unsigned char)*in++;                                          \
            return all;                                                                            \
        }                                                                                          \
        vec_##ISA a = *(const vec_##ISA *)in, b = *(const vec_##ISA *)(end - BYTES), c = a, d = b; \
        const vec_##ISA *p = (const vec_##ISA *)(((uintptr_t)in + BYTES - 1) & ~(uintptr_t)(BYTES - 1)); \
        for (; (const char *)(p + 4) <= end; p += 4) a |= p[0], b |= p[1], c |= p[2], d |= p[3];   \
        for (; (const char *)(p + 1) <= end; p++) a |= p[0];                                       \
        a |= b | c | d;                                                                            \
        for (size_t i = 0; i < BYTES / 8; i++) all |= a[i];                                        \
        return all;                                                                                \
    }

/* Copy n bytes to `out`, which is aligned to BYTES; STREAM writes past the caches. */
#define COPY(NAME, ISA, TARGET, BYTES, STORE, FENCE)                                               \
    TARGET static void NAME##_##ISA(char *out, const char *in, size_t n) {                         \
        size_t i = 0;                                                                              \
        for (; i + 4 * BYTES <= n; i += 4 * BYTES) {                                               \
            const vec_##ISA *p = (const vec_##ISA *)(in + i);                                      \
            vec_##ISA a = p[0], b = p[1], c = p[2], d = p[3];                                      \
            STORE(out + i, a);                                                                     \
            STORE(out + i + BYTES, b);                                                             \
            STORE(out + i + 2 * BYTES, c);                                                         \
            STORE(out + i + 3 * BYTES, d);                                                         \
        }                                                                                          \
        memcpy(out + i, in + i, n - i);                                                            \
        FENCE;                                                                                     \
    }

#define PLAIN_128(p, v) (*(vec_baseline *)(p) = (v))
#define PLAIN_256(p, v) (*(vec_avx2 *)(p) = (v))
#define PLAIN_512(p, v) (*(vec_avx512 *)(p) = (v))
#define STREAM_128(p, v) _mm_stream_si128((__m128i *)(p), (__m128i)(v))
#define STREAM_256(p, v) _mm256_stream_si256((__m256i *)(p), (__m256i)(v))
#define STREAM_512(p, v) _mm512_stream_si512((void *)(p), (__m512i)(v))
#define NONE

READ(baseline, NONE, 16)
COPY(copy, baseline, NONE, 16, PLAIN_128, (void)0)
#ifdef X86
#define AVX2 __attribute__((target("avx2")))
#define AVX512 __attribute__((target("avx512f")))
COPY(stream, baseline, NONE, 16, STREAM_128, _mm_sfence())
READ(avx2, AVX2, 32)
COPY(copy, avx2, AVX2, 32, PLAIN_256, (void)0)
COPY(stream, avx2, AVX2, 32, STREAM_256, _mm_sfence())
READ(avx512, AVX512, 64)
COPY(copy, avx512, AVX512, 64, PLAIN_512, (void)0)
COPY(stream, avx512, AVX512, 64, STREAM_512, _mm_sfence())
#endif

typedef uint64_t reader(const char *, size_t);
typedef void copier(char *, const char *, size_t);

static struct {
    const char *name;
    reader *read;
    copier *copy, *stream;
} best = {"baseline", read_baseline, copy_baseline, NULL};

static volatile uint64_t sink;

/* The widest instruction set of this machine; call it first. */
const char *limit_start(void) {
#ifdef X86
    best.stream = stream_baseline;
    if (__builtin_cpu_supports("avx2"))
        best.name = "avx2", best.read = read_avx2, best.copy = copy_avx2, best.stream = stream_avx2;
    if (__builtin_cpu_supports("avx512f"))
        best.name = "avx512", best.read = read_avx512, best.copy = copy_avx512, best.stream = stream_avx512;
#endif
    return best.name;
}

int limit_openmp(void) {
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

static size_t share(size_t n, int rank, int threads) {
    return rank == threads ? n : n / threads * rank & ~(size_t)63;
}

static void read_part(const char *in, size_t n, int rank, int threads) {
    size_t from = share(n, rank, threads);
    sink = best.read(in + from, share(n, rank + 1, threads) - from);
}

/* Read `n` bytes and write `m`: as many as there are of both are copied, the rest is read or filled. */
static void copy_part(const char *in, size_t n, char *out, size_t m, copier *copy, int rank, int threads) {
    size_t both = n < m ? n : m;
    size_t from = share(both, rank, threads), size = share(both, rank + 1, threads) - from;
    copy(out + from, in + from, size);
    if (n > both) read_part(in + both, n - both, rank, threads);
    if (m > both) {
        from = share(m - both, rank, threads);
        memset(out + both + from, 1, share(m - both, rank + 1, threads) - from);
    }
}

/* Read the n bytes `times` times. */
void limit_read(const char *in, size_t n, int threads, long times) {
    for (long t = 0; t < times; t++) {
#ifdef _OPENMP
        if (threads > 1) {
#pragma omp parallel num_threads(threads)
            read_part(in, n, omp_get_thread_num(), omp_get_num_threads());
            continue;
        }
#endif
        read_part(in, n, 0, 1);
    }
}

/* Read n bytes and write m, `times` times; `out` is aligned to 64 bytes. */
void limit_copy(const char *in, size_t n, char *out, size_t m, int stream, int threads, long times) {
    copier *copy = stream && best.stream ? best.stream : best.copy;
    for (long t = 0; t < times; t++) {
#ifdef _OPENMP
        if (threads > 1) {
#pragma omp parallel num_threads(threads)
            copy_part(in, n, out, m, copy, omp_get_thread_num(), omp_get_num_threads());
            continue;
        }
#endif
        copy_part(in, n, out, m, copy, 0, 1);
    }
}
