/* The instructions of Intel's matrix units (AMX), and whether they may be used. They are written
 * out, as the compilers' own functions for them do not say which memory they read. A register's
 * number is part of the instruction.
 *
 * "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18; volume 2
 * under the instructions' names. */
#ifndef LORY_TRAIN_CPU_AMX_H
#define LORY_TRAIN_CPU_AMX_H

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the eight registers are: rows, and bytes in each. */
struct tile_config {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

#define TILE_CONFIG(CONFIG) __asm__ volatile("ldtilecfg %0" ::"m"(CONFIG))
#define TILE_RELEASE()      __asm__ volatile("tilerelease")
/* Rows of a register from or to memory, BYTES apart. */
#define TILE_LOAD(REG, P, BYTES)                                                                   \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #REG ::"r"(P), "r"(BYTES) : "memory")
#define TILE_STORE(REG, P, BYTES)                                                                  \
    __asm__ volatile("tilestored %%tmm" #REG ", (%0,%1,1)" ::"r"(P), "r"(BYTES) : "memory")
#define TILE_ZERO(REG) __asm__ volatile("tilezero %tmm" #REG)
/* SUM (16,16) of fp32 += A (16, 16 pairs of bf16) B (16 pairs, 16). */
#define TILE_MUL_ADD(SUM, A, B) __asm__ volatile("tdpbf16ps %tmm" #B ", %tmm" #A ", %tmm" #SUM)

/* The processor has them, for bf16, and the system gives leave to use their registers: 8 KB, which
 * it would rather not save for every thread. Given to the process, for good. (Linux 5.16 on,
 * Documentation/arch/x86/xstate.rst) */
static inline bool amx_allowed(void) {
    enum { REQUEST = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    bool bf16 = d >> 22 & 1, tile = d >> 24 & 1;
    return bf16 && tile && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

#endif
