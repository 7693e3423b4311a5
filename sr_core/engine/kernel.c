/* UpFront's sparse super-resolution kernel: C11 with vector extensions, no libc, no globals,
 * no allocation, no threads. One source for AVX2, AVX-512, NEON and WebAssembly.
 *
 * A *blob* (made by pack.py) holds a network: buffers, steps of operations, and for every group
 * of 1 or 4 output channels the list of kept (input channel, row, column) positions with their
 * weights. It does not depend on the size of the image, on VL or on K. Nothing in it is trusted:
 * `sr_check` proves every index before anything else reads it.
 *
 * A *plan* expands the positions into memory offsets for tiles of up to `columns` pixels. It is
 * read-only afterwards, so any number of threads may share it.
 *
 * `sr_run` computes one tile of the output, depth first: time goes by rows of the input, and at
 * time t a step that lies `delay` rows behind computes its row t - delay. Between steps only a
 * ring of a few rows is kept, so a tile lives in the L2 cache. A tile computes the margin that
 * it needs of its neighbours' rows and columns itself; tiles share nothing and may run in any
 * order. Every output value is the same sum in the same order whatever the tiles are.
 *
 * A row of a ring is [channel][vector], and the columns lie across the vectors: with L vectors to
 * a row, lane i of vector j holds column i L + j. So the neighbour of a whole vector of columns
 * is the next vector, and every load of a convolution is aligned. The first and last vectors of
 * a channel get margins (`wrap`) that hold the neighbours there, or the zeros of the padding.
 *
 * A network that sees luma takes and gives one plane, or RGB: then the operations that read the
 * image make Y, Cb and Cr of it, and the one that writes makes RGB of them.
 */
#include <stdint.h>

/* Floats in a vector, and the shape of the two micro-kernels, chosen for each instruction set by
 * measuring (docs/engine.md). K: vectors of a channel that a step computes at once, a chunk; more
 * of them share what a group of positions costs by itself. K4: those that four channels sum up at
 * once: 4 K4 sums and K4 inputs have to stay in registers. */
#if defined(__AVX512F__)
#define VL 16
#define K 4
#define K4 4
#elif defined(__AVX2__)
#define VL 8
#define K 8
#define K4 3 /* with one weight all 16 registers */
#elif defined(__wasm__) || defined(__x86_64__)
#define VL 4
#define K 4
#define K4 2 /* 16 registers, and on most computers a browser has no more */
#else
#define VL 4
#define K 6
#define K4 6
#endif
#define CHUNK (K * VL) /* floats of a channel in a chunk */
#define LANES 4        /* output channels of a full group */
#define MAGIC 0x52534655u
#define VERSION 2

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif
#define INLINE static inline __attribute__((always_inline))
#define OUTLINE static __attribute__((noinline)) /* whose registers are its own */

/* Limits that keep all sizes far from overflow. */
enum {
    MAX_SCALE = 4, MAX_CHANNELS = 1024, MAX_ROWS = 256, MAX_BUFFERS = 256, MAX_OPS = 512,
    MAX_DELAY = 4096, MAX_WORDS = 1 << 24, MAX_COLUMNS = 1 << 16, MAX_SIDE = 1 << 20,
    RGB = 3, MIX_VALUES = 1 + RGB
};

/* Faults that `sr_check`, `sr_plan` and `sr_run` return; session.py has a sentence for each. */
enum {
    OK, BAD_SIZE, BAD_MAGIC, BAD_VERSION, BAD_CHECKSUM, BAD_HEADER, BAD_BUFFER, BAD_STEP, BAD_OP,
    BAD_LIST, BAD_GROUP, BAD_POSITION, BAD_TILE
};

enum { READ_ZERO, READ_EDGE, CONV, WRITE };

typedef struct {
    uint32_t magic, version, words, checksum;
    int32_t scale;
    int32_t planes; /* of the image and of the result: 3 of RGB, 1 of luma */
    int32_t buffers, steps, ops, lists, groups, positions, values;
} Header;

typedef struct {
    int32_t channels, rows; /* rows of the ring; 0: one chunk of one row, inside a step */
    int32_t shares;         /* an earlier buffer whose memory it takes over, -1: none */
} Buffer;

typedef struct {
    int32_t first_op, ops;
    int32_t delay; /* rows behind time */
    int32_t reach; /* rows and columns beyond a tile that later steps need of this one */
} Step;

typedef struct {
    int32_t kind;
    int32_t source, target; /* buffers */
    int32_t residual;       /* buffer that is added, -1: none; WRITE: of chroma */
    int32_t kernel, relu;
    int32_t first_group, groups;
    float shift; /* READ_*: subtracted from the image */
    /* READ_*, WRITE: of the values, where those are that make colours of others; -1: nowhere. A
     * bias and three weights for each colour that is made.
     * CONV: where the slopes of a PReLU are, one for each channel of the target; -1: nowhere. */
    int32_t mix;
} Op;

typedef struct {
    int32_t op, first, count; /* positions that groups of `op` share */
} List;

typedef struct {
    int32_t list, target; /* first output channel */
    int32_t lanes;        /* output channels: 1 or 4 */
    int32_t first_value;  /* biases[lanes], then weights[count][lanes] */
} Group;

typedef struct {
    uint16_t channel;
    uint8_t row, column; /* in the kernel, 0 first */
} Position;

typedef struct {
    const Header *header;
    const Buffer *buffers;
    const Step *steps;
    const Op *ops;
    const List *lists;
    const Group *groups;
    const Position *positions;
    const float *values;
} Blob;

typedef struct {
    int64_t start;  /* of the buffer in the arena, in floats */
    int64_t row;    /* floats from row to row; 0 for a chunk buffer */
    int64_t stride; /* floats from channel to channel */
    int64_t margin; /* vectors before the first and behind the last of a channel */
} Place;

typedef struct {
    Blob blob;
    int32_t columns, reach; /* reach: of the first step, so the margin of a tile */
    int64_t arena_floats;
    const Place *places;    /* of the buffers */
    const int64_t *tables;  /* of the lists: where in `offsets` their first table is */
    const int32_t *offsets; /* of positions, one table per row of the source's ring */
} Plan;

typedef struct {
    int32_t height, width;  /* of the input image */
    int32_t y0, y1, x0, x1; /* the part of it to upscale */
} Tile;

typedef float vec __attribute__((vector_size(VL * 4), may_alias));
typedef float loose __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef float aligned_quad __attribute__((vector_size(16), may_alias));
typedef float loose_quad __attribute__((vector_size(16), aligned(1), may_alias));
typedef int32_t bits __attribute__((vector_size(VL * 4), may_alias));
typedef uint32_t words __attribute__((vector_size(VL * 4), may_alias));
typedef uint32_t loose_word __attribute__((aligned(1), may_alias));

