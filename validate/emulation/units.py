"""Matrix units as data: what they round, how, who says so, and what is only assumed.

A unit multiplies the matrices of a float32 network after rounding both to a shorter format, and
adds the products up in float32. Everything else (norms, softmax, activations, sums, biases) stays
float32: ``vector-type operators prioritize the original precision``, as the documentation of the
Ascend modes puts it, and TF32 is an input format of tensor cores alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mindport.migrate.computation import Mix, Project, Score
from mindport.migrate.errors import MindportError, did_you_mean
from mindport.validate.case import emulated
from mindport.validate.emulation.formats import BFLOAT16, FLOAT16, HF32, TF32, Format
from mindport.validate.formula.operands import Short
from mindport.validate.formula.rounding import PRECISIONS, Precision

# The steps of a network that are matrix products; a tied head is a Project of the embeddings.
PRODUCTS = (Project, Score, Mix)
DTYPE = "float32"  # of the networks whose products these units take over

_MODES = "MindSpore 2.11, mindspore.device_context.ascend.op_precision.precision_mode"
_ORDER = (
    "The products are added up in float32 as this host's BLAS does it, round to nearest; the order "
    "and the rounding of the sum inside the unit are not known. Beside the rounded inputs that is "
    "small."
)
_VECTOR = "All that is not a matrix product is float32, correctly rounded once per operation."
_NAN = "A NaN stays one. In saturation mode the device makes it 0, which would hide it."


@dataclass(frozen=True)
class Unit:
    """A matrix unit.

    Attributes:
        name: As the command line has it.
        title: What it is.
        device: Where it is.
        setting: How a user turns it on.
        inputs: What both inputs of a product are rounded to.
        output: What the sum is rounded to; None leaves it float32.
        saturates: Whether what is too large becomes the largest finite number, not infinity.
        source: Where that stands.
        assumed: What no document says.
    """

    name: str
    title: str
    device: str
    setting: str
    inputs: Format
    output: Format | None
    saturates: bool
    source: tuple[str, ...]
    assumed: tuple[str, ...]

    @property
    def precision(self) -> Precision:
        """How a float32 network rounds on it."""
        output = _short(self.output) if self.output else None
        return replace(PRECISIONS[DTYPE], operands=_short(self.inputs), products=output)

    def to_dict(self) -> dict[str, Any]:
        """Return what a verdict says of it."""
        return {
            "name": self.name,
            "title": self.title,
            "device": emulated(self.device),
            "setting": self.setting,
            "operations": [kind.__name__.lower() for kind in PRODUCTS],
            "inputs": self.inputs.name,
            "mantissa_bits": self.inputs.bits,
            "ties": self.inputs.ties,
            "overflow": "saturates" if self.saturates else "infinity",
            "accumulation": DTYPE,
            "output": self.output.name if self.output else DTYPE,
            "source": list(self.source),
            "assumed": list(self.assumed),
        }


def _short(form: Format) -> Short:
    return Short(form.unit, form.smallest)


_ALL = (
    Unit(
        name="ascend-fp16",
        title="Ascend cube unit with float16 inputs",
        device="Ascend",
        setting='precision_mode("allow_fp32_to_fp16")',
        inputs=FLOAT16,
        output=FLOAT16,
        saturates=True,
        source=(
            f"{_MODES}: allow_fp32_to_fp16 uses float16 for matrix-type operators and keeps "
            "float32 for vector-type ones; the default on Atlas training products in earlier "
            "versions",
            "CANN ATC, --precision_mode: cube_fp16in_fp32out takes the matrix operator with "
            "float16 inputs and float32 output, else that with float16 output",
            "CANN runtime API, aclrtFloatOverflowMode: Atlas training products have the "
            "saturation mode only",
        ),
        assumed=(
            "The conversion to float16 rounds to nearest, ties to even, and keeps subnormals.",
            "The operator returns float16, since float32 output is a mode of its own, "
            "cube_fp16in_fp32out (force_fp32). With it the error is smaller.",
            "It saturates. Atlas A2 and A3 products give infinity by default, which fails as well.",
            _NAN,
            _ORDER,
            _VECTOR,
        ),
    ),
    Unit(
        name="hf32",
        title="Ascend cube unit with HiFloat32 inputs",
        device="Ascend",
        setting="op_precision.matmul_allow_hf32(True)",
        inputs=HF32,
        output=None,
        saturates=False,
        source=(
            "CANN ATC, --allow_hf32: float32's range, 11 bits of mantissa where float16 has 10; "
            "Atlas A2 and A3 products",
            "CANN Ascend C API, SetHF32Mode: float32 inputs in L0A and L0B are rounded to HF32 "
            "before Mmad",
            "CANN Ascend C API, Matmul SetHF32: transMode 0, the default, rounds to nearest, ties "
            "to even; 1 rounds ties away from zero",
        ),
        assumed=(
            "The 11 bits are explicit ones, as float16's 10 are.",
            "The library's matrix product uses transMode 0.",
            "Subnormals are kept, and what rounds beyond float32's range is infinite.",
            _ORDER,
            _VECTOR,
        ),
    ),
    Unit(
        name="tf32",
        title="NVIDIA tensor core with TF32 inputs",
        device="GPU",
        setting="torch.backends.cuda.matmul.allow_tf32 = True",
        inputs=TF32,
        output=None,
        saturates=False,
        source=(
            "NVIDIA A100 architecture whitepaper: 8 bits of exponent, 10 of mantissa, float32 sums",
            "NVIDIA PTX ISA, cvt.rna.tf32.f32: round to nearest, ties away from zero",
            "Fasi, Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ "
            "Computer Science 7 (2021) e330: how tensor cores add",
        ),
        assumed=(
            "The library rounds with cvt.rna. The mma instruction itself ignores the lower 13 "
            "bits; a kernel that leaves it at that has errors of one sign, twice as large, and is "
            "not covered.",
            "Tensor cores cut off where they add (Fasi et al.); here the sum rounds to nearest.",
            _ORDER,
            _VECTOR,
        ),
    ),
    Unit(
        name="bf16",
        title="Ascend cube unit with bfloat16 inputs",
        device="Ascend",
        setting='precision_mode("allow_fp32_to_bf16")',
        inputs=BFLOAT16,
        output=BFLOAT16,
        saturates=False,
        source=(
            f"{_MODES}: allow_fp32_to_bf16 uses bfloat16 for matrix-type operators and keeps "
            "float32 for vector-type ones",
            "CANN asc-devkit, cube_compute.h, asc_mmad: bfloat16 inputs, float32 sums",
            "CANN runtime API, aclrtFloatOverflowMode: Atlas A2 and A3 products give infinity by "
            "default",
        ),
        assumed=(
            "The conversion to bfloat16 rounds to nearest, ties to even.",
            "The operator returns bfloat16.",
            _ORDER,
            _VECTOR,
        ),
    ),
)
UNITS: Mapping[str, Unit] = {unit.name: unit for unit in _ALL}


def find_unit(name: str) -> Unit:
    """Return a unit by its name.

    Raises:
        MindportError: If there is none.
    """
    if name not in UNITS:
        raise MindportError(f"There is no matrix unit {name!r}.{did_you_mean(name, UNITS)}")
    return UNITS[name]
