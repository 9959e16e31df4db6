/* The order in which the Python library `datasets` streams shuffled files, to the last record.
 *
 *   seed ─▶ numpy's default_rng ─┬▶ files permuted ─▶ groups, read in turn ─┐
 *                                └▶ (a copy of it) ─▶ buffer of records ◀───┘ ─▶ out
 *
 * 4.x reads one file after the other; a full buffer gives one record at random for each that comes.
 * 5.x (5.2.0) reads up to ten groups of files in turn, a tenth of the buffer from each; a full
 * buffer is permuted, and half of it given. An epoch permutes the files once more, and seeds the
 * buffer anew.
 *
 * The numbers are those of numpy's SeedSequence, PCG64 and Generator (numpy 1.24 to 2.4). */
#ifndef LORY_STREAM_ORDER_H
#define LORY_STREAM_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* numpy.random.Generator(PCG64). Copy the struct to copy the generator. */
struct numpy_rng {
    unsigned __int128 state, inc;
    bool has_half; /* next32 gives the high half of the last word before it takes another */
    uint32_t half;
};

/* default_rng(seed) */
void numpy_seed(struct numpy_rng *r, uint64_t seed);
uint64_t numpy_u64(struct numpy_rng *r);
uint32_t numpy_u32(struct numpy_rng *r);
/* integers(0, n), 0 < n <= 2^32. n = 1 takes no number. */
uint32_t numpy_below(struct numpy_rng *r, uint64_t n);
/* The draw in shuffle() and permutation(): 0..max, max > 0; not the numbers of numpy_below(). */
uint32_t numpy_upto(struct numpy_rng *r, uint32_t max);
/* shuffle(v), v[0..n), n <= 2^32. */
void numpy_shuffle(struct numpy_rng *r, uint32_t *v, size_t n);
/* The same for pointers. */
void numpy_shuffle_ptrs(struct numpy_rng *r, void **v, size_t n);

/* ORDER_OWN, our own shuffle: files permuted, up to ten read in turn, one record each; a full
 * buffer gives one at random for each that comes. Numbers by base/rng.h. */
enum order_kind { ORDER_SOURCE, ORDER_HF5, ORDER_HF4, ORDER_OWN };

enum { ORDER_GROUPS_MAX = 10, ORDER_BUFFER = 1000 }; /* defaults of shuffle() in `datasets` */

/* files[0..n): the files in the order they are read. `frozen`: skip() or take() follows the
 * shuffle, and later epochs keep the files as they are (their buffers still differ). */
void order_files(enum order_kind kind, uint64_t seed, uint64_t epoch, bool frozen, uint32_t *files,
                 size_t n);
/* How many groups they form (at least 1), and where the g-th of them begins. */
size_t order_groups(enum order_kind kind, size_t n);
size_t order_group_at(size_t n, size_t groups, size_t g);
/* How many records a group gives at its turn. */
uint64_t order_turn(enum order_kind kind, uint64_t buffer);
/* The generator of the buffer. */
void order_buffer_rng(struct numpy_rng *r, uint64_t seed, uint64_t epoch);

#endif