/* ---- blob ---------------------------------------------------------------------------------- */

static int32_t open_blob(const uint32_t *words, int64_t bytes, Blob *blob) {
    const Header *h = (const Header *)words;
    if (bytes < (int64_t)sizeof(Header) || bytes % 4 || bytes / 4 > MAX_WORDS) return BAD_SIZE;
    if (h->magic != MAGIC) return BAD_MAGIC;
    if (h->version != VERSION) return BAD_VERSION;
    if (h->words != bytes / 4) return BAD_SIZE;
    if (h->scale < 1 || h->scale > MAX_SCALE || (h->planes != 1 && h->planes != RGB) ||
        h->buffers < 1 || h->buffers > MAX_BUFFERS ||
        h->steps < 1 || h->ops < h->steps || h->ops > MAX_OPS || h->lists < 0 || h->groups < 0 ||
        h->positions < 0 || h->values < 0)
        return BAD_HEADER;
    blob->header = h;
    blob->buffers = (const Buffer *)(h + 1);
    int64_t used = sizeof(Header) / 4;
    const int64_t sizes[] = {
        (int64_t)h->buffers * (sizeof(Buffer) / 4), (int64_t)h->steps * (sizeof(Step) / 4),
        (int64_t)h->ops * (sizeof(Op) / 4),         (int64_t)h->lists * (sizeof(List) / 4),
        (int64_t)h->groups * (sizeof(Group) / 4),   h->positions,
        h->values,
    };
    const void *starts[7];
    for (int i = 0; i < 7; i++) {
        starts[i] = words + used;
        used += sizes[i];
        if (used > h->words) return BAD_HEADER;
    }
    if (used != h->words) return BAD_HEADER;
    blob->buffers = starts[0];
    blob->steps = starts[1];
    blob->ops = starts[2];
    blob->lists = starts[3];
    blob->groups = starts[4];
    blob->positions = starts[5];
    blob->values = starts[6];
    return OK;
}

static uint32_t checksum(const uint32_t *words, int64_t count) { /* finds any one changed word */
    uint32_t sum = 0;
    for (int64_t i = 4; i < count; i++) sum += (uint32_t)(2 * i + 1) * words[i];
    return sum;
}

/* Does `step` find the rows of `buffer` that a kernel of this radius reads? */
static int readable(const Blob *b, const int32_t *writers, int32_t buffer, int32_t step,
                    int32_t radius) {
    if (buffer < 0 || buffer >= b->header->buffers || writers[buffer] < 0) return 0;
    const Step *from = &b->steps[writers[buffer]], *to = &b->steps[step];
    const int32_t rows = b->buffers[buffer].rows, behind = to->delay - from->delay;
    if (from == to) return radius == 0;
    return rows > 0 && behind >= radius && rows > behind + radius &&
           from->reach >= to->reach + radius;
}

static int32_t check_groups(const Blob *b, int32_t index) {
    const Op *op = &b->ops[index];
    if (op->first_group < 0 || op->groups < 0 || op->groups > b->header->groups - op->first_group)
        return BAD_OP;
    for (int32_t i = 0; i < op->groups; i++) {
        const Group *g = &b->groups[op->first_group + i];
        if (g->lanes != 1 && g->lanes != LANES) return BAD_GROUP;
        if (g->target < 0 || g->target > b->buffers[op->target].channels - g->lanes)
            return BAD_GROUP;
        if (g->list < 0 || g->list >= b->header->lists || b->lists[g->list].op != index)
            return BAD_GROUP;
        const int64_t needs = g->lanes * (1 + (int64_t)b->lists[g->list].count);
        if (g->first_value < 0 || needs > b->header->values - (int64_t)g->first_value)
            return BAD_GROUP;
    }
    return OK;
}

static int32_t check_conv(const Blob *b, const int32_t *writers, int32_t step, int32_t index) {
    const Op *op = &b->ops[index];
    if (op->kernel != 1 && op->kernel != 3 && op->kernel != 5) return BAD_OP;
    if (op->mix != -1) { /* slopes, one per channel */
        const int64_t channels = b->buffers[op->target].channels;
        if (op->relu || op->mix < 0 || channels > b->header->values - (int64_t)op->mix)
            return BAD_OP;
    }
    if (!readable(b, writers, op->source, step, op->kernel / 2)) return BAD_OP;
    if (op->residual != -1) {
        if (!readable(b, writers, op->residual, step, 0)) return BAD_OP;
        if (b->buffers[op->residual].channels != b->buffers[op->target].channels) return BAD_OP;
    }
    return check_groups(b, index);
}

/* Are there the values that make so many colours of three? */
static int mixable(const Blob *b, int32_t place, int32_t colours) {
    return b->header->planes == RGB && place >= 0 &&
           (int64_t)colours * MIX_VALUES <= b->header->values - (int64_t)place;
}

/* Is `buffer` a chunk of this step with so many channels? */
static int chunk_of(const Blob *b, const int32_t *writers, int32_t buffer, int32_t step,
                    int32_t channels) {
    return readable(b, writers, buffer, step, 0) && b->buffers[buffer].rows == 0 &&
           b->buffers[buffer].channels == channels;
}

static int32_t check_write(const Blob *b, const int32_t *writers, int32_t step, int32_t index) {
    const Op *op = &b->ops[index];
    const int32_t phases = b->header->scale * b->header->scale;
    if (index != b->header->ops - 1 || b->steps[step].reach) return BAD_OP;
    if (op->mix == -1)
        return chunk_of(b, writers, op->source, step, b->header->planes * phases) ? OK : BAD_OP;
    if (!mixable(b, op->mix, RGB)) return BAD_OP;
    return chunk_of(b, writers, op->source, step, phases) &&
                   chunk_of(b, writers, op->residual, step, 2 * phases)
               ? OK
               : BAD_OP;
}

static int32_t check_op(const Blob *b, int32_t *writers, int32_t step, int32_t index) {
    const Op *op = &b->ops[index];
    const Step *s = &b->steps[step];
    if (op->kind == WRITE) return check_write(b, writers, step, index);
    if (op->target < 0 || op->target >= b->header->buffers) return BAD_OP;
    if (writers[op->target] >= 0 && writers[op->target] != step) return BAD_OP;
    const Buffer *target = &b->buffers[op->target];
    if (op->kind == READ_ZERO || op->kind == READ_EDGE) {
        if (target->rows == 0 || s->ops != 1) return BAD_OP;
        const int fits = op->mix == -1 ? target->channels == b->header->planes
                                       : mixable(b, op->mix, target->channels);
        if (!fits) return BAD_OP;
    } else if (op->kind == CONV) {
        const int32_t fault = check_conv(b, writers, step, index);
        if (fault) return fault;
    } else {
        return BAD_OP;
    }
    writers[op->target] = step;
    return OK;
}

