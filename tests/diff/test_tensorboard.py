"""A run stopped, killed and resumed, as TensorBoard reads it: every step once, and its options in the HPARAMS tab.
Usage: test_tensorboard.py LMTRAIN; exit 77 without tensorboard."""
import os, signal, subprocess, sys, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fault"))
import peers

peers.need("tensorboard.backend.event_processing.event_accumulator", "tensorboard.plugins.hparams.plugin_data_pb2")
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from train_world import World, check

w = World(sys.argv[1], steps=60, extra=("--save-every", "7"))
try:
    for sig, lines in ((signal.SIGKILL, 12), (signal.SIGTERM, 25), (signal.SIGKILL, 40), (None, 0)):
        p = subprocess.Popen(w.command("run"), cwd=w.dir, stderr=subprocess.DEVNULL)
        while sig and p.poll() is None and (not os.path.exists(w.path("run", "metrics.jsonl"))
                                            or sum(1 for _ in open(w.path("run", "metrics.jsonl"))) < lines):
            time.sleep(0.002)
        if sig:
            p.send_signal(sig)
        p.wait()
    events = EventAccumulator(w.path("run"), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    check({"train/loss", "train/learning_rate", "train/grad_norm", "train/tokens_per_s", "eval/loss", "eval/perplexity"} <= set(tags), tags)
    steps, evals = w.curve("run")
    got = [(e.step, e.value) for e in events.Scalars("train/loss")]
    check([s for s, _ in got] == list(range(1, 61)), f"steps {[s for s, _ in got]}")
    check(all(abs(a[1] - b[1]) < 1e-5 for a, b in zip(got, steps)), "other losses")
    check([e.step for e in events.Scalars("eval/loss")] == [s for s, _ in evals], "evaluations")
    content = {}
    for tag in ("experiment", "session_start_info", "session_end_info"):
        meta = events.SummaryMetadata("_hparams_/" + tag)
        check(meta.plugin_data.plugin_name == "hparams", tag)
        content[tag] = plugin_data_pb2.HParamsPluginData.FromString(meta.plugin_data.content)
    start = content["session_start_info"].session_start_info.hparams
    check(start["lr"].number_value == 0.01 and start["schedule"].string_value == "cosine" and start["layers"].number_value == 1, start)
    infos = {i.name for i in content["experiment"].experiment.hparam_infos}
    check(infos == set(start), infos ^ set(start))
    check({m.name.tag for m in content["experiment"].experiment.metric_infos} >= {"eval/loss"}, "metrics")
    check(content["session_end_info"].session_end_info.status == 1, "not a success")
    print(f"{len(got)} steps, {len(start)} options")
finally:
    w.close()
