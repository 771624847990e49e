/* What elements, sums and results are: chosen by the names that the host defines.
 *
 * X_... the type of an element, O_... of a result; one of SUM_DOUBLE, SUM_PAIR, SUM_BITS, SUM_LONG,
 * SUM_WIDE or LARGEST.
 * FP64: the device has doubles. Strides and offsets are bytes. */

#pragma OPENCL FP_CONTRACT OFF

#ifdef FP64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#ifdef LONG /* windows of 2^31 elements and more */
typedef ulong extent;
#define NOWHERE ULONG_MAX
#else
typedef uint extent;
#define NOWHERE UINT_MAX
#endif

typedef const __global uchar *source;
typedef __global uchar *target;
typedef const __global long *table;

/* ---- elements as they lie in memory ------------------------------------------------------------- */

#if defined X_I8 || defined X_U8
typedef uchar raw;
typedef uchar8 raw8;
#elif defined X_F16 || defined X_BF16 || defined X_I16 || defined X_U16
typedef ushort raw;
typedef ushort8 raw8;
#elif defined X_F32 || defined X_I32 || defined X_U32
typedef uint raw;
typedef uint8 raw8;
#else
typedef ulong raw;
typedef ulong8 raw8;
#endif

static inline raw raw_at(source p) { return *(const __global raw *)p; }

#if defined X_F16
static inline float value_at(source p) { return vload_half(0, (const __global half *)p); }
#elif defined X_BF16
static inline float value_at(source p) { return as_float((uint)raw_at(p) << 16); }
#elif defined X_F32
static inline float value_at(source p) { return *(const __global float *)p; }
#elif defined X_F64 && defined FP64
static inline double value_at(source p) { return *(const __global double *)p; }
#elif defined X_F64
static inline ulong value_at(source p) { return raw_at(p); }
#elif defined X_I8
static inline long value_at(source p) { return *(const __global char *)p; }
#elif defined X_U8
static inline long value_at(source p) { return *(const __global uchar *)p; }
#elif defined X_I16
static inline long value_at(source p) { return *(const __global short *)p; }
#elif defined X_U16
static inline long value_at(source p) { return *(const __global ushort *)p; }
#elif defined X_I32
static inline long value_at(source p) { return *(const __global int *)p; }
#elif defined X_U32
static inline long value_at(source p) { return *(const __global uint *)p; }
#elif defined X_I64
static inline long value_at(source p) { return *(const __global long *)p; }
#elif defined X_U64
static inline ulong value_at(source p) { return *(const __global ulong *)p; }
#endif

#if defined SIDE || defined ALONG || defined LINE
/* Eight neighbours at a time, of which so many are there: what processors want. */
static inline raw8 raws_at(source p, long left)
{
    if (left >= 8)
        return vload8(0, (const __global raw *)p);
    raw some[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < left; i++)
        some[i] = ((const __global raw *)p)[i];
    return vload8(0, some);
}
#endif

/* ---- results --------------------------------------------------------------------------------------- */

static inline ushort bfloat16_of(float x)
{
    const uint bits = as_uint(x);
    if (x != x)
        return (ushort)(bits >> 16 | 0x40);
    return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#if defined O_F16
#define PUT_FLOAT(p, x) vstore_half_rte((float)(x), 0, (__global half *)(p))
#elif defined O_BF16
#define PUT_FLOAT(p, x) (*(__global ushort *)(p) = bfloat16_of((float)(x)))
#elif defined O_F32
#define PUT_FLOAT(p, x) (*(__global float *)(p) = (float)(x))
#elif defined O_F64
#define PUT_FLOAT(p, x) (*(__global double *)(p) = (x))
#else
#define O_INTEGER
#if defined O_I8
#define PUT_LONG(p, x) (*(__global char *)(p) = (char)(x))
#define LEAST (-0x7fL - 1)
#define MOST 0x7fUL
#elif defined O_U8
#define PUT_LONG(p, x) (*(__global uchar *)(p) = (uchar)(x))
#define LEAST 0L
#define MOST 0xffUL
#elif defined O_I16
#define PUT_LONG(p, x) (*(__global short *)(p) = (short)(x))
#define LEAST (-0x7fffL - 1)
#define MOST 0x7fffUL
#elif defined O_U16
#define PUT_LONG(p, x) (*(__global ushort *)(p) = (ushort)(x))
#define LEAST 0L
#define MOST 0xffffUL
#elif defined O_I32
#define PUT_LONG(p, x) (*(__global int *)(p) = (int)(x))
#define LEAST (-0x7fffffffL - 1)
#define MOST 0x7fffffffUL
#elif defined O_U32
#define PUT_LONG(p, x) (*(__global uint *)(p) = (uint)(x))
#define LEAST 0L
#define MOST 0xffffffffUL
#elif defined O_I64
#define PUT_LONG(p, x) (*(__global long *)(p) = (long)(x))
#define LEAST (-0x7fffffffffffffffL - 1)
#define MOST 0x7fffffffffffffffUL
#elif defined O_U64
#define PUT_LONG(p, x) (*(__global ulong *)(p) = (ulong)(x))
#define LEAST 0L
#define MOST 0xffffffffffffffffUL
#endif
#endif

#if defined SUM_DOUBLE && (defined SIDE || defined LINE)
#if defined O_F16
#define PUT_FLOATS(p, x) vstore_half8_rte(convert_float8(x), 0, (__global half *)(p))
#define O_SIZE 2
#elif defined O_F32
#define PUT_FLOATS(p, x) vstore8(convert_float8(x), 0, (__global float *)(p))
#define O_SIZE 4
#elif defined O_F64
#define PUT_FLOATS(p, x) vstore8(x, 0, (__global double *)(p))
#define O_SIZE 8
#endif
#endif
