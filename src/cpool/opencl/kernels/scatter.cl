/* Gradients of the largest. An item owns an element of a plane and adds what the indices give it, in the order of the
 * outputs: nothing is scattered, and no two items write to one place. Outputs are taken in chunks, and of each chunk
 * it is known which elements it reaches.
 *
 * `meta`: outputs of a plane, elements of it, chunks, then the axes: of planes (kept), of outputs, of elements. */

enum { OUTPUTS = 0, ELEMENTS, CHUNKS, PLANES, PLANE_AXES, OUTPUT_AXES, ELEMENT_AXES, AXES };
enum { LENGTH = 0, GRAD_STRIDE, INDEX_STRIDE, OUT_STRIDE, FIELDS };
enum { CHUNK = 64 };

/* Bytes to number `i` of these axes, the innermost first. */
static long at(table axes, int count, ulong i, int field)
{
    long bytes = 0;
    for (int a = 0; a < count - 1; a++) {
        const ulong length = (ulong)axes[a * FIELDS + LENGTH], next = i / length;
        bytes += (long)(i - next * length) * axes[a * FIELDS + field];
        i = next;
    }
    return count ? bytes + (long)i * axes[(count - 1) * FIELDS + field] : 0;
}

/* For each chunk the least and the largest of its indices; `bad` if one lies outside of its plane. */
__kernel void look(source indices, ulong indices_offset, table meta, __global long *bounds, ulong count,
                   volatile __global int *bad, __global long *wrong)
{
    const ulong unit = get_global_id(0);
    if (unit >= count)
        return;
    const ulong chunks = (ulong)meta[CHUNKS], plane = unit / chunks, chunk = unit - plane * chunks;
    const ulong first = chunk * CHUNK, last = min(first + CHUNK, (ulong)meta[OUTPUTS]);
    table planes = meta + AXES, outputs = planes + meta[PLANE_AXES] * FIELDS;
    source p = indices + indices_offset + at(planes, (int)meta[PLANE_AXES], plane, INDEX_STRIDE);
    long low = LONG_MAX, high = -1;
    for (ulong o = first; o < last; o++) {
        const long i = *(const __global long *)(p + at(outputs, (int)meta[OUTPUT_AXES], o, INDEX_STRIDE));
        if ((i < 0 || i >= meta[ELEMENTS]) && atomic_xchg(bad, 1) == 0) /* any of the wrong ones will do */
            *wrong = i;
        low = min(low, i);
        high = max(high, i);
    }
    bounds[2 * unit] = low;
    bounds[2 * unit + 1] = high;
}

__kernel void scatter(source grad, ulong grad_offset, source indices, ulong indices_offset, target out,
                      ulong out_offset, table meta, const __global long *bounds, ulong count)
{
    const ulong item = get_global_id(0);
    if (item >= count)
        return;
    const ulong elements = (ulong)meta[ELEMENTS], chunks = (ulong)meta[CHUNKS];
#ifdef PLANES_INSIDE /* neighbours are planes */
    const ulong planes_count = (ulong)meta[PLANES], element = item / planes_count, plane = item - element * planes_count;
#else
    const ulong plane = item / elements, element = item - plane * elements;
#endif
    table planes = meta + AXES, outputs = planes + meta[PLANE_AXES] * FIELDS,
          places = outputs + meta[OUTPUT_AXES] * FIELDS;
    const int plane_axes = (int)meta[PLANE_AXES], output_axes = (int)meta[OUTPUT_AXES];
    source g = grad + grad_offset + at(planes, plane_axes, plane, GRAD_STRIDE);
    source p = indices + indices_offset + at(planes, plane_axes, plane, INDEX_STRIDE);
    const __global long *bound = bounds + 2 * plane * chunks;
    total sum = NOTHING;
    for (ulong k = 0; k < chunks; k++) {
        if ((long)element < bound[2 * k] || (long)element > bound[2 * k + 1])
            continue;
        const ulong last = min((k + 1) * CHUNK, (ulong)meta[OUTPUTS]);
        for (ulong o = k * CHUNK; o < last; o++)
            if (*(const __global long *)(p + at(outputs, output_axes, o, INDEX_STRIDE)) == (long)element)
                add(&sum, value_at(g + at(outputs, output_axes, o, GRAD_STRIDE)));
        tidy(&sum);
    }
    finish(out + out_offset + at(planes, plane_axes, plane, OUT_STRIDE) +
               at(places, (int)meta[ELEMENT_AXES], element, OUT_STRIDE),
           sum, 1);
}
