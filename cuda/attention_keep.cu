/* Which elements of attention's matrix dropout keeps, as bits, for the kernels with tensor cores. A
 * Philox block costs some 80 instructions, for 8 keys of a query; made here, by every thread for
 * itself, none is exchanged, and the kernels have registers left. A warp makes 32 queries × 64
 * keys, a thread a query; keys' words are the warp's votes. */
#include "cuda/attention.cuh"

namespace {

constexpr int WARPS = 8;

/* The row of a triangle, row by row, in which element t lies. */
__device__ int triangle_row(int t) {
    int row = (int)((sqrtf(8.0f * (float)t + 1) - 1) / 2);
    while (row * (row + 1) / 2 > t) row--;
    while ((row + 1) * (row + 2) / 2 <= t) row++;
    return row;
}

template <bool KEYS>
__global__ void __launch_bounds__(WARPS * 32)
    keep_kernel(const attention_drop drop, uint64_t *of_queries, uint64_t *of_keys, int B, int NH) {
    size_t strip = (size_t)blockIdx.x * WARPS + warp(), tile = strip / 2;
    int half = (int)(strip % 2), head = (int)(tile / drop.tiles), t = (int)(tile % drop.tiles);
    if (head >= B * NH) return;
    int row = triangle_row(t), i = 64 * row + 32 * half + lane(),
        j = 64 * (t - row * (row + 1) / 2);
    uint64_t block = drop.block(head % NH, i, j), bits = 0;
    uint32_t key_bits[2] = {0, 0}; /* of keys lane, lane + 32: 32 queries */
    uint4 v[8];
    drop_blocks(v, drop.rule, head / NH, block);
#pragma unroll
    for (int key = 0; key < 64; key++) {
        bool kept = drop_keeps(drop.rule, v[key / 8], key % 8);
        bits |= (uint64_t)kept << key;
        if (!KEYS) continue;
        uint32_t votes = __ballot_sync(ALL_LANES, kept);
        if (lane() == key % 32) key_bits[key / 32] = votes;
    }
    of_queries[tile * 64 + 32 * half + lane()] = bits;
    if (!KEYS) return;
    uint32_t *halves = reinterpret_cast<uint32_t *>(of_keys + tile * 64); /* queries 0-31, 32-63 */
    halves[2 * lane() + half] = key_bits[0];
    halves[2 * (lane() + 32) + half] = key_bits[1];
}

} // namespace

size_t attention_keep_bytes(const attention_drop &drop, int heads) {
    return (size_t)heads * drop.tiles * 64 * sizeof(uint64_t);
}

void attention_keep(struct device *d, attention_drop *drop, int B, int NH, uint64_t *room,
                    bool keys) {
    size_t words = attention_keep_bytes(*drop, B * NH) / sizeof *room;
    uint64_t *of_keys = keys ? room + words : NULL;
    launch(d, "attention keep", keys ? keep_kernel<true> : keep_kernel<false>,
           blocks_for(words / 32, WARPS), WARPS * 32, 0, *drop, room, of_keys, B, NH);
    drop->of_queries = room;
    drop->of_keys = of_keys;
}
