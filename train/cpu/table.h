/* The tables that cpu.c chooses from; the x86 ones exist where meson built them (HAVE_X86_ISAS). */
#ifndef LORY_TRAIN_CPU_TABLE_H
#define LORY_TRAIN_CPU_TABLE_H

#include "train/op.h"

extern const struct backend cpu_table_plain, cpu_table_avx2, cpu_table_avx512, cpu_table_avx512bf16;

#endif
