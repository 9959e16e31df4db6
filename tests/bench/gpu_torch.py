#!/usr/bin/env python3
"""What PyTorch makes of the same training steps on the same machine: GPT-2 in bf16 autocast, torch.compile, fused
AdamW, clipping at 1, attention by each of its kernels.

    gpu_torch.py [--models 124M,1558M] [--kernels flash,cudnn] [--dropout 0,0.1] [--seq 1024] [--batch B] [--json FILE]

The model is written out: transformers' own hands attention a mask as soon as it is compiled, which the fast kernels do
not take. Random tokens; compile and two steps to warm up, then the median of seven. FILE gets a line of JSON for
each line of the table, at once."""
import argparse
import itertools
import json
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

SHAPES = {"124M": (12, 768, 12, 64), "350M": (24, 1024, 16, 64), "774M": (36, 1280, 20, 32),
          "1558M": (48, 1600, 25, 32)}
KERNELS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
VOCABULARY = 50257


class Layer(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.mlp = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, -1).transpose(1, 2) for t in self.attn(self.ln_1(x)).split(C, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=self.dropout)
        x = x + F.dropout(self.proj(y.transpose(1, 2).reshape(B, T, C)), self.dropout)
        return x + F.dropout(self.mlp(F.gelu(self.fc(self.ln_2(x)), approximate="tanh")), self.dropout)


class GPT2(nn.Module):
    """Rows of the vocabulary are padded to a multiple of 128, which is faster, as nanoGPT and llm.c do."""

    def __init__(self, layers, width, heads, positions, dropout):
        super().__init__()
        self.dropout = dropout
        self.wte, self.wpe = nn.Embedding(50304, width), nn.Embedding(positions, width)
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, tokens, labels):
        x = F.dropout(self.wte(tokens) + self.wpe.weight[:tokens.shape[1]], self.dropout)
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def steps(name, batch, seq, kernel, dropout):
    layers, width, heads, _ = SHAPES[name]
    torch.manual_seed(1)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = GPT2(layers, width, heads, seq, dropout).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), fused=True)
    compiled = torch.compile(model)
    tokens = torch.randint(0, VOCABULARY, (batch, seq + 1), device="cuda")
    times = []
    with sdpa_kernel(KERNELS[kernel]):
        for i in range(2 + 7):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16):
                loss = compiled(tokens[:, :-1], tokens[:, 1:])
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
    args.add_argument("--dropout", default="0")
    args.add_argument("--seq", type=int, default=1024)
    args.add_argument("--batch", type=int, default=0)
    args.add_argument("--json")
    args = args.parse_args()
    if not torch.cuda.is_available():
        sys.exit("gpu_torch: PyTorch sees no GPU")
    torch.set_float32_matmul_precision("high")
    results = open(args.json, "w") if args.json else None
    for name in args.models.split(","):
        for kernel, dropout in itertools.product(args.kernels.split(","), map(float, args.dropout.split(","))):
            batch = args.batch or SHAPES[name][3]
            while batch:
                try:
                    tokens, memory = steps(name, batch, args.seq, kernel, dropout)
                except torch.OutOfMemoryError:
                    batch //= 2
                    continue
                except RuntimeError as e:  # a kernel that this PyTorch or GPU does not have
                    print(f"torch {name} {kernel}: {str(e).splitlines()[0]}")
                    break
                print(f"torch {torch.__version__} {name:6} {kernel:5} B {batch:3} T {args.seq}: {tokens:8.0f} tokens/s, "
                      f"{memory / 2**30:.1f} GiB" + (f", dropout {dropout:g}" if dropout else ""), flush=True)
                if results:
                    print(json.dumps({"device": torch.cuda.get_device_name(), "model": name, "attention": kernel,
                                      "B": batch, "T": args.seq, "dropout": dropout, "tokens_per_s": tokens,
                                      "memory_bytes": memory, "torch": torch.__version__}), file=results, flush=True)
                break


if __name__ == "__main__":
    main()
