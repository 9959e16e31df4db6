"""Writes small GPT-2s of every odd kind, and what transformers computes from them in float64 (upcast: float32). Wants
torch, transformers, safetensors. Usage: make.py (in this folder)"""
import json
import os

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

SHAPE = dict(vocab_size=61, n_positions=40, n_embd=16, n_layer=2, n_head=2, initializer_range=0.3, resid_pdrop=0.0,
             embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=60, eos_token_id=60)
MODELS = {
    "untied": (dict(tie_word_embeddings=False, activation_function="gelu"), {}, None),
    "scaled": (dict(scale_attn_by_inverse_layer_idx=True, n_inner=24, n_layer=3), {}, None),
    "upcast": (dict(reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True, n_head=4), {}, None),
    "unscaled": (dict(scale_attn_weights=False, layer_norm_epsilon=1e-3, n_head=1, initializer_range=0.15), {}, None),
    "many-files": (dict(n_inner=37, activation_function="gelu"), dict(max_shard_size="12KB"), torch.bfloat16),
    "old-names": (dict(vocab_size=50, n_positions=24, bos_token_id=49, eos_token_id=49), {}, torch.float16),
}
T = 24


def old_names(folder):
    """As openai-community/gpt2 has them: no "transformer.", the causal masks among the weights."""
    path = os.path.join(folder, "model.safetensors")
    w = {k.removeprefix("transformer."): v for k, v in load_file(path).items()}
    for i in range(2):
        w[f"h.{i}.attn.bias"] = torch.tril(torch.ones(1, 1, 24, 24))
    save_file(w, path, {"format": "pt"})


def make(name, config, options, dtype):
    m = GPT2LMHeadModel(GPT2Config(**{**SHAPE, **config}, attn_implementation="eager"))
    with torch.no_grad():  # biases and LayerNorms away from 0 and 1
        for n, p in m.named_parameters():
            if n.endswith("bias"):
                p.normal_(0, 0.1)
            if "ln_" in n and n.endswith("weight"):
                p.add_(torch.randn_like(p) * 0.1)
    if dtype:
        m = m.to(dtype)
    m.save_pretrained(name, **options)
    if name == "old-names":
        old_names(name)
    m = (m.float() if m.config.reorder_and_upcast_attn else m.double()).train()  # upcasting knows float32 only
    ids = torch.randint(0, m.config.vocab_size, (2, T))
    labels = ids.clone()
    labels[1, :7] = -100
    out = m(input_ids=ids, labels=labels)
    out.loss.backward()
    norms = {n: p.grad.norm().item() for n, p in m.named_parameters()}
    greedy = m.eval().generate(ids[:1, :5], attention_mask=torch.ones(1, 5), max_new_tokens=T - 5, do_sample=False,
                               eos_token_id=None, pad_token_id=0)
    json_part = {"loss": out.loss.item(), "greedy": greedy[0].tolist(), "grad_norms": norms}
    return json_part, {f"{name}.input_ids": ids.int(), f"{name}.labels": labels.int(),
                       f"{name}.logits": out.logits.detach().float()}


torch.manual_seed(1)
texts, tensors = {}, {}
for name, what in MODELS.items():
    texts[name], more = make(name, *what)
    tensors.update(more)
save_file(tensors, "golden.safetensors")
with open("golden.json", "w") as f:
    json.dump(texts, f, indent=1)
    f.write("\n")
