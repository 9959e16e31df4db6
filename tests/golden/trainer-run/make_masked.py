"""Writes masked.json: the run of golden.json again, with prompts that are no targets. Wants torch, transformers,
accelerate. Usage: make_masked.py (in this folder)"""
import json
import random
import shutil
import tempfile

import torch
from transformers import GPT2LMHeadModel, Trainer, TrainingArguments


class InOrder(Trainer):
    def _get_train_sampler(self, *_, **__):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def rows(flat, rng):
    """Rows of 32, and their masks: some tokens at the beginning, all of them, or here and there; never the first."""
    out, mask = [], []
    for at in range(0, len(flat), 32):
        k = rng.choice((1, 5, 12, 20, 31, 32, 0))
        m = [0] * k + [1] * (32 - k) if k else [0] + [rng.randrange(2) for _ in range(31)]
        if at in (4 * 32, 5 * 32):  # a micro-batch without a target
            m = [0] * 32
        ids = flat[at:at + 32]
        out.append({"input_ids": torch.tensor(ids), "labels": torch.tensor([i if t else -100 for i, t in zip(ids, m)])})
        mask += m
    return out, mask


golden, rng = json.load(open("golden.json")), random.Random(4)
train, train_mask = rows(golden["train"], rng)
valid, valid_mask = rows(golden["eval"], rng)
model = GPT2LMHeadModel.from_pretrained(".", attn_implementation="eager", dtype=torch.float32)
model.loss_type = "ForCausalLM"
out = tempfile.mkdtemp()
args = TrainingArguments(output_dir=out, per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=8,
                         learning_rate=2e-3, lr_scheduler_type="cosine", warmup_steps=3, weight_decay=0.1, adam_beta2=0.95,
                         logging_steps=1, eval_strategy="steps", eval_steps=4, save_strategy="no",
                         per_device_eval_batch_size=len(valid), report_to=[], use_cpu=True, disable_tqdm=True)
trainer = InOrder(model=model, args=args, train_dataset=train, eval_dataset=valid)
trainer.train()
shutil.rmtree(out)
log = trainer.state.log_history
with open("masked.json", "w") as f:
    json.dump({"train_mask": "".join(map(str, train_mask)), "eval_mask": "".join(map(str, valid_mask)),
               "loss": [x["loss"] for x in log if "loss" in x], "grad_norm": [x["grad_norm"] for x in log if "loss" in x],
               "eval_loss": [x["eval_loss"] for x in log if "eval_loss" in x]}, f, indent=1)