static int32_t check_steps(const Blob *b) {
    int32_t writers[MAX_BUFFERS]; /* the step that writes each buffer */
    int32_t next = 0;
    for (int32_t i = 0; i < b->header->buffers; i++) {
        const Buffer *buffer = &b->buffers[i];
        if (buffer->channels < 1 || buffer->channels > MAX_CHANNELS) return BAD_BUFFER;
        if (buffer->rows < 0 || buffer->rows > MAX_ROWS) return BAD_BUFFER;
        if (buffer->shares < -1 || buffer->shares >= i) return BAD_BUFFER;
        if (buffer->shares >= 0) {
            const Buffer *other = &b->buffers[buffer->shares];
            if (other->rows != buffer->rows || other->channels != buffer->channels)
                return BAD_BUFFER;
        }
        writers[i] = -1;
    }
    for (int32_t i = 0; i < b->header->steps; i++) {
        const Step *s = &b->steps[i];
        if (s->first_op != next || s->ops < 1 || s->ops > b->header->ops - next) return BAD_STEP;
        if (s->delay < 0 || s->delay > MAX_DELAY) return BAD_STEP;
        if (s->reach < 0 || s->reach > MAX_DELAY) return BAD_STEP;
        next += s->ops;
    }
    if (next != b->header->ops || b->ops[next - 1].kind != WRITE) return BAD_STEP;
    for (int32_t i = 0; i < b->header->steps; i++)
        for (int32_t j = 0; j < b->steps[i].ops; j++) {
            const int32_t fault = check_op(b, writers, i, b->steps[i].first_op + j);
            if (fault) return fault;
        }
    return OK;
}

static int32_t check_lists(const Blob *b) {
    for (int32_t i = 0; i < b->header->lists; i++) {
        const List *list = &b->lists[i];
        if (list->op < 0 || list->op >= b->header->ops || b->ops[list->op].kind != CONV)
            return BAD_LIST;
        if (list->first < 0 || list->count < 0 ||
            list->count > b->header->positions - (int64_t)list->first)
            return BAD_LIST;
        const Op *op = &b->ops[list->op];
        for (int32_t j = 0; j < list->count; j++) {
            const Position p = b->positions[list->first + j];
            if (p.channel >= b->buffers[op->source].channels) return BAD_POSITION;
            if (p.row >= op->kernel || p.column >= op->kernel) return BAD_POSITION;
        }
    }
    return OK;
}

/* Is every size and index of a blob sound? A fault's number, or 0. Reads `bytes` bytes at most.
 * `words` lies at an address that is a multiple of 4. */
API int32_t sr_check(const void *words, int64_t bytes) {
    Blob blob;
    int32_t fault = open_blob(words, bytes, &blob);
    if (fault) return fault;
    if (checksum(words, bytes / 4) != blob.header->checksum) return BAD_CHECKSUM;
    fault = check_steps(&blob);
    return fault ? fault : check_lists(&blob);
}

/* ---- plan ---------------------------------------------------------------------------------- */

static int64_t vectors_of(int64_t columns) { return (columns + VL - 1) / VL; }

static int64_t tables_of(const Blob *b, const List *list) { /* one for every row of the ring */
    const Op *op = &b->ops[list->op];
    return op->kernel == 1 ? 1 : b->buffers[op->source].rows;
}

static int64_t offsets_of(const Blob *b) {
    int64_t count = 0;
    for (int32_t i = 0; i < b->header->lists; i++)
        count += tables_of(b, &b->lists[i]) * b->lists[i].count;
    return count;
}

/* Bytes that `sr_plan` needs for a blob that passed `sr_check`. */
API int64_t sr_plan_bytes(const void *words, int64_t bytes) {
    Blob blob;
    if (open_blob(words, bytes, &blob)) return 0;
    return (int64_t)sizeof(Plan) + blob.header->buffers * (int64_t)sizeof(Place) +
           blob.header->lists * (int64_t)sizeof(int64_t) + offsets_of(&blob) * 4;
}

/* Columns to the sides that convolutions read of a buffer, or of one that shares its memory. */
static int64_t margin_of(const Blob *b, int32_t buffer) {
    int64_t margin = 0;
    for (int32_t i = 0; i < b->header->ops; i++) {
        const Op *op = &b->ops[i];
        if (op->kind != CONV || op->kernel / 2 <= margin) continue;
        int32_t source = op->source;
        while (source != buffer && source >= 0) source = b->buffers[source].shares;
        if (source == buffer) margin = op->kernel / 2;
    }
    return margin;
}

/* Places of the buffers in the arena; returns its length in floats. */
static int64_t lay_out(const Blob *b, int32_t columns, Place *places) {
    int64_t next = 0;
    for (int32_t i = 0; i < b->header->buffers; i++) {
        const Buffer *buffer = &b->buffers[i];
        if (buffer->shares >= 0) {
            places[i] = places[buffer->shares];
            continue;
        }
        if (buffer->rows) {
            const int64_t margin = margin_of(b, i);
            /* An odd number of vectors: even ones would fall into few sets of the cache. */
            const int64_t stride = ((vectors_of(columns) + 2 * margin) | 1) * VL;
            places[i] = (Place){next, buffer->channels * stride, stride, margin};
            next += buffer->rows * buffer->channels * stride;
        } else {
            places[i] = (Place){next, 0, CHUNK, 0};
            next += buffer->channels * CHUNK;
        }
        next += VL; /* a gap that sanitizers may poison */
    }
    return next;
}

static void expand(const Blob *b, const List *list, const Place *source, int32_t *out) {
    const Op *op = &b->ops[list->op];
    const int64_t rows = tables_of(b, list), radius = op->kernel / 2;
    for (int64_t phase = 0; phase < rows; phase++)
        for (int32_t i = 0; i < list->count; i++) {
            const Position p = b->positions[list->first + i];
            const int64_t slot = op->kernel == 1 ? 0 : (phase + p.row - radius + rows) % rows;
            *out++ = (int32_t)(slot * source->row + p.channel * source->stride +
                               (p.column - radius) * VL);
        }
}

/* Fill `memory` (`sr_plan_bytes` bytes, at a multiple of 8) with the plan for tiles whose rows,
 * margins included, have up to `columns` pixels. The blob must have passed `sr_check`, and must
 * outlive the plan. */
