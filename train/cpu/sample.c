/* The next id of each row: train/sampling.c, a row a thread. */
#include <omp.h>
#include "train/cpu/cpu.h"
#include "train/generate.h"

void cpu_sample(struct device *d, int32_t *ids, float *logits, const double *unit,
                const struct sampling *how, int rows, int V_) {
    size_t V = (size_t)V_, bytes = 2 * V * sizeof(double) + V * sizeof(float);
    size_t each = (bytes + 63) / 64 * 64;
    char *work = cpu_work(d, WORK_THREAD, (size_t)d->threads * each);
    if (!work) return;
    int team = rows < d->threads ? rows : d->threads;
#pragma omp parallel for num_threads(team) schedule(static)
    for (int r = 0; r < rows; r++) {
        double *weights = (double *)(void *)(work + (size_t)omp_get_thread_num() * each);
        float *probs = (float *)(void *)(weights + 2 * V);
        ids[r] = -1;
        if (!sampling_possible(logits + (size_t)r * V, V_)) continue;
        if (how->greedy) {
            ids[r] = (int32_t)sampling_largest(logits + (size_t)r * V, V_);
            continue;
        }
        sampling_warp(how, logits + (size_t)r * V, V_, probs, weights);
        ids[r] = (int32_t)sampling_draw(probs, V_, unit[r]);
    }
}
