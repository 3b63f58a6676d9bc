"""The schema of ``verdict.json`` says what a reader may rely on, and refuses the contrary."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest

from mindport.validate.case import DEVICES, DTYPES, EMULATED_DEVICES, MODES
from mindport.validate.diagnose.causes import CAUSES
from mindport.validate.emulation.prediction import NOT_RUN, Emulation
from mindport.validate.emulation.units import UNITS
from mindport.validate.metrics import Errors
from mindport.validate.pairs.facts import Difference, PairFacts, SideFacts
from mindport.validate.tolerance import POLICIES, USER
from mindport.validate.verdict import SCHEMA as NUMBER
from mindport.validate.verdict import Both, Diagnosis, TapResult, Verdict
from tests.validate.conftest import SCHEMA

GOOD = Errors(1e-8, 0.5, 3.0, (0, 0), 2.0, 12.0)
BAD = Errors(1e-2, 50.0, 99.0, (0, 0), 2.0, 12.0)
FINITE = SideFacts(0, 0, 0, None, None)


def facts(**others):
    figures = {
        "shape": (1, 2), "dtype": "float32", "compared": 2, "finite": 2, "max_abs": 0.5,
        "mean_abs": 0.25, "reference_rms": 1.0, "difference_rms": 0.4, "cosine": 1.0,
        "worst_index": (0, 1), "equal": 0.5, "ulps": {"0": 1, "3-4": 1, "more": 0, "nan": 0},
        "max_ulp": 4, "first_difference": Difference((0, 1), 1.0, 1.5), "reference": FINITE,
        "candidate": FINITE,
    }  # fmt: skip
    return PairFacts(**{**figures, **others})


PASSED = TapResult("embeddings", (1, 2), True, False, 0.25, 1.0, (0, 1), 1e-8, Both(GOOD, GOOD),
                   None, facts())  # fmt: skip
FAULTY = TapResult("logits", (1, 2), False, False, 25.0, 0.5, (0, 1), 1e-8, Both(GOOD, BAD),
                   Both(GOOD, BAD), facts(), True, "off")  # fmt: skip
NAN = TapResult("logits", (1, 2), False, facts=facts(
    finite=0, max_abs=None, mean_abs=None, reference_rms=None, difference_rms=None, cosine=None,
    worst_index=None, max_ulp=None, first_difference=Difference((0, 0), 1.0, "nan"),
    candidate=SideFacts(1, 0, 1, (0, 0), (0, 1)),
), own_fault=True, problem="NaN")  # fmt: skip
CAUSE = Diagnosis("logits", "scaled", True, "the result is twice as large", 1.0)
IDENTITY = {
    "backend": "torch", "framework": "torch", "version": "2", "device": "CPU", "dtype": "float32",
    "mode": "eager", "attention": "eager", "details": {},
}  # fmt: skip
LOAD = {"loaded": 1, "missing": [], "unexpected": [], "mismatched": []}
ORIGIN = {"origin": "embedded", "files": {"model.safetensors": "0" * 64}}


def verdict_of(
    status, *taps, first=None, diagnosis=(), headline="because", candidate=IDENTITY, **others
):
    def both(value):
        return {"reference": value, "candidate": value}

    content = Verdict(
        verdict=status, headline=headline, architecture="gpt2", head="lm",
        first_faulty_tap=first, taps=taps, diagnosis=tuple(diagnosis),
        first_nonfinite=both({"nan": None, "infinite": ("logits", (0, 1))}),
        policy={"name": "derived", "basis": "x", "dtype": "float32",
                "reference_dtype": "float32", "atol": None, "rtol": None,
                "matmul": None},
        identity={"reference": IDENTITY, "candidate": candidate}, load=both(LOAD),
        checkpoint=both(ORIGIN), inputs={"batch": 1, "length": 2, "padded_positions": 0},
        timings=both({"load": 1.0}), **others,
    ).to_dict()  # fmt: skip
    return json.loads(json.dumps(content, allow_nan=False))


def passing():
    return verdict_of("pass", PASSED)


def failing():
    return verdict_of("fail", PASSED, FAULTY, first="logits", diagnosis=[CAUSE])


def emulating(*taps, **others):
    section = Emulation(UNITS["hf32"]).section(taps or (PASSED,), within=not others)
    identity = {**IDENTITY, "framework": "emulation", "device": "Ascend (emulated)"}
    headline = f"emulated hf32: x; {NOT_RUN}"
    return verdict_of(
        "emulated", *(taps or (PASSED,)), headline=headline,
        candidate=identity, emulation=section, **others,
    )  # fmt: skip


def refused(content):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


def test_the_schema_is_one_and_has_the_number_of_the_code():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == NUMBER


def test_its_lists_are_those_of_the_code():
    kinds = SCHEMA["$defs"]
    assert kinds["diagnosis"]["properties"]["cause"]["enum"] == list(CAUSES)
    assert SCHEMA["properties"]["policy"]["properties"]["name"]["enum"] == [*POLICIES, USER]
    for name in ("dtype", "reference_dtype"):
        assert SCHEMA["properties"]["policy"]["properties"][name]["enum"] == list(DTYPES)
    identity = kinds["identity"]["properties"]
    devices = (*DEVICES, *EMULATED_DEVICES)
    for field, known in (("device", devices), ("mode", MODES), ("dtype", DTYPES)):
        assert identity[field]["enum"] == list(known)


@pytest.mark.parametrize(
    ("kind", "type_"),
    [("tap", TapResult), ("diagnosis", Diagnosis), ("errors", Errors), ("both", Both),
     ("facts", PairFacts), ("side_facts", SideFacts), ("difference", Difference)],
)  # fmt: skip
def test_it_knows_every_field(kind, type_):
    fields = set(type_.__dataclass_fields__)
    assert set(SCHEMA["$defs"][kind]["properties"]) == fields
    assert set(SCHEMA["$defs"][kind]["required"]) == fields


def test_it_knows_every_field_of_a_verdict():
    assert set(SCHEMA["properties"]) == set(SCHEMA["required"]) == set(passing())


@pytest.mark.parametrize(
    "content",
    [
        passing(),
        failing(),
        verdict_of("fail", PASSED),
        verdict_of("fail", NAN, first="logits"),
        emulating(),
        emulating(PASSED, FAULTY, first="logits", diagnosis=[CAUSE]),
    ],
    ids=["pass", "fail", "fail-of-loading", "fail-with-nan", "emulated", "emulated-outside"],
)
def test_what_may_be_said(content):
    jsonschema.validate(content, SCHEMA)


FAULTY_TAP = failing()["taps"][1]
CONTRADICTIONS = {
    "pass with a faulty tap": lambda v: v["taps"].append(FAULTY_TAP),
    "pass with a diagnosis": lambda v: v.update(diagnosis=failing()["diagnosis"]),
    "pass with a first faulty tap": lambda v: v.update(first_faulty_tap="logits"),
    "pass of nothing": lambda v: v.update(taps=[]),
    "pass of a side that did not run": lambda v: v.update(
        not_run=[{"side": "candidate", "reason": "", "hint": "", "last_lines": []}]
    ),
    "pass without an identity": lambda v: v["identity"].pop("candidate"),
    "pass beyond the tolerance": lambda v: v["taps"][0].update(used=1.01),
    "pass of a part": lambda v: v["taps"][0].update(within=0.99),
    "pass without figures": lambda v: v["taps"][0].update(used=None),
    "pass without the oracle": lambda v: v["taps"][0].update(accumulated=None),
    "pass with a problem": lambda v: v["taps"][0].update(problem="off"),
    "derived pass of a fault": lambda v: v["taps"][0].update(own_fault=True),
    "derived with figures": lambda v: v["policy"].update(atol=1e-3),
    "another policy": lambda v: v["policy"].update(name="scaled"),
    "policy without figures": lambda v: v["policy"].update(name="user"),
    "another field": lambda v: v.update(more=1),
    "another field of a tap": lambda v: v["taps"][0].update(max_abs=1),
    "a hash that is none": lambda v: v["checkpoint"]["reference"]["files"].update(a="0"),
    "an older schema": lambda v: v.update(schema=1),
    "a field of policy that is not there": lambda v: v["policy"].pop("basis"),
    "half a place": lambda v: v["first_nonfinite"]["reference"].update(nan=["logits"]),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_contradicts_a_pass_is_refused(name):
    content = copy.deepcopy(passing())
    CONTRADICTIONS[name](content)
    refused(content)


FAILURES = {
    "a fault that nobody is told of": lambda v: v.update(first_faulty_tap=None),
    "a fault without words": lambda v: v["taps"][1].update(problem=""),
    "another cause": lambda v: v["diagnosis"][0].update(cause="bad-luck"),
    "a confirmed unknown": lambda v: v["diagnosis"][0].update(cause="unknown"),
    "more than all explained": lambda v: v["diagnosis"][0].update(explained=1.5),
    "a diagnosis without a fault": lambda v: (v["taps"].pop(), v.update(first_faulty_tap=None)),
    "a first fault without a fault": lambda v: v["taps"].pop(),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_contradicts_a_failure_is_refused(name):
    content = copy.deepcopy(failing())
    FAILURES[name](content)
    refused(content)


EMULATIONS = {
    "a pass": lambda v: v.update(verdict="pass"),
    "a failure": lambda v: v.update(verdict="fail"),
    "no word of the device": lambda v: v.update(headline="emulated hf32: all is well"),
    "no section": lambda v: v.update(emulation=None),
    "the device itself": lambda v: v["identity"]["candidate"].update(device="Ascend"),
    "a framework": lambda v: v["identity"]["candidate"].update(framework="mindspore"),
    "no sources": lambda v: v["emulation"]["unit"].update(source=[]),
    "within although a tap is not": lambda v: v["taps"].append(FAULTY_TAP),
}


@pytest.mark.parametrize("name", EMULATIONS)
def test_what_an_emulation_may_not_say(name):
    content = copy.deepcopy(emulating())
    EMULATIONS[name](content)
    refused(content)


def test_what_ran_may_not_call_itself_emulated():
    for change in ({"framework": "emulation"}, {"device": "Ascend (emulated)"}):
        content = copy.deepcopy(passing())
        content["identity"]["candidate"].update(change)
        refused(content)


def test_what_did_not_run_compared_nothing():
    reason = {"side": "candidate", "reason": "no device", "hint": "", "last_lines": []}
    content = Verdict("not-run", "no device", "gpt2", "lm", not_run=(reason,)).to_dict()
    jsonschema.validate(content, SCHEMA)
    for change in (
        {"taps": passing()["taps"]}, {"not_run": []}, {"gradients": {}}, {"prompts": {}},
        {"diagnosis": failing()["diagnosis"]},
    ):  # fmt: skip
        refused({**content, **change})


def test_a_loose_policy_may_pass_what_is_at_fault_itself():
    content = passing()
    content["policy"].update(name="community-1e-3", atol=1e-3, rtol=1e-3)
    content["taps"][0]["own_fault"] = True
    jsonschema.validate(content, SCHEMA)
