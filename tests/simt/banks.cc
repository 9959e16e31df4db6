/* Bank conflicts. Shared memory has 32 banks of 4 bytes, word w in bank w % 32, and gives a warp one
 * word of each bank at a time (CUDA C++ Programming Guide, "Shared Memory", compute capability 5 and
 * later). What a warp's access costs:
 *
 *   4 bytes a lane or fewer   all 32 lanes at once
 *   8 bytes                   16 lanes, then the others
 *   16 bytes, ldmatrix        8 lanes at a time
 *
 * each as many rounds as the busiest bank has words wanted of it; a word that several lanes want
 * counts once. Free of conflicts is one round for each such part.
 *
 * The emulator runs a warp's lanes one after another, so what they did together has to be put
 * together again: between two places where they meet, the n-th time that each of them passes one
 * place in the code is one access of the warp. */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

enum { LANES = 32, BANKS = 32, WARPS = 32, FOUND = 128 };

struct warp_access {
    uint32_t lanes, at[LANES];
};
struct place { /* in the code */
    unsigned bytes;
    bool write;
    uint32_t times[LANES]; /* that each lane has passed it */
    std::vector<warp_access> accesses;
};
struct found {
    const void *from;
    place *at;
};
struct tally { /* of a kernel */
    uint64_t rounds, free_rounds;
    double worst; /* of one access: rounds / free rounds */
    std::string what;
};

static struct {
    bool asked, counting;
    std::unordered_map<const void *, place> warps[WARPS];
    found found_last[WARPS][FOUND];
    std::vector<place *> passed[WARPS]; /* since the warp last met */
    std::map<std::string, tally> kernels;
} B;

/* ------------------------------------------------------------------ counting */

/* Of lanes [from, to): the most words wanted of one bank; 0 if no lane takes part. A lane's words lie
 * side by side, so it wants one of a bank at most. */
static unsigned rounds_of(const warp_access &a, unsigned bytes, int from, int to) {
    uint32_t words[BANKS][LANES];
    unsigned wanted[BANKS] = {0}, most = 0;
    for (int l = from; l < to; l++) {
        if (!(a.lanes >> l & 1)) continue;
        for (uint32_t w = a.at[l] / 4; w <= (a.at[l] + bytes - 1) / 4; w++) {
            unsigned bank = w % BANKS, n = wanted[bank];
            bool there = false;
            for (unsigned i = 0; i < n; i++) there |= words[bank][i] == w;
            if (there) continue;
            words[bank][n] = w;
            wanted[bank] = n + 1;
            if (n + 1 > most) most = n + 1;
        }
    }
    return most;
}

static void count(tally &t, const warp_access &a, const char *what, unsigned bytes) {
    int together = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
    unsigned rounds = 0, free_rounds = 0;
    for (int l = 0; l < LANES; l += together) {
        unsigned r = rounds_of(a, bytes, l, l + together);
        rounds += r;
        free_rounds += r > 0;
    }
    t.rounds += rounds;
    t.free_rounds += free_rounds;
    if (free_rounds == 0 || (double)rounds / free_rounds <= t.worst) return;
    t.worst = (double)rounds / free_rounds;
    t.what = std::to_string(bytes) + "-byte " + what + ", lanes at";
    for (int l = 0, said = 0; l < LANES && said < 5; l++)
        if (a.lanes >> l & 1) t.what += " " + std::to_string(a.at[l]), said++;
}

void simt_banks_meet(int warp) {
    if (!B.counting || B.passed[warp].empty()) return;
    tally &t = B.kernels[simt_kernel_name()];
    for (place *p : B.passed[warp]) {
        for (const warp_access &a : p->accesses) count(t, a, p->write ? "write" : "read", p->bytes);
        p->accesses.clear();
        memset(p->times, 0, sizeof p->times);
    }
    B.passed[warp].clear();
}

/* A warp passes the same few places over and over: those are found without the map. */
static place &place_of(int warp, const void *from) {
    found &f = B.found_last[warp][(uintptr_t)from / 4 % FOUND];
    if (f.from != from) f = {from, &B.warps[warp][from]};
    return *f.at;
}

void simt_banks_access(const void *from, uint32_t at, unsigned bytes, bool write) {
    if (!B.counting) return;
    int warp = simt_now->number / LANES, lane = simt_now->number % LANES;
    place &p = place_of(warp, from);
    if (p.accesses.empty()) B.passed[warp].push_back(&p);
    p.bytes = bytes;
    p.write = write;
    uint32_t n = p.times[lane]++;
    if (n >= p.accesses.size()) p.accesses.resize(n + 1);
    p.accesses[n].lanes |= 1u << lane;
    p.accesses[n].at[lane] = at;
}

void simt_banks_rows(const uint32_t at[8]) {
    warp_access a = {0xff, {}};
    if (!B.counting) return;
    memcpy(a.at, at, 8 * sizeof *at);
    count(B.kernels[simt_kernel_name()], a, "row of ldmatrix", 16);
}

/* ------------------------------------------------------------------ telling */

void simt_banks_begin(void) {
    B.counting = true;
    B.kernels.clear();
    for (auto &w : B.warps) w.clear();
    for (auto &p : B.passed) p.clear();
    memset(B.found_last, 0, sizeof B.found_last);
}

double simt_banks_worst(void) {
    double worst = 0;
    for (auto &k : B.kernels)
        if (k.second.worst > worst) worst = k.second.worst;
    return worst;
}

static double per_free(const tally &t) {
    return (double)t.rounds / (double)t.free_rounds;
}

/* At the end of the program, which fails if it must be free of conflicts and is not. */
static void tell(void) {
    printf("%-32s %12s %8s %8s\n", "shared memory, rounds", "of all", "per free", "worst");
    for (auto &k : B.kernels)
        printf("%-32s %12llu %8.3f %8.1f  %s\n", k.first.c_str(),
               (unsigned long long)k.second.rounds, per_free(k.second), k.second.worst,
               k.second.worst > 1 ? k.second.what.c_str() : "");
    fflush(stdout);
    for (auto &k : B.kernels) /* a row's end in the midst of a warp may cost two rounds */
        if (strcmp(getenv("SIMT_BANKS"), "free") == 0 && per_free(k.second) > 1.05) _exit(1);
}

void simt_banks_launch(void) {
    if (B.asked) return;
    B.asked = true;
    if (!getenv("SIMT_BANKS")) return;
    simt_banks_begin();
    atexit(tell);
}