API int32_t sr_plan(const void *words, int64_t bytes, int32_t columns, void *memory) {
    Plan *plan = memory;
    const int32_t fault = open_blob(words, bytes, &plan->blob);
    if (fault) return fault;
    if (columns < 1 || columns > MAX_COLUMNS) return BAD_TILE;
    const Blob *b = &plan->blob;
    Place *places = (Place *)(plan + 1);
    int64_t *tables = (int64_t *)(places + b->header->buffers);
    int32_t *offsets = (int32_t *)(tables + b->header->lists);
    plan->columns = columns;
    plan->places = places;
    plan->tables = tables;
    plan->offsets = offsets;
    plan->arena_floats = lay_out(b, columns, places);
    if (plan->arena_floats > INT32_MAX) return BAD_TILE;
    plan->reach = 0;
    for (int32_t i = 0; i < b->header->steps; i++)
        if (b->steps[i].reach > plan->reach) plan->reach = b->steps[i].reach;
    int64_t next = 0;
    for (int32_t i = 0; i < b->header->lists; i++) {
        const List *list = &b->lists[i];
        tables[i] = next;
        expand(b, list, &places[b->ops[list->op].source], offsets + next);
        next += tables_of(b, list) * list->count;
    }
    return OK;
}

/* Bytes of the arena that `sr_run` needs. */
API int64_t sr_arena_bytes(const void *plan) { return ((const Plan *)plan)->arena_floats * 4; }

/* Rows and columns of its neighbours that a tile computes on each side. */
API int32_t sr_reach(const void *plan) { return ((const Plan *)plan)->reach; }

/* ---- run ----------------------------------------------------------------------------------- */

typedef struct {
    const Plan *plan;
    float *arena;
    const float *image;
    float *result;  /* or NULL */
    uint8_t *bytes; /* used where `result` is NULL */
    Tile tile;
    int32_t left, columns; /* of the tile with its margin, in the image */
    int32_t vectors;       /* L, for a row of `columns` */
    int64_t *ticks;        /* of each operation, or NULL */
} Run;

/* Groups of output channels over one chunk of a row. */
typedef struct {
    const float *source;
    const float *residual; /* or NULL */
    float *target;
    int64_t residual_stride, target_stride;
    int relu;
} Chunk;

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec value) { *(vec *)p = value; }
INLINE vec splat(float value) { return value - (vec){0}; }
INLINE vec positive(vec value) { return (vec)((bits)(value > 0) & (bits)value); }

/* The two micro-kernels keep their sums in registers over all kept positions. `lanes` and
 * `vectors` are constants where they are inlined. */
INLINE void begin(const Chunk *c, const float *residual, const float *bias, const int lanes,
                  const int vectors, vec sum[LANES][K]) {
    for (int b = 0; b < lanes; b++)
        for (int k = 0; k < vectors; k++) sum[b][k] = splat(bias[b]);
    if (residual)
        for (int b = 0; b < lanes; b++)
            for (int k = 0; k < vectors; k++)
                sum[b][k] += load(residual + b * c->residual_stride + k * VL);
}

INLINE void finish(const Chunk *c, float *target, const int lanes, const int vectors,
                   vec sum[LANES][K]) {
    if (c->relu)
        for (int b = 0; b < lanes; b++)
            for (int k = 0; k < vectors; k++) sum[b][k] = positive(sum[b][k]);
    for (int b = 0; b < lanes; b++)
        for (int k = 0; k < vectors; k++)
            store(target + b * c->target_stride + k * VL, sum[b][k]);
}

/* Compilers that find no free register move the sums around, up to one to memory and back in
 * every position. Where all registers are needed this keeps the order: the sums of one channel
 * stay in their registers until those of the next begin, and so do what they were made of. */
#if defined(__AVX2__) && !defined(__AVX512F__)
INLINE void keep(vec sum[K], vec weight, const vec x[K4]) {
    __asm__ volatile(""
                     : "+x"(sum[0]), "+x"(sum[1]), "+x"(sum[2]), "+x"(weight)
                     : "x"(x[0]), "x"(x[1]), "x"(x[2]));
}
#else
INLINE void keep(vec sum[K], vec weight, const vec x[K4]) { (void)sum, (void)weight, (void)x; }
#endif

/* Add up four channels: each input is loaded once for four sums. */
INLINE void sum_four(const float *source, const int32_t *offsets, const float *w, int32_t count,
                     const int vectors, vec sum[LANES][K]) {
    for (int32_t i = 0; i < count; i++, w += LANES) {
        const float *p = source + offsets[i];
        vec x[K4];
        for (int k = 0; k < vectors; k++) x[k] = load(p + k * VL);
        for (int b = 0; b < LANES; b++) {
            for (int k = 0; k < vectors; k++) sum[b][k] += x[k] * w[b];
            if (vectors == 3) keep(sum[b], splat(w[b]), x);
        }
    }
}

/* Add up one channel. Fewer than eight sums could not keep the FMA units busy: in a short chunk
 * the positions take turns on two sums each, whatever is left of it, so that the order of the
 * sum does not depend on the place in a row. */
INLINE void sum_one(const float *source, const int32_t *offsets, const float *w, int32_t count,
                    const int vectors, vec sum[LANES][K]) {
    int32_t i = 0;
    if (K > 6) {
        for (; i < count; i++)
            for (int k = 0; k < vectors; k++)
                sum[0][k] += load(source + offsets[i] + k * VL) * w[i];
        return;
    }
    for (int k = 0; k < vectors; k++) sum[1][k] = splat(0);
    for (; i + 1 < count; i += 2)
        for (int k = 0; k < vectors; k++) {
            sum[0][k] += load(source + offsets[i] + k * VL) * w[i];
            sum[1][k] += load(source + offsets[i + 1] + k * VL) * w[i + 1];
        }
    if (i < count)
        for (int k = 0; k < vectors; k++) sum[0][k] += load(source + offsets[i] + k * VL) * w[i];
    for (int k = 0; k < vectors; k++) sum[0][k] += sum[1][k];
}

/* Groups of four sum up a chunk in up to three parts, none of a single vector if that can be
 * helped: it would idle the FMA units as well. */
INLINE int part_of(const int vectors) {
    return vectors == K4 + 1 ? K4 - 1 : vectors < K4 ? vectors : K4;
}

INLINE void compute_four(const Chunk *c, const float *residual, float *target, const float *values,
                         const int32_t *offsets, int32_t count, const int from,
                         const int vectors, vec sum[LANES][K]) {
    if (!vectors) return;
    begin(c, residual ? residual + from * VL : 0, values, LANES, vectors, sum);
    sum_four(c->source + from * VL, offsets, values + LANES, count, vectors, sum);
    finish(c, target + from * VL, LANES, vectors, sum);
}

