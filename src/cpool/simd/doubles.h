/* Sums in doubles: what their types share of the vocabulary of kernels.h. The order of additions counts for floats, so
 * there are no batches. Without TO and TON, results are another type's. */
#define A vf
#define ACC double
#define KIND F
#define TREE F
#define X vf
#define XADD FN(f_add)
#define XZERO FN(f_zero)
#define ADDX FN(f_add)
#define BATCH 0
#define FOLD8 FN(f_fold8)
#define DIRECT F
#define DIRECT_A vf
#define WIDE FN(f_same)
#define ODD(result) 0
#ifdef TO
#define PLANES
#endif
#define QUOTIENT(sum, d, q) FN(f_div)(sum, d, q)
#include "kernels.h"
