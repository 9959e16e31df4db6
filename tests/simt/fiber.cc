/* Fibers: the threads of a block, switched where they wait for each other. See simt.h. */
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

enum { MAX_THREADS = 1024, WARPS = MAX_THREADS / 32, STACK = 256 * 1024 };

simt_thread *simt_now;
uint3 simt_block_idx;
dim3 simt_block_dim, simt_grid_dim;

/* What the lanes of a warp are waiting for. */
struct warp {
    uint32_t live, ready, at_barrier; /* lanes: not ended; may run; at the block's barrier */
    uint32_t mask, arrived;           /* of the warp operation under way; 0: none          */
    const char *what;
    void *lane[32];
};

static struct {
    simt_thread thread[MAX_THREADS];
    warp warps[WARPS];
    int n_threads, n_warps;
    const char *barrier_file;
    int barrier_line, barrier_or, barrier_result;
    const std::function<void()> *body;
    const char *kernel;
    void *main; /* the context that runs blocks */
    bool running, abandoned;
#if !defined(__x86_64__)
    ucontext_t contexts[MAX_THREADS + 1];
#endif
} S;

/* ------------------------------------------------------------------ switching */

#if defined(__x86_64__)
/* Saves the registers that a call keeps, and goes on where `to` was saved. */
extern "C" void simt_switch(void **save, void *to);
asm(".text\n.type simt_switch,@function\nsimt_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n  ret\n"
    ".size simt_switch,.-simt_switch\n");
#else
static void simt_switch(void **save, void *to) {
    ucontext_t *from = (ucontext_t *)*save;
    swapcontext(from, (ucontext_t *)to);
}
#endif

static void go_on(void);

static void fiber_main(void) {
    (*S.body)();
    simt_copy_wait(0);
    int me = simt_now->number;
    S.warps[me / 32].live &= ~(1u << me % 32);
    S.warps[me / 32].ready &= ~(1u << me % 32);
    go_on();
    abort(); /* an ended fiber is never switched to */
}

static unsigned char *stacks(void) {
    static unsigned char *all;
    if (!all) {
        void *p = mmap(NULL, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) abort();
        all = (unsigned char *)p;
        for (int i = 0; i < MAX_THREADS; i++) mprotect(all + (size_t)i * STACK, 4096, PROT_NONE);
    }
    return all;
}

static void fiber_begin(int i) {
    unsigned char *top = stacks() + (size_t)(i + 1) * STACK;
#if defined(__x86_64__)
    void **sp = (void **)top;
    *--sp = NULL; /* keeps the stack 16-byte aligned at fiber_main's entry */
    *--sp = (void *)fiber_main;
    for (int r = 0; r < 6; r++) *--sp = NULL;
    S.thread[i].stack_pointer = sp;
#else
    ucontext_t *c = &S.contexts[i];
    getcontext(c);
    c->uc_stack.ss_sp = top - STACK;
    c->uc_stack.ss_size = STACK;
    c->uc_link = NULL;
    makecontext(c, fiber_main, 0);
    S.thread[i].stack_pointer = c;
#endif
}

/* ------------------------------------------------------------------ scheduling */

static void release_barrier(void) {
    for (int w = 0; w < S.n_warps; w++) {
        simt_banks_meet(w);
        S.warps[w].ready |= S.warps[w].at_barrier;
        S.warps[w].at_barrier = 0;
    }
    S.barrier_file = NULL;
    S.barrier_result = S.barrier_or;
    S.barrier_or = 0;
    simt_access_barrier();
}

static void stuck(void) {
    if (simt_mbarrier_stuck()) return;
    for (int w = 0; w < S.n_warps; w++)
        if (S.warps[w].arrived) {
            simt_fault("%s: warp %d: lanes %08x wait for lanes %08x, which do not come",
                       S.warps[w].what, w, S.warps[w].arrived, S.warps[w].mask);
            return;
        }
    for (int w = 0; w < S.n_warps; w++)
        if (S.warps[w].at_barrier) {
            simt_fault("divergent barrier: threads wait at %s:%d and the others have ended",
                       S.barrier_file, S.barrier_line);
            return;
        }
}

/* The next thread that may run: of this warp, else of the next warps. NULL: the block has ended. */
static simt_thread *choose(void) {
    int me = simt_now ? simt_now->number : 0;
    for (;;) {
        bool live = false, all_at_barrier = true;
        for (int i = 0; i <= S.n_warps; i++) {
            int w = (me / 32 + i) % S.n_warps;
            uint32_t ready = S.warps[w].ready, later = ready;
            if (i == 0) later &= ~0u << me % 32;
            if (later || ready) {
                int lane = __builtin_ctz(later ? later : ready);
                return &S.thread[w * 32 + lane];
            }
            live |= S.warps[w].live != 0;
            all_at_barrier &= S.warps[w].live == S.warps[w].at_barrier;
        }
        if (!live) return NULL;
        for (int w = 0; w < S.n_warps; w++) /* ended threads do not wait with the others */
            all_at_barrier &= __builtin_popcount(S.warps[w].live) ==
                              (S.n_threads - w * 32 < 32 ? S.n_threads - w * 32 : 32);
        if (!all_at_barrier && simt_mbarrier_go_on()) continue;
        if (!all_at_barrier) {
            stuck();
            S.abandoned = true;
            return NULL;
        }
        release_barrier();
    }
}

