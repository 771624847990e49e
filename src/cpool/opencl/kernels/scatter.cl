/* Gradients of the largest. An item owns an element of a plane and adds what the indices give it, in the order of the
 * outputs: nothing is scattered, and no two items write to one place. Outputs are taken in chunks, and of each chunk
 * it is known in which box the elements lie that it reaches; of so many chunks, in which box all of theirs lie, and so
 * on: an element looks into the boxes that it is in.
 *
 * `meta`: outputs of a plane, elements of it, planes, levels of boxes and boxes of a plane, then where each level
 * begins, then the axes: of planes (kept), of outputs, of elements; of each the innermost first. */

enum { OUTPUTS = 0, ELEMENTS, PLANES, LEVELS, BOXES, PLANE_AXES, OUTPUT_AXES, HEAD };
enum { LENGTH = 0, GRAD_STRIDE, INDEX_STRIDE, OUT_STRIDE, FIELDS };
enum { CHUNK_BITS = 5, FAN_BITS = 3, FAN = 1 << FAN_BITS };

/* Elements from low to high along each axis; none of them where low lies beyond high. `extent` is what numbers the
 * elements of a plane. */
typedef struct {
    extent low[POOLED], high[POOLED];
} box;

static inline box nowhere(void)
{
    box b;
    for (int a = 0; a < POOLED; a++) {
        b.low[a] = NOWHERE;
        b.high[a] = 0;
    }
    return b;
}

static inline int is_in(const __global box *b, const extent here[POOLED])
{
    for (int a = POOLED - 1; a >= 0; a--) /* the outermost tells most of them apart */
        if (here[a] < b->low[a] || here[a] > b->high[a])
            return 0;
    return 1;
}

/* How many outputs a box of this level stands for, and how many boxes there are. */
static inline ulong span_of(int level) { return 1UL << (CHUNK_BITS + FAN_BITS * level); }

static inline ulong boxes_of(table meta, int level)
{
    return ((ulong)meta[OUTPUTS] + span_of(level) - 1) / span_of(level);
}

/* Where an element lies along each axis. */
static inline void place_of(table elements, extent element, extent here[POOLED])
{
    for (int a = 0; a < POOLED - 1; a++) {
        const extent length = (extent)elements[a * FIELDS + LENGTH], next = element / length;
        here[a] = element - next * length;
        element = next;
    }
    here[POOLED - 1] = element;
}

/* Bytes to number `i` of these axes. */
static long at(table axes, int count, ulong i, int field)
{
    long bytes = 0;
    for (int a = 0; a < count - 1; a++) {
        const ulong length = (ulong)axes[a * FIELDS + LENGTH], next = i / length;
        bytes += (long)(i - next * length) * axes[a * FIELDS + field];
        i = next;
    }
    return bytes + (long)i * axes[(count - 1) * FIELDS + field];
}

/* The box of each chunk; `bad` if an index lies outside of its plane. */
__kernel void look(source indices, ulong indices_offset, table meta, __global box *boxes, ulong count,
                   volatile __global int *bad, __global long *wrong)
{
    const ulong unit = get_global_id(0);
    if (unit >= count)
        return;
    const ulong chunks = boxes_of(meta, 0), plane = unit / chunks, chunk = unit - plane * chunks;
    const ulong first = chunk * span_of(0), last = min(first + span_of(0), (ulong)meta[OUTPUTS]);
    table planes = meta + HEAD + meta[LEVELS], outputs = planes + meta[PLANE_AXES] * FIELDS,
          elements = outputs + meta[OUTPUT_AXES] * FIELDS;
    source p = indices + indices_offset + at(planes, (int)meta[PLANE_AXES], plane, INDEX_STRIDE);
    box b = nowhere();
    for (ulong o = first; o < last; o++) {
        const long i = *(const __global long *)(p + at(outputs, (int)meta[OUTPUT_AXES], o, INDEX_STRIDE));
        if ((i < 0 || i >= meta[ELEMENTS]) && atomic_xchg(bad, 1) == 0) /* any of the wrong ones will do */
            *wrong = i;
        extent here[POOLED];
        place_of(elements, (extent)i, here);
        for (int a = 0; a < POOLED; a++) {
            b.low[a] = min(b.low[a], here[a]);
            b.high[a] = max(b.high[a], here[a]);
        }
    }
    boxes[plane * (ulong)meta[BOXES] + chunk] = b;
}

/* The boxes of a level, each of some of the level below. */
__kernel void enclose(table meta, __global box *boxes, uint level, ulong count)
{
    const ulong unit = get_global_id(0);
    if (unit >= count)
        return;
    const ulong several = boxes_of(meta, (int)level), plane = unit / several, own = unit - plane * several;
    table begins = meta + HEAD;
    boxes += plane * (ulong)meta[BOXES];
    const __global box *below = boxes + begins[level - 1];
    const ulong last = min((own + 1) * FAN, boxes_of(meta, (int)level - 1));
    box b = nowhere();
    for (ulong i = own * FAN; i < last; i++)
        for (int a = 0; a < POOLED; a++) {
            b.low[a] = min(b.low[a], below[i].low[a]);
            b.high[a] = max(b.high[a], below[i].high[a]);
        }
    boxes[begins[level] + (long)own] = b;
}

__kernel void scatter(source grad, ulong grad_offset, source indices, ulong indices_offset, target out,
                      ulong out_offset, table meta, const __global box *boxes, ulong count)
{
    const ulong item = get_global_id(0);
    if (item >= count)
        return;
#ifdef PLANES_INSIDE /* neighbours are planes */
    const ulong many = (ulong)meta[PLANES], element = item / many, plane = item - element * many;
#else
    const ulong many = (ulong)meta[ELEMENTS], plane = item / many, element = item - plane * many;
#endif
    const int plane_axes = (int)meta[PLANE_AXES], output_axes = (int)meta[OUTPUT_AXES], top = (int)meta[LEVELS] - 1;
    table begins = meta + HEAD, planes = begins + top + 1, outputs = planes + plane_axes * FIELDS,
          elements = outputs + output_axes * FIELDS;
    source g = grad + grad_offset + at(planes, plane_axes, plane, GRAD_STRIDE);
    source p = indices + indices_offset + at(planes, plane_axes, plane, INDEX_STRIDE);
    boxes += plane * (ulong)meta[BOXES];
    extent here[POOLED];
    place_of(elements, (extent)element, here);
    total sum = NOTHING;
    const ulong end = (ulong)meta[OUTPUTS];
    int level = top;
    for (ulong o = 0; o < end;) {
        if (!is_in(boxes + begins[level] + (long)(o >> (CHUNK_BITS + FAN_BITS * level)), here)) {
            o += span_of(level);
        } else if (level > 0) {
            level--;
            continue;
        } else {
            for (const ulong last = min(o + span_of(0), end); o < last; o++)
                if (*(const __global long *)(p + at(outputs, output_axes, o, INDEX_STRIDE)) == (long)element)
                    add(&sum, value_at(g + at(outputs, output_axes, o, GRAD_STRIDE)));
            tidy(&sum);
        }
        while (level < top && !(o & (span_of(level + 1) - 1))) /* the largest box that begins here */
            level++;
    }
    target to = out + out_offset + at(planes, plane_axes, plane, OUT_STRIDE);
    for (int a = 0; a < POOLED; a++)
        to += (long)here[a] * elements[a * FIELDS + OUT_STRIDE];
    finish(to, sum, 1);
}
