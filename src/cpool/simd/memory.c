/* C libraries give large blocks back to the system at once, and the next result waits for it to make new pages of zeros,
 * which takes longer than to write them. So the last few are kept, as pages that the system may take while nobody uses
 * them: where memory is short it does. */

#define _GNU_SOURCE /* madvise */

#include "memory.h"

#include <stdlib.h>
#include <string.h>

#include "threads.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#ifdef MADV_FREE

enum {
    FRONT = 65536,  /* bytes before what is handed out, which tell its length: whole pages, however large these are */
    HUGE = 2 << 20, /* bytes of a huge page */
    BLOCKS = 4,     /* kept at most */
    SHARE = 16,     /* of the machine's memory, at most this part */
    LOOSE = 4       /* a block may be larger than what is asked for, by this part */
};

typedef struct {
    size_t length; /* of the mapping */
} head;

static head *kept[BLOCKS]; /* the youngest first */
static void *volatile busy;

/* Who can't have the list at once does without it. */
static int enter(void) { return cpool_swap(&busy, kept) == NULL; }
static void leave(void) { cpool_swap(&busy, NULL); }

static size_t length_for(size_t size)
{
    return size > SIZE_MAX - FRONT - HUGE ? 0 : (size + FRONT + HUGE - 1) / HUGE * HUGE;
}

static int64_t waiting(void)
{
    int64_t sum = 0;
    for (int k = 0; k < BLOCKS; k++)
        sum += kept[k] ? (int64_t)kept[k]->length : 0;
    return sum;
}

static head *take(int k)
{
    head *const found = kept[k];
    memmove(kept + k, kept + k + 1, (size_t)(BLOCKS - 1 - k) * sizeof *kept);
    kept[BLOCKS - 1] = NULL;
    return found;
}

/* The place of the smallest block that will do, or -1. */
static int place_of(size_t length)
{
    int best = -1;
    for (int k = 0; k < BLOCKS; k++)
        if (kept[k] && kept[k]->length >= length && kept[k]->length - length <= length / LOOSE)
            if (best < 0 || kept[k]->length < kept[best]->length)
                best = k;
    return best;
}

int cpool_memory_is_kept(void) { return 1; }

int64_t cpool_memory_most(void)
{
    const int64_t most = (int64_t)1 << 30, pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const int64_t share = pages > 0 && page > 0 ? pages / SHARE * page : 0;
    return share < most ? share : most;
}

int64_t cpool_memory_waiting(void)
{
    int64_t found = 0;
    if (enter()) {
        found = waiting();
        leave();
    }
    return found;
}

int cpool_memory_waits(size_t size)
{
    int found = 0;
    if (enter()) {
        found = place_of(length_for(size)) >= 0;
        leave();
    }
    return found;
}

/* All that is kept goes back to the system. */
static void let_go(void)
{
    if (!enter())
        return;
    while (kept[0]) {
        head *const one = take(0);
        munmap(one, one->length);
    }
    leave();
}

static head *mapped(size_t length)
{
    void *const found = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED)
        return NULL;
    madvise(found, length, MADV_HUGEPAGE);
    ((head *)found)->length = length;
    return found;
}

void *cpool_memory_new(void *context, size_t size)
{
    const size_t length = length_for(size);
    head *block = NULL;
    (void)context;
    if (!length)
        return NULL;
    if (enter()) {
        const int k = place_of(length);
        block = k < 0 ? NULL : take(k);
        leave();
    }
    if (!block) {
        block = mapped(length);
        if (!block) {
            let_go();
            block = mapped(length);
        }
    }
    return block ? (char *)block + FRONT : NULL;
}

void cpool_memory_free(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    if (!memory)
        return;
    head *block = (head *)(void *)((char *)memory - FRONT), *leaving[BLOCKS] = {block};
    const int64_t length = (int64_t)block->length, most = cpool_memory_most();
    int count = 1;
    if (length <= most && !madvise(memory, block->length - FRONT, MADV_FREE) && enter()) {
        count = 0;
        for (int k = BLOCKS - 1; k >= 0; k--) /* the oldest make room */
            if (kept[k] && (kept[BLOCKS - 1] || waiting() + length > most))
                leaving[count++] = take(k);
        memmove(kept + 1, kept, (BLOCKS - 1) * sizeof *kept);
        kept[0] = block;
        leave();
    }
    while (count--)
        munmap(leaving[count], leaving[count]->length);
}

void *cpool_memory_zeros(void *context, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    void *const found = cpool_memory_new(context, count * size);
    return found ? memset(found, 0, count * size) : NULL;
}

void *cpool_memory_resized(void *context, void *memory, size_t size)
{
    if (!memory)
        return cpool_memory_new(context, size);
    const size_t before = ((head *)(void *)((char *)memory - FRONT))->length - FRONT;
    void *const found = cpool_memory_new(context, size);
    if (!found)
        return NULL;
    memcpy(found, memory, before < size ? before : size);
    cpool_memory_free(context, memory, before);
    return found;
}

#else

int cpool_memory_is_kept(void) { return 0; }
int cpool_memory_waits(size_t size) { return (void)size, 0; }
int64_t cpool_memory_waiting(void) { return 0; }
int64_t cpool_memory_most(void) { return 0; }
void *cpool_memory_new(void *context, size_t size) { return (void)context, malloc(size); }
void *cpool_memory_zeros(void *context, size_t count, size_t size) { return (void)context, calloc(count, size); }
void *cpool_memory_resized(void *context, void *memory, size_t size) { return (void)context, realloc(memory, size); }
void cpool_memory_free(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

#endif