INLINE void groups(const Plan *plan, const Op *op, const Chunk *c, int64_t phase,
                   const int vectors) {
    const Blob *b = &plan->blob;
    const Group *g = b->groups + op->first_group, *end = g + op->groups;
    for (; g < end; g++) {
        const int32_t count = b->lists[g->list].count;
        const int32_t *offsets = plan->offsets + plan->tables[g->list] + phase * count;
        const float *values = b->values + g->first_value;
        const float *residual = c->residual ? c->residual + g->target * c->residual_stride : 0;
        float *target = c->target + g->target * c->target_stride;
        vec sum[LANES][K];
        if (g->lanes == LANES) {
            const int first = part_of(vectors), second = part_of(vectors - first);
            const int both = first + second, third = vectors - both;
            compute_four(c, residual, target, values, offsets, count, 0, first, sum);
            compute_four(c, residual, target, values, offsets, count, first, second, sum);
            compute_four(c, residual, target, values, offsets, count, both, third, sum);
        } else {
            begin(c, residual, values, 1, vectors, sum);
            sum_one(c->source, offsets, values + 1, count, vectors, sum);
            finish(c, target, 1, vectors, sum);
        }
    }
}

static int64_t slot(const Plan *plan, int32_t buffer, int64_t row) {
    const int64_t rows = plan->blob.buffers[buffer].rows;
    return (row % rows + rows) % rows;
}

/* Vector `j` of channel 0 of a row. A chunk buffer has one row and starts at the chunk. */
static float *vector_of(const Run *r, int32_t buffer, int64_t row, int64_t j) {
    const Place *place = &r->plan->places[buffer];
    float *start = r->arena + place->start;
    if (r->plan->blob.buffers[buffer].rows == 0) return start;
    return start + slot(r->plan, buffer, row) * place->row + (place->margin + j) * VL;
}

OUTLINE void convolve(const Run *r, const Op *op, int64_t row, int32_t j, int vectors) {
    const Plan *plan = r->plan;
    const int tall = op->kernel > 1;
    const int64_t phase = tall ? slot(plan, op->source, row) : 0;
    const Place *target = &plan->places[op->target];
    const int added = op->residual >= 0;
    const Chunk chunk = {
        .source = vector_of(r, op->source, tall ? 0 : row, j),
        .residual = added ? vector_of(r, op->residual, row, j) : 0,
        .target = vector_of(r, op->target, row, j),
        .residual_stride = added ? plan->places[op->residual].stride : 0,
        .target_stride = target->stride,
        .relu = op->relu,
    };
    switch (vectors) {
    case 1: groups(plan, op, &chunk, phase, 1); break;
    case 2: groups(plan, op, &chunk, phase, 2); break;
    case 3: groups(plan, op, &chunk, phase, 3); break;
#if K > 4
    case 4: groups(plan, op, &chunk, phase, 4); break;
    case 5: groups(plan, op, &chunk, phase, 5); break;
#endif
#if K > 6
    case 6: groups(plan, op, &chunk, phase, 6); break;
    case 7: groups(plan, op, &chunk, phase, 7); break;
#endif
    default: groups(plan, op, &chunk, phase, K);
    }
}

/* PReLU of a chunk, by itself: in the loops above it would cost every network registers. */
OUTLINE void bend(const Run *r, const Op *op, int64_t row, int32_t j, int vectors) {
    const Plan *plan = r->plan;
    const float *slopes = plan->blob.values + op->mix;
    float *channel = vector_of(r, op->target, row, j);
    for (int32_t c = 0; c < plan->blob.buffers[op->target].channels; c++) {
        for (int k = 0; k < vectors; k++) {
            const vec value = load(channel + k * VL), above = positive(value);
            store(channel + k * VL, above + (value - above) * slopes[c]);
        }
        channel += plan->places[op->target].stride;
    }
}

/* Complete a row that other columns will be read of: zeros behind the last column, and margins
 * in which the neighbours of the first and last vectors lie. */
static void wrap(const Run *r, int32_t buffer, int64_t row) {
    const Place *place = &r->plan->places[buffer];
    const int32_t last = r->vectors;
    float *channel = vector_of(r, buffer, row, 0);
    for (int32_t c = 0; c < r->plan->blob.buffers[buffer].channels; c++) {
        for (int32_t x = r->columns; x < last * VL; x++) channel[x % last * VL + x / last] = 0;
        for (int32_t m = 1; m <= place->margin; m++) {
            float *before = channel - m * VL, *behind = channel + (last + m - 1) * VL;
            /* One lane up or down from the vector m away from the other end. */
            store(before, *(const loose *)(channel + (last - m) * VL - 1));
            store(behind, *(const loose *)(channel + (m - 1) * VL + 1));
            before[0] = behind[VL - 1] = 0;
        }
        channel += place->stride;
    }
}

