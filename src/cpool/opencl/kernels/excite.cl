/* Squeeze and excite: small layers of each image, and channels scaled by what comes of them. */

#ifdef X_F64
typedef double factor;
#else
typedef float factor;
#endif

static inline factor identity(factor x) { return x; }
static inline factor relu(factor x) { return x < 0 ? 0 : x; } /* NaN stays */
static inline factor relu6(factor x) { return x < 0 ? 0 : x > 6 ? 6 : x; }
static inline factor sigmoid(factor x) { return 1 / (1 + exp(-x)); }
static inline factor hardsigmoid(factor x) { return relu6(x + 3) / 6; }
static inline factor silu(factor x) { return x * sigmoid(x); }
static inline factor hardswish(factor x) { return x * hardsigmoid(x); }

#define LAYER(NAME, FUNCTION)                                                                                          \
    __kernel void NAME(const __global factor *x, const __global factor *w, const __global factor *bias,                \
                       __global factor *out, ulong terms, ulong results, ulong count)                                  \
    {                                                                                                                  \
        const ulong item = get_global_id(0);                                                                           \
        if (item >= count)                                                                                             \
            return;                                                                                                    \
        const ulong image = item / results, result = item - image * results;                                           \
        factor sum = 0;                                                                                                \
        for (ulong i = 0; i < terms; i++)                                                                              \
            sum += x[image * terms + i] * w[result * terms + i];                                                       \
        out[item] = FUNCTION(sum + bias[result]);                                                                      \
    }
LAYER(squeeze, ACTIVATION)
LAYER(gates, GATE)

enum { LENGTH = 0, X_STRIDE, OUT_STRIDE, FACTOR, FIELDS };

/* `meta`: how many axes, then each, the innermost first. */
__kernel void scale(source x, ulong x_offset, target out, ulong out_offset, table meta, const __global factor *factors,
                    ulong count)
{
    ulong rest = get_global_id(0);
    if (rest >= count)
        return;
    long from = 0, to = 0, which = 0;
    for (long a = 0; a < meta[0]; a++) {
        table axis = meta + 1 + a * FIELDS;
        const ulong next = rest / (ulong)axis[LENGTH];
        const long i = (long)(rest - next * (ulong)axis[LENGTH]);
        rest = next;
        from += i * axis[X_STRIDE];
        to += i * axis[OUT_STRIDE];
        which += i * axis[FACTOR];
    }
    const factor result = value_at(x + x_offset + from) * factors[which];
    PUT_FLOAT(out + out_offset + to, result);
}
