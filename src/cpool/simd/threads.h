/* What threads need of the system: atomics, time, fork, the team they are in. */
#ifndef CPOOL_THREADS_H
#define CPOOL_THREADS_H

#include <stdint.h>
#include <stdlib.h>

#ifdef _OPENMP
#include <omp.h>
static inline int cpool_openmp(void) { return 1; }
static inline int cpool_team_rank(void) { return omp_get_thread_num(); }
static inline int cpool_team_size(void) { return omp_get_num_threads(); }
static inline int cpool_openmp_threads(void) { return omp_get_max_threads(); }
#else
static inline int cpool_openmp(void) { return 0; }
static inline int cpool_team_rank(void) { return 0; }
static inline int cpool_team_size(void) { return 1; }
static inline int cpool_openmp_threads(void) { return 1; }
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
static inline int64_t cpool_take(volatile int64_t *next) { return _InterlockedExchangeAdd64(next, 1); }
static inline int64_t cpool_look(volatile int64_t *value) { return _InterlockedExchangeAdd64(value, 0); }
static inline void *cpool_swap(void *volatile *at, void *value) { return _InterlockedExchangePointer(at, value); }
#else
static inline int64_t cpool_take(volatile int64_t *next) { return __atomic_fetch_add(next, 1, __ATOMIC_ACQ_REL); }
static inline int64_t cpool_look(volatile int64_t *value) { return __atomic_load_n(value, __ATOMIC_ACQUIRE); }
static inline void *cpool_swap(void *volatile *at, void *value) { return __atomic_exchange_n(at, value, __ATOMIC_ACQ_REL); }
#endif

#if defined(_WIN32)
#include <windows.h>
static inline int64_t cpool_now(void)
{
    LARGE_INTEGER count, rate;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&rate);
    return (int64_t)((double)count.QuadPart * 1e9 / (double)rate.QuadPart);
}
static inline void cpool_yield(void) { SwitchToThread(); }
static inline int cpool_forked(void) { return 0; }
static inline void cpool_watch_fork(void) {}
#else
#include <pthread.h>
#include <sched.h>
#include <time.h>
static inline int64_t cpool_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}
static inline void cpool_yield(void) { sched_yield(); }

/* The child of a fork has none of its parent's threads, and an OpenMP that waits for them. */
static volatile int cpool_is_child;
static void cpool_in_child(void) { cpool_is_child = 1; }
static inline int cpool_forked(void) { return cpool_is_child; }
static inline void cpool_watch_fork(void) { pthread_atfork(NULL, NULL, cpool_in_child); }
#endif

/* A worker that wakes up is often put on the processor of the thread that woke it. There the two would
 * spin for each other in OpenMP's barrier, for whole time slices: so it moves, and stays free to move. */
#if defined(__linux__) && defined(CPU_COUNT)
/* How many processors this thread may run on now; 0 if that can't be told. */
static inline int cpool_processors(void)
{
    cpu_set_t all;
    return sched_getaffinity(0, sizeof all, &all) ? 0 : CPU_COUNT(&all);
}
static inline int cpool_cpu(void) { return sched_getcpu(); }
static inline void cpool_leave_cpu(int cpu)
{
    cpu_set_t all, others;
    if (cpu < 0 || sched_getcpu() != cpu || sched_getaffinity(0, sizeof all, &all))
        return;
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof all, &all);
}
#else
static inline int cpool_processors(void) { return 0; }
static inline int cpool_cpu(void) { return -1; }
static inline void cpool_leave_cpu(int cpu) { (void)cpu; }
#endif

static inline void cpool_pause(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    __builtin_ia32_pause();
#endif
}

/* One block of scratch is kept between calls; whoever takes it owns it until it comes back. */
static void *volatile cpool_spare;

static inline void *cpool_scratch_take(int64_t bytes)
{
    int64_t *block = (int64_t *)cpool_swap(&cpool_spare, NULL);
    if (block && block[0] >= bytes)
        return block + 8;
    free(block);
    block = (int64_t *)malloc((size_t)bytes + 64);
    if (!block)
        return NULL;
    block[0] = bytes;
    return block + 8;
}

static inline void cpool_scratch_give(void *scratch)
{
    int64_t *block = (int64_t *)scratch - 8;
    if (block[0] > 4 << 20) { /* too much to sit on */
        free(block);
        return;
    }
    free(cpool_swap(&cpool_spare, block));
}

#endif
