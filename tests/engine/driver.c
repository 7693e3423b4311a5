/* Runs a library of the engine on another kind of processor, which has no Python:
 *
 *     driver LIBRARY BLOB IMAGE RESULT SCALE PLANES HEIGHT WIDTH ROWS COLUMNS
 *
 * Upscales IMAGE (raw floats, PLANES x HEIGHT x WIDTH) in tiles of ROWS x COLUMNS pixels and writes
 * RESULT likewise, and behind it the bytes of the rounded result. Says on stderr what failed, and
 * then exits with 1. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int32_t height, width, y0, y1, x0, x1;
} Tile;

static void demand(int fine, const char *what) {
    if (fine) return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void *function(void *library, const char *name) {
    void *found = dlsym(library, name);
    demand(found != NULL, name);
    return found;
}

static void *memory(int64_t bytes) { /* zeroed, at a multiple of 64 */
    void *start = aligned_alloc(64, (size_t)(bytes + 63) / 64 * 64);
    demand(start != NULL, "memory");
    return memset(start, 0, (size_t)bytes);
}

static void *content(const char *path, int64_t *bytes) {
    FILE *file = fopen(path, "rb");
    demand(file != NULL && fseek(file, 0, SEEK_END) == 0, path);
    *bytes = ftell(file);
    rewind(file);
    void *start = memory(*bytes);
    demand(fread(start, 1, (size_t)*bytes, file) == (size_t)*bytes && fclose(file) == 0, path);
    return start;
}

static int32_t least(int32_t a, int32_t b) { return a < b ? a : b; }

int main(int count, char **words) {
    demand(count == 11, "usage");
    void *library = dlopen(words[1], RTLD_NOW);
    demand(library != NULL, words[1]);
    int32_t (*check)(const void *, int64_t) = function(library, "sr_check");
    int64_t (*plan_bytes)(const void *, int64_t) = function(library, "sr_plan_bytes");
    int32_t (*make)(const void *, int64_t, int32_t, void *) = function(library, "sr_plan");
    int64_t (*arena_bytes)(const void *) = function(library, "sr_arena_bytes");
    int32_t (*run)(const void *, void *, const float *, float *, const Tile *) =
        function(library, "sr_run");
    int32_t (*run_bytes)(const void *, void *, const float *, uint8_t *, const Tile *) =
        function(library, "sr_run_bytes");

    int64_t blob_bytes, image_bytes;
    const void *blob = content(words[2], &blob_bytes);
    const float *image = content(words[3], &image_bytes);
    const int32_t scale = atoi(words[5]), planes = atoi(words[6]);
    const int32_t height = atoi(words[7]), width = atoi(words[8]);
    const int32_t rows = atoi(words[9]), columns = atoi(words[10]);
    demand(image_bytes == 4 * (int64_t)planes * height * width, "size of the image");
    demand(check(blob, blob_bytes) == 0, "sr_check");
    void *plan = memory(plan_bytes(blob, blob_bytes));
    demand(make(blob, blob_bytes, width, plan) == 0, "sr_plan");
    void *arena = memory(arena_bytes(plan));
    const size_t values = (size_t)image_bytes / 4 * (size_t)(scale * scale);
    float *result = memory((int64_t)values * 4);
    uint8_t *rounded = memory((int64_t)values);
    for (int32_t y = 0; y < height; y += rows)
        for (int32_t x = 0; x < width; x += columns) {
            const Tile tile = {height, width, y, least(y + rows, height), x, least(x + columns, width)};
            demand(run(plan, arena, image, result, &tile) == 0, "sr_run");
            demand(run_bytes(plan, arena, image, rounded, &tile) == 0, "sr_run_bytes");
        }
    FILE *file = fopen(words[4], "wb");
    demand(file != NULL, words[4]);
    demand(fwrite(result, 4, values, file) == values, words[4]);
    demand(fwrite(rounded, 1, values, file) == values && fclose(file) == 0, words[4]);
    return 0;
}