/* Past the caches, where the compiler can: the result is read later, and fetching its lines only
 * to overwrite them costs more than writing them. Only for whole lines. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_nontemporal_store)
#define STREAM(value, place) __builtin_nontemporal_store(value, (aligned_quad *)(place))
#endif
#endif
#ifndef STREAM
#define STREAM(value, place) (*(quad *)(place) = (value))
#endif
enum { LINE = 64 };

/* Four rows of four floats, turned around: what lies at in[p][i] goes to out[i][p]. */
INLINE void transpose(const quad in[4], quad out[4]) {
    const quad a = in[0], b = in[1], c = in[2], d = in[3];
    const quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad AB = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(AB, CD, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(AB, CD, 2, 3, 6, 7);
}

/* Of 4 lanes in a chunk: the pixel of the first vector, and which vectors lie in the tile. */
typedef struct {
    int32_t x[4], first[4], end[4];
    int inside[4]; /* do all? */
} Lanes;

static Lanes lanes_of(const Run *r, int32_t lane, int32_t j, int vectors) {
    Lanes l;
    for (int i = 0; i < 4; i++) {
        const int32_t x = r->left + (lane + i) * r->vectors + j;
        l.x[i] = x;
        l.first[i] = r->tile.x0 > x ? r->tile.x0 - x : 0;
        l.end[i] = r->tile.x1 - x < vectors ? r->tile.x1 - x : vectors;
        l.inside[i] = l.first[i] == 0 && l.end[i] == vectors;
    }
    return l;
}

/* Pixel shuffle of 4 lanes: phases[p][vector][lane] is column p of the `scale` columns that the
 * pixel becomes. `places`: where those of vector 0 go. Takes 4 / scale vectors at a time. */
INLINE void shuffle(const float *phases, float *const places[4], int vectors, const int scale,
                    const int stream) {
    const int together = 4 / scale; /* vectors whose phases fill a quad */
    for (int j = 0; j < vectors; j += together) {
        quad rows[4], turned[4];
        for (int q = 0; q < 4; q++)
            rows[q] = *(const quad *)(phases + q % scale * CHUNK + (j + q / scale) * VL);
        transpose(rows, turned);
        for (int q = 0; q < 4; q++)
            if (stream) STREAM(turned[q], places[q] + j * scale);
            else *(quad *)(places[q] + j * scale) = turned[q];
    }
}

/* Of so many vectors, those that fill quads: the rest is shuffled one by one. */
static int full_quads(int vectors, int scale) {
    return scale == 4 ? vectors : scale == 2 ? vectors & ~1 : 0;
}

/* Will the tile write the row that is an input row below this one? It is fetched ahead, unless it
 * goes past the caches: for x2 that halves what writing takes. */
static int goes_on(const Run *r, int64_t line) {
    const int64_t s = r->plan->blob.header->scale;
    return line + s < r->tile.y1 * s;
}

/* One row of the result, of a chunk that is `vectors` vectors from vector `j`. `phases`: `scale`
 * of each plane. Lanes that leave the tile go to a spare place first. */
static void write_floats(const Run *r, const float *const phases[RGB], int64_t line, int32_t j,
                         int vectors) {
    const int s = r->plan->blob.header->scale, planes = r->plan->blob.header->planes;
    const int64_t width = (int64_t)r->tile.width * s, height = (int64_t)r->tile.height * s;
    const int each = LINE / 4; /* floats in a line of the cache */
    const int in_lines = (uintptr_t)r->result % LINE == 0 && width % each == 0 &&
                         vectors * s % each == 0 && r->vectors * s % each == 0 &&
                         (r->left + j) * s % each == 0;
    const int full = full_quads(vectors, s), ahead = goes_on(r, line);
    float spare[4][K * MAX_SCALE];
    for (int32_t lane = 0; lane < VL; lane += 4) {
        const Lanes l = lanes_of(r, lane, j, vectors);
        const int stream =
            in_lines && l.inside[0] && l.inside[1] && l.inside[2] && l.inside[3];
        for (int c = 0; c < planes; c++) {
            const float *from = phases[c] + lane;
            float *out = r->result + (c * height + line) * width, *places[4];
            for (int i = 0; i < 4; i++)
                places[i] = l.inside[i] ? out + (int64_t)l.x[i] * s : spare[i];
            for (int i = 0; i < 4 && ahead && !stream; i++)
                if (l.inside[i]) __builtin_prefetch(places[i] + s * width, 1);
            if (s == 4 && stream) shuffle(from, places, full, 4, 1);
            else if (s == 4) shuffle(from, places, full, 4, 0);
            else if (s == 2 && stream) shuffle(from, places, full, 2, 1);
            else if (s == 2) shuffle(from, places, full, 2, 0);
            for (int k = full; k < vectors; k++)
                for (int p = 0; p < s; p++)
                    for (int i = 0; i < 4; i++)
                        places[i][k * s + p] = from[p * CHUNK + k * VL + i];
            for (int i = 0; i < 4; i++)
                if (!l.inside[i])
                    for (int n = l.first[i] * s; n < l.end[i] * s; n++)
                        out[(int64_t)l.x[i] * s + n] = spare[i][n];
        }
    }
}

/* Keeps a product apart from the sum behind it: fused they would round once, not twice. */
#if defined(__AVX512F__)
#define APART(value) __asm__("" : "+v"(value))
#elif defined(__x86_64__)
#define APART(value) __asm__("" : "+x"(value))
#elif defined(__aarch64__)
#define APART(value) __asm__("" : "+w"(value))
#else
#define APART(value) (void)0
#endif

/* 0..1 to the nearest of 0..255, halves to the even one, clipped: in the lowest byte of a lane. */
INLINE words rounded(vec value) {
    const bits below = value < 1.0f;
    const vec clipped = positive((vec)(((bits)value & below) | ((bits)splat(1) & ~below)));
    vec scaled = clipped * 255.0f;
    APART(scaled);
    return (words)(scaled + 8388608.0f); /* 2^23: no bit is left for a fraction */
}

/* Round the phases of one row and join their bytes, pixel by pixel, to words: `planes` of them
 * for the four columns that `4 / scale` vectors become. */
INLINE void join(const float *const phases[RGB], int vectors, const int scale, const int planes,
                 float *out) {
    const int together = 4 / scale;
    for (int j = 0; j < vectors; j += together, out += planes * VL) {
        words joined[RGB];
        for (int n = 0; n < 4 * planes; n++) {
            const int column = n / planes, shift = n % 4 * 8;
            const float *from =
                phases[n % planes] + column % scale * CHUNK + (j + column / scale) * VL;
            const words byte = rounded(load(from));
            if (shift) joined[n / 4] |= byte << shift;
            else joined[n / 4] = byte & 255;
        }
        for (int n = 0; n < planes; n++) store(out + n * VL, (vec)joined[n]);
    }
}

/* Of 4 lanes: each lane's words, `count` in a row, to its place. */
INLINE void put_words(const float *from, uint8_t *const places[4], int count) {
    int m = 0;
    for (; m + 4 <= count; m += 4) {
        quad rows[4], turned[4];
        for (int q = 0; q < 4; q++) rows[q] = *(const quad *)(from + (m + q) * VL);
        transpose(rows, turned);
        for (int q = 0; q < 4; q++) *(loose_quad *)(places[q] + m * 4) = turned[q];
    }
    for (; m < count; m++)
        for (int q = 0; q < 4; q++)
            *(loose_word *)(places[q] + m * 4) = *(const loose_word *)(from + m * VL + q);
}

/* As `write_floats`, in 8 bits: (height, width, planes). */
static void write_bytes(const Run *r, const float *const phases[RGB], int64_t line, int32_t j,
                        int vectors) {
    const int s = r->plan->blob.header->scale, planes = r->plan->blob.header->planes;
    const int full = full_quads(vectors, s), ahead = goes_on(r, line);
    const int rgb = planes == RGB, each = s * planes;
    const int64_t row = (int64_t)r->tile.width * each;
    uint8_t *out = r->bytes + line * row;
    float joined[RGB * CHUNK] __attribute__((aligned(64)));
    uint8_t spare[4][K * MAX_SCALE * RGB];
    if (s == 4 && rgb) join(phases, full, 4, RGB, joined);
    else if (s == 4) join(phases, full, 4, 1, joined);
    else if (rgb) join(phases, full, 2, RGB, joined);
    else join(phases, full, 2, 1, joined);
    for (int32_t lane = 0; lane < VL; lane += 4) {
        const Lanes l = lanes_of(r, lane, j, vectors);
        uint8_t *places[4];
        for (int i = 0; i < 4; i++)
            places[i] = l.inside[i] ? out + (int64_t)l.x[i] * each : spare[i];
        for (int i = 0; i < 4 && ahead; i++)
            if (l.inside[i]) __builtin_prefetch(places[i] + s * row, 1);
        put_words(joined + lane, places, full * each / 4);
        for (int k = full; k < vectors; k++)
            for (int n = 0; n < each; n++) {
                const float *from = phases[n % planes] + n / planes * CHUNK + k * VL;
                const words bytes = rounded(load(from));
                for (int i = 0; i < 4; i++) places[i][k * each + n] = (uint8_t)bytes[lane + i];
            }
        for (int i = 0; i < 4; i++)
            if (!l.inside[i])
                for (int n = l.first[i] * each; n < l.end[i] * each; n++)
                    out[(int64_t)l.x[i] * each + n] = spare[i][n];
    }
}

/* A colour of three others. Each sum has one product, so that compilers fuse it in one way only.
 * `w`: a bias and three weights. */
#define MIXED(w, a, b, c) ((((w)[0] + (a) * (w)[1]) + (b) * (w)[2]) + (c) * (w)[3])

/* RGB of row `i` of the phases. `luma` has s^2 of them, `chroma` as many of Cb, then of Cr. */
static void mix_phases(const float *luma, const float *chroma, const float *weights, int i, int s,
                       int vectors, float *restrict out) {
    for (int c = 0; c < RGB; c++, weights += MIX_VALUES) {
        const vec w[MIX_VALUES] = {
            splat(weights[0]), splat(weights[1]), splat(weights[2]), splat(weights[3]),
        };
        for (int p = 0; p < s; p++)
            for (int k = 0; k < vectors; k++) {
                const int64_t at = (i * s + p) * CHUNK + k * VL;
                const vec cb = load(chroma + at), cr = load(chroma + s * s * CHUNK + at);
                store(out + (c * s + p) * CHUNK + k * VL, MIXED(w, load(luma + at), cb, cr));
            }
    }
}

/* Pixel shuffle of a chunk, that is `vectors` vectors from vector `j`, into the result. */
static void write_chunk(const Run *r, const Op *op, int64_t row, int32_t j, int vectors) {
    const Blob *b = &r->plan->blob;
    const int s = b->header->scale, mixes = op->mix >= 0;
    const float *source = r->arena + r->plan->places[op->source].start;
    const float *chroma = mixes ? r->arena + r->plan->places[op->residual].start : 0;
    float mixed[RGB * MAX_SCALE * CHUNK] __attribute__((aligned(64)));
    for (int i = 0; i < s; i++) {
        const float *phases[RGB] = {0};
        for (int c = 0; c < b->header->planes; c++)
            phases[c] = mixes ? mixed + c * s * CHUNK : source + (c * s + i) * s * CHUNK;
        if (mixes) mix_phases(source, chroma, b->values + op->mix, i, s, vectors, mixed);
        if (r->result) write_floats(r, phases, row * s + i, j, vectors);
        else write_bytes(r, phases, row * s + i, j, vectors);
    }
}

static int64_t clamp(int64_t value, int64_t limit) {
    return value < 0 ? 0 : value < limit ? value : limit - 1;
}

/* A row of one channel that is read of the image. */
typedef struct {
    const float *planes[RGB]; /* the row; the first alone without a mix */
    const float *mix;         /* or NULL */
    float shift;
} Line;

/* The value at column `x` of the image. */
INLINE float seen(const Line *l, int64_t x) {
    const float *const *p = l->planes;
    return l->mix ? MIXED(l->mix, p[0][x], p[1][x], p[2][x]) : p[0][x] - l->shift;
}

INLINE quad seen_four(const Line *l, int64_t x, const int mixes) {
    const quad first = *(const quad *)(l->planes[0] + x);
    if (!mixes) return first - l->shift;
    const quad second = *(const quad *)(l->planes[1] + x);
    const quad third = *(const quad *)(l->planes[2] + x);
    return MIXED(l->mix, first, second, third);
}

/* Column `x` of the tile, or what lies beyond its edge. */
static float pixel(const Run *r, const Op *op, const Line *line, int32_t x) {
    if (op->kind == READ_ZERO && (x < 0 || x >= r->columns)) return 0;
    return seen(line, clamp((int64_t)r->left + x, r->tile.width));
}

/* Read 4 lanes of all vectors, or as many as four at a time are, and return their number. */
INLINE int32_t read_lanes(const Run *r, const Line *line, int32_t lane, float *out,
                          const int mixes) {
    if ((lane + 4) * r->vectors > r->columns) return 0;
    const int32_t end = r->vectors & ~3;
    for (int32_t j = 0; j < end; j += 4) {
        quad rows[4], turned[4];
        for (int q = 0; q < 4; q++)
            rows[q] = seen_four(line, (int64_t)r->left + (lane + q) * r->vectors + j, mixes);
        transpose(rows, turned);
        for (int q = 0; q < 4; q++) *(quad *)(out + (j + q) * VL + lane) = turned[q];
    }
    return end;
}

static void read_channel(const Run *r, const Op *op, const Line *line, float *out) {
    const int32_t margin = (int32_t)r->plan->places[op->target].margin;
    for (int32_t lane = 0; lane < VL; lane += 4) {
        const int32_t done =
            line->mix ? read_lanes(r, line, lane, out, 1) : read_lanes(r, line, lane, out, 0);
        for (int32_t i = lane; i < lane + 4; i++) {
            const int32_t first = i * r->vectors, end = first + r->vectors + margin;
            float *to = out + i - (int64_t)first * VL;
            for (int32_t x = first - margin; x < first; x++) to[x * VL] = pixel(r, op, line, x);
            int32_t x = first + done;
            for (; x < end && x < r->columns; x++) to[x * VL] = seen(line, (int64_t)r->left + x);
            for (; x < end; x++) to[x * VL] = pixel(r, op, line, x);
        }
    }
}

static void read_row(const Run *r, const Op *op, int64_t row) {
    const Blob *b = &r->plan->blob;
    const Tile *t = &r->tile;
    const int32_t channels = b->buffers[op->target].channels;
    for (int32_t c = 0; c < channels; c++) {
        float *out = vector_of(r, op->target, row, 0) + c * r->plan->places[op->target].stride;
        Line line = {.mix = op->mix < 0 ? 0 : b->values + op->mix + c * MIX_VALUES, .shift = op->shift};
        for (int32_t p = 0; p < RGB; p++) {
            const int64_t plane = line.mix ? p : c;
            line.planes[p] = r->image + (plane * t->height + clamp(row, t->height)) * t->width;
        }
        read_channel(r, op, &line, out);
    }
}

static void zero_row(const Run *r, int32_t buffer, int64_t row) {
    const Buffer *b = &r->plan->blob.buffers[buffer];
    if (b->rows == 0) return;
    float *start = vector_of(r, buffer, row, -r->plan->places[buffer].margin);
    for (int64_t i = 0; i < r->plan->places[buffer].row; i++) start[i] = 0;
}

/* Ticks of a steady clock: where a run's time goes. */
static int64_t now(void) {
#if defined(__x86_64__)
    return (int64_t)__builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    int64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return 0;
#endif
}

/* One operation on a chunk, that is `vectors` vectors from vector `j`. */
static void run_op(const Run *r, const Op *op, int64_t row, int32_t j, int vectors) {
    const int64_t start = r->ticks ? now() : 0;
    if (op->kind == CONV) convolve(r, op, row, j, vectors);
    else write_chunk(r, op, row, j, vectors);
    if (op->kind == CONV && op->mix >= 0) bend(r, op, row, j, vectors);
    if (r->ticks) r->ticks[op - r->plan->blob.ops] += now() - start;
}

static void run_step(const Run *r, const Step *step, int64_t row) {
    const Op *ops = r->plan->blob.ops + step->first_op;
    const int inside = row >= 0 && row < r->tile.height;
    if (ops->kind == READ_EDGE || (ops->kind == READ_ZERO && inside)) {
        const int64_t start = r->ticks ? now() : 0;
        read_row(r, ops, row);
        if (r->ticks) r->ticks[ops - r->plan->blob.ops] += now() - start;
        return;
    }
    if (!inside) {
        for (int32_t i = 0; i < step->ops; i++)
            if (ops[i].kind != WRITE) zero_row(r, ops[i].target, row);
        return;
    }
    for (int32_t j = 0, vectors; j < r->vectors; j += vectors) {
        const int32_t left = r->vectors - j; /* K + 1: no chunk of one, it would idle the FMA units */
        vectors = left == K + 1 ? K - 1 : left < K ? left : K;
        for (int32_t i = 0; i < step->ops; i++) run_op(r, &ops[i], row, j, vectors);
    }
    for (int32_t i = 0; i < step->ops; i++)
        if (ops[i].kind == CONV && r->plan->places[ops[i].target].margin)
            wrap(r, ops[i].target, row);
}

static void run_rows(const Run *r) {
    const Blob *b = &r->plan->blob;
    const Tile *t = &r->tile;
    int64_t first = INT32_MAX, last = 0;
    for (int32_t i = 0; i < b->header->steps; i++) {
        const Step *s = &b->steps[i];
        const int64_t from = (int64_t)t->y0 - s->reach + s->delay;
        const int64_t to = (int64_t)t->y1 + s->reach + s->delay;
        if (from < first) first = from;
        if (to > last) last = to;
    }
    for (int64_t time = first; time < last; time++)
        for (int32_t i = 0; i < b->header->steps; i++) {
            const Step *s = &b->steps[i];
            const int64_t row = time - s->delay;
            if (row >= t->y0 - s->reach && row < t->y1 + s->reach) run_step(r, s, row);
        }
}

/* With AddressSanitizer the gaps between buffers are out of bounds while a tile runs. */
#if defined(__SANITIZE_ADDRESS__)
void __asan_poison_memory_region(const volatile void *, unsigned long);
void __asan_unpoison_memory_region(const volatile void *, unsigned long);
static void guard(const Run *r, int closed) {
    for (int32_t i = 0; i < r->plan->blob.header->buffers; i++) {
        const Buffer *buffer = &r->plan->blob.buffers[i];
        const Place *place = &r->plan->places[i];
        const int64_t size = buffer->rows ? buffer->rows * place->row : buffer->channels * CHUNK;
        const float *gap = r->arena + place->start + size;
        if (closed) __asan_poison_memory_region(gap, VL * 4);
        else __asan_unpoison_memory_region(gap, VL * 4);
    }
}
#else
INLINE void guard(const Run *r, int closed) { (void)r, (void)closed; }
#endif

static int32_t run_tile(const Plan *p, void *arena, const float *image, float *result,
                        uint8_t *bytes, const Tile *tile, int64_t *ticks) {
    const int32_t sides = tile->height > 0 && tile->height <= MAX_SIDE && tile->width > 0 &&
                          tile->width <= MAX_SIDE;
    if (!sides || tile->y0 < 0 || tile->y0 >= tile->y1 || tile->y1 > tile->height ||
        tile->x0 < 0 || tile->x0 >= tile->x1 || tile->x1 > tile->width)
        return BAD_TILE;
    const int32_t left = tile->x0 > p->reach ? tile->x0 - p->reach : 0;
    const int32_t right = tile->width - tile->x1 > p->reach ? tile->x1 + p->reach : tile->width;
    if (right - left > p->columns) return BAD_TILE;
    const Run run = {
        p, arena, image, result, bytes, *tile, left, right - left,
        (int32_t)vectors_of(right - left), ticks,
    };
    guard(&run, 1);
    run_rows(&run);
    guard(&run, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* others see the streamed result */
    return OK;
}

/* Upscale one tile: image (planes, height, width), result (planes, scale height, scale width),
 * both fp32. `arena`: `sr_arena_bytes` bytes at a multiple of 64, zeroed before their first use,
 * of this call alone while it runs. */
API int32_t sr_run(const void *plan, void *arena, const float *image, float *result,
                   const Tile *tile) {
    return run_tile(plan, arena, image, result, 0, tile, 0);
}

/* The same, and the result is rounded to 8 bits: (scale height, scale width, planes). */
API int32_t sr_run_bytes(const void *plan, void *arena, const float *image, uint8_t *result,
                         const Tile *tile) {
    return run_tile(plan, arena, image, 0, result, tile, 0);
}

/* As `sr_run`, and adds the ticks of a clock that each operation of the blob took to `ticks`. */
API int32_t sr_run_timed(const void *plan, void *arena, const float *image, float *result,
                         const Tile *tile, int64_t *ticks) {
    return run_tile(plan, arena, image, result, 0, tile, ticks);
}

/* ---- facts --------------------------------------------------------------------------------- */

/* Floats in a vector, blob version, and vectors of a chunk beyond 4: a byte each, lowest first. */
API int32_t sr_facts(void) { return (K - 4) << 16 | VERSION << 8 | VL; }

/* Sums that keep the FMA units busy and fit into the registers; turns, for 16 a round. */
enum { PEAK_SUMS = VL == 8 ? 12 : 16, PEAK_TURNS = VL == 8 ? 4 : 1 };

/* 32 * VL * `rounds` floating-point operations in registers, `rounds` being a multiple of 3: what
 * the FMA units can do. */
API float sr_peak(int64_t rounds, float factor) {
    vec sum[PEAK_SUMS];
    float total = 0;
    for (int i = 0; i < PEAK_SUMS; i++) sum[i] = splat((float)i);
    for (int64_t n = 0; n < rounds; n += PEAK_SUMS * PEAK_TURNS / 16)
        for (int turn = 0; turn < PEAK_TURNS; turn++)
            for (int i = 0; i < PEAK_SUMS; i++) sum[i] += sum[i] * factor;
    for (int i = 0; i < PEAK_SUMS; i++) total += sum[i][0];
    return total;
}
