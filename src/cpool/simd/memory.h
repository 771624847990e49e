/* Memory of large results: what one that died leaves is kept for the next. */
#ifndef CPOOL_MEMORY_H
#define CPOOL_MEMORY_H

#include <stddef.h>
#include <stdint.h>

int cpool_memory_is_kept(void);          /* whether this system can */
int cpool_memory_waits(size_t size);     /* whether there is some for so many bytes */
int64_t cpool_memory_waiting(void);      /* bytes in all */
int64_t cpool_memory_most(void);         /* ... that may be */

/* As NumPy asks for it. */
void *cpool_memory_new(void *context, size_t size);
void *cpool_memory_zeros(void *context, size_t count, size_t size);
void *cpool_memory_resized(void *context, void *memory, size_t size);
void cpool_memory_free(void *context, void *memory, size_t size);

#endif
