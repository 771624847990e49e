/* The largest of one type: the vocabulary of kernels.h out of ELEMENT, SIZE, X and the words of its lanes, LOAD,
 * LOAD_SOME (the first elements, zeros behind), BATCH, and WIDE (an X as doubles) or LONG (integers of 64 bits). */
#define TYPE CPOOL_PASTE(max, ELEMENT)
#define XADD LANE(max)
#define XZERO LANE(low)
#define XLD LOAD
#define XLDN(p, n) LANE(fill)(LOAD_SOME(p, n), n)
#ifdef LONG
#define A vq
#define ACC int64_t
#define KIND Q
#define TREE Q
#define ADDX FN(q_max)
#else
#define A vf
#define ACC double
#define KIND M
#define TREE M
#define ADDX(a, x) FN(f_max)(a, WIDE(x))
#define FOLD8 FN(f_max8)
#define DIRECT M
#define DIRECT_A vf
#define KEPT(x, n) WIDE(LANE(fill)(x, n))
#define PART X
#define PART_OF(x) (x)
#define PART_KEPT LANE(fill)
#define PART_ADD LANE(max)
#define SUM_OF_PART(a) WIDE(a)
#define QUOTIENT(sum, d, q) (sum)
#define ODD FN(f_odd)
#endif
#include "kernels.h"
#undef ELEMENT
#undef LANE
#undef LOAD
#undef LOAD_SOME
#undef LONG
