#include "region.h"

#if CPOOL_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
/* masks of n leading lanes begin at 8 - n */
static const int64_t cpool_masks[24] = {-1, -1, -1, -1, -1, -1, -1, -1};
#define ISA avx2
#include "vec_avx2.h"
#include "isa.h"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int cpool_no_avx2; /* a source must not be empty */
#endif