static void go_on(void) {
    simt_thread *from = simt_now, *to = choose();
    if (to == from) return;
    simt_now = to;
    void *next = to ? to->stack_pointer : S.main;
    simt_switch(&from->stack_pointer, next);
}

/* The calling thread gives way until its bit in `ready` is set again. */
static void give_way(void) {
    int me = simt_now->number;
    S.warps[me / 32].ready &= ~(1u << me % 32);
    go_on();
}

void simt_sleep(void) {
    give_way();
}

void simt_wake(int number) {
    S.warps[number / 32].ready |= 1u << number % 32;
}

static void run_block(size_t shared) {
    S.n_threads = (int)(simt_block_dim.x * simt_block_dim.y * simt_block_dim.z);
    S.n_warps = (S.n_threads + 31) / 32;
    memset(S.warps, 0, sizeof S.warps);
    S.barrier_file = NULL;
    S.barrier_or = 0;
    simt_access_block(shared);
    for (int i = 0; i < S.n_threads; i++) {
        unsigned x = (unsigned)i % simt_block_dim.x, yz = (unsigned)i / simt_block_dim.x;
        S.thread[i].thread_idx = {x, yz % simt_block_dim.y, yz / simt_block_dim.y};
        S.thread[i].number = i;
        S.thread[i].early = false;
        S.warps[i / 32].live |= 1u << i % 32;
        fiber_begin(i);
    }
    for (int w = 0; w < S.n_warps; w++) S.warps[w].ready = S.warps[w].live;
    simt_now = &S.thread[0];
#if !defined(__x86_64__)
    S.main = &S.contexts[MAX_THREADS];
#endif
    simt_switch(&S.main, S.thread[0].stack_pointer);
    simt_now = NULL;
    simt_mbarrier_block();
    for (int w = 0; w < S.n_warps; w++) simt_banks_meet(w);
}

void simt_run(const char *name, dim3 grid, dim3 block, size_t shared,
              const std::function<void()> &body) {
    size_t threads = (size_t)block.x * block.y * block.z;
    S.kernel = name;
    if (threads < 1 || threads > MAX_THREADS || shared > SIMT_SHARED_MAX || grid.y > 65535 ||
        grid.z > 65535 || grid.x == 0 || grid.y == 0 || grid.z == 0) {
        simt_fault("launch of %u x %u x %u blocks of %zu threads with %zu bytes of shared memory",
                   grid.x, grid.y, grid.z, threads, shared);
        return;
    }
    S.body = &body;
    S.abandoned = false;
    S.running = true;
    simt_grid_dim = grid;
    simt_block_dim = block;
    simt_access_launch();
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x && !S.abandoned; x++) {
                simt_block_idx = {x, y, z};
                run_block(shared);
            }
    S.running = false;
}

void simt_begin_early(void) {
    simt_now->early = true;
}
void simt_waited(void) {
    simt_now->early = false;
}
void simt_end_early(void) {
    if (simt_now->early) simt_fault("a thread ends that has not waited for earlier kernels");
    simt_now->early = false;
}

bool simt_running(void) {
    return S.running;
}

const char *simt_kernel_name(void) {
    return S.kernel ? S.kernel : "no kernel";
}

/* ------------------------------------------------------------------ meeting */

int simt_barrier_or(int p, const char *file, int line) {
    int me = simt_now->number;
    if (!S.barrier_file) {
        S.barrier_file = file;
        S.barrier_line = line;
    } else if (S.barrier_line != line || strcmp(S.barrier_file, file) != 0) {
        simt_fault("divergent barrier: thread %d at %s:%d, others at %s:%d", me, file, line,
                   S.barrier_file, S.barrier_line);
    }
    S.barrier_or |= p;
    S.warps[me / 32].at_barrier |= 1u << me % 32;
    give_way();
    return S.barrier_result;
}

void simt_barrier(const char *file, int line) {
    simt_barrier_or(0, file, line);
}

void simt_together(unsigned mask, void *mine, void (*op)(void **lane, unsigned mask),
                   const char *what) {
    int lane = simt_now->number % 32;
    warp *w = &S.warps[simt_now->number / 32];
    if (!(mask >> lane & 1))
        simt_fault("%s: lane %d is not in its own mask %08x", what, lane, mask);
    if (!w->arrived) {
        w->mask = mask;
        w->what = what;
    } else if (w->mask != mask || strcmp(w->what, what) != 0) {
        simt_fault("%s with mask %08x meets %s with mask %08x in one warp", what, mask, w->what,
                   w->mask);
    }
    w->arrived |= 1u << lane;
    w->lane[lane] = mine;
    if (w->arrived != w->mask) {
        give_way();
        return;
    }
    w->arrived = 0;
    simt_banks_meet(simt_now->number / 32);
    op(w->lane, w->mask);
    w->ready |= w->mask;
}

void simt_warp_barrier(unsigned mask, const char *file, int line) {
    (void)file;
    (void)line;
    simt_together(
        mask, NULL, [](void **, unsigned) { simt_access_warp_barrier(simt_now->number / 32); },
        "__syncwarp");
}
