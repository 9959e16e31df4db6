#!/usr/bin/env python3
"""What PyTorch makes of the same training steps on the same machine: transformers' GPT2LMHeadModel in
bf16 autocast, torch.compile, fused AdamW, clipping at 1, attention by each of its kernels.

    gpu_torch.py [--models 124M,1558M] [--kernels flash,cudnn] [--seq 1024] [--batch B] [--json FILE]

Random tokens; compile and two steps to warm up, then the median of seven. FILE gets a line of JSON for each line
of the table, at once."""
import argparse
import json
import statistics
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import GPT2Config, GPT2LMHeadModel

SHAPES = {"124M": (12, 768, 12, 64), "350M": (24, 1024, 16, 32), "774M": (36, 1280, 20, 16),
          "1558M": (48, 1600, 25, 8)}
KERNELS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}


def steps(name, batch, seq, kernel):
    layers, width, heads, _ = SHAPES[name]
    torch.manual_seed(1)
    torch.cuda.reset_peak_memory_stats()
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads, n_positions=seq, resid_pdrop=0,
                        embd_pdrop=0, attn_pdrop=0, use_cache=False)
    model = GPT2LMHeadModel(config).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    compiled = torch.compile(model)
    tokens = torch.randint(0, 50257, (batch, seq), device="cuda")
    times = []
    with sdpa_kernel(KERNELS[kernel]):
        for i in range(2 + 7):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(input_ids=tokens, labels=tokens).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            if i >= 2:
                times.append(time.perf_counter() - begin)
    return batch * seq / statistics.median(times), torch.cuda.max_memory_allocated()


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--models", default="124M,1558M")
    args.add_argument("--kernels", default=",".join(KERNELS))
    args.add_argument("--seq", type=int, default=1024)
    args.add_argument("--batch", type=int, default=0)
    args.add_argument("--json")
    args = args.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_torch: PyTorch sees no GPU")
    torch.set_float32_matmul_precision("high")
    results = open(args.json, "w") if args.json else None
    for name in args.models.split(","):
        for kernel in args.kernels.split(","):
            batch = args.batch or SHAPES[name][3]
            while batch:
                try:
                    tokens, memory = steps(name, batch, args.seq, kernel)
                except torch.OutOfMemoryError:
                    batch //= 2
                    torch.cuda.empty_cache()
                    continue
                except RuntimeError as e:  # a kernel that this PyTorch or GPU does not have
                    print(f"torch {name} {kernel}: {str(e).splitlines()[0]}")
                    break
                print(f"torch {torch.__version__} {name:6} {kernel:5} B {batch:3} T {args.seq}: {tokens:8.0f} tokens/s, "
                      f"{memory / 2**30:.1f} GiB", flush=True)
                if results:
                    print(json.dumps({"device": torch.cuda.get_device_name(), "model": name, "attention": kernel,
                                      "B": batch, "T": args.seq, "tokens_per_s": tokens, "memory_bytes": memory,
                                      "torch": torch.__version__}), file=results, flush=True)
                break
            torch.compiler.reset()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
