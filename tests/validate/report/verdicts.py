"""Verdicts to show: real ones of recorded NumPy runs, and made up what needs a framework."""

from __future__ import annotations

from dataclasses import replace

from mindport.migrate.porting import port, prepare
from mindport.validate.formula.operations import evaluate
from mindport.validate.judge import not_run
from mindport.validate.launch import NotRun
from mindport.validate.provenance import read_mapping, with_provenance
from mindport.validate.recording.comparing import compare_recorded
from tests.validate.recorded import make_recorded

HOSTILE = "<script>window.hit = 1</script>\"'><img src=x onerror='window.hit = 1'>|`x`"
LEVELS = ("load", "inputs", "rows", "margins", "flips", "distributions", "decisions", "metrics")

ACCEPTED = {
    "name": "mindspore-cpu-tanh", "platform": "MindSpore on a CPU", "versions": ["2"],
    "operation": "tanh", "formula": "coarse", "source": "a source", "function": None,
    "status": "no-effect", "share": None, "largest": 0.0, "taps": [], "last_tap": "logits",
    "at_last_tap": None,
}  # fmt: skip


def make_verdicts(network, weights, folder):
    """Return verdicts by name: ``pass``, ``fail``, ``not-run`` and ``everything``.

    Args:
        network: A small network.
        weights: Its checkpoint.
        folder: Where runs are recorded.
    """
    wrong = {"block.1.mlp": lambda step, given, setting: 1.1 * evaluate(step, given, setting)}
    runs = {"right": network.run(seed=2), "wrong": network.run(wrong, seed=2)}
    reference = make_recorded(
        folder / "reference", network, weights, "reference", network.run(seed=1)
    )
    found = {
        name: compare_recorded(
            reference, make_recorded(folder / name, network, weights, "candidate", taps)
        )
        for name, taps in runs.items()
    }
    reason = NotRun("candidate", "there is no device", "Look for one.", ("last", "words"))
    mapping = read_mapping(port(prepare(weights, "gpt2"), folder / "ported"))
    absent = not_run(network.case, [reason], ("a notice",))
    return {
        "pass": with_provenance(found["right"], ("validate", "gpt2"), mapping),
        "fail": found["wrong"],
        "not-run": with_provenance(absent, ("validate", "gpt2", "--device", "Ascend")),
        "everything": full(found["wrong"], mapping),
    }


def full(verdict, mapping):
    """Return a failed verdict with every section, and names that would do harm if they were run."""
    taps = list(verdict.taps)
    place = next(i for i, tap in enumerate(taps) if tap.name == "block.2.up")
    taps[place] = replace(taps[place], name=HOSTILE)
    entries = [{**entry} for entry in mapping["parameters"]]
    entries[0]["source"] = entries[1]["reason"] = HOSTILE
    return replace(
        with_provenance(verdict, ("validate", "gpt2", "--candidate", HOSTILE),
                        {**mapping, "parameters": entries, "left_out": 7}),
        headline=f"{verdict.headline} {HOSTILE}",
        taps=tuple(taps),
        notices=(*verdict.notices, HOSTILE),
        prompts=prompts(),
        gradients=gradients(),
        not_compared=("pooler",),
        accepted=(ACCEPTED,),
        policy={**verdict.policy, "name": "community-1e-3", "atol": 1e-3, "rtol": 1e-3},
    )  # fmt: skip


def prompts(flipped=2):
    """Return a section of 40 prompts, the first of which flipped."""
    room = [
        {"id": f"item-{i}" if i else HOSTILE, "margin": 0.001 * (i + 1), "bound": 0.01,
         "moved": 0.002 * (i < flipped) + 1e-4, "certified": 0.001 * (i + 1) > 0.01,
         "flipped": i < flipped}
        for i in range(40)
    ]  # fmt: skip
    levels = [
        {"name": name, "ok": ok, "finding": f"what {name} came to", "figures": {}}
        for name, ok in zip(LEVELS, (True, True, False, True, False, None, None, None), strict=True)
    ]
    flips = [
        {"id": item["id"], "text": HOSTILE, "label": "positive", "reference": "positive",
         "candidate": "negative", "margin": item["margin"], "bound": item["bound"],
         "error": 0.005, "explained": False}
        for item in room[:flipped]
    ]  # fmt: skip
    return {"task": "sentiment", "status": "fail", "headline": f"rows: off {HOSTILE}", "items": 40,
            "levels": levels, "power": None, "flips": flips, "room": room,
            "notices": []}  # fmt: skip


def gradients(wrong=1):
    """Return a section of five parameters, the last of which are wrong."""
    results = [
        {"parameter": f"layer.{i}.weight", "ok": i < 5 - wrong,
         "used": 0.3 if i < 5 - wrong else 40.0,
         "size": 0.5, "reference": 1e-8, "candidate": 2e-8 if i < 5 - wrong else 1e-4,
         "allowed": 6e-8, "peak": 1e-7, "allowed_peak": 1e-6,
         "problem": "" if i < 5 - wrong else "it is too far off"}
        for i in range(5)
    ]  # fmt: skip
    return {
        "loss": {"oracle": 2.5, "reference": 2.5, "candidate": 2.6}, "loss_ok": not wrong,
        "parameters": results, "first_faulty": "layer.4.weight" if wrong else None,
        "problem": "the loss is 2.6 and not 2.5" if wrong else "", "summary": "all agree",
    }  # fmt: skip
