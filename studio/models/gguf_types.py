"""The types of a GGUF file: the block formats they are made of, and what each is good for.

In: nothing. Out: BLOCKS (the formats of a tensor) and EXPORT_TYPES (the choices for a file).
"""

from dataclasses import dataclass

from studio.errors import ExportError

# name: (weights in a block, bytes of a block), the largest first.
# Source: ggml-common.h, the block_* structs.
BLOCKS = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q6_K": (256, 210),
    "Q5_1": (32, 24),
    "Q5_0": (32, 22),
    "Q5_K": (256, 176),
    "Q4_1": (32, 20),
    "Q4_0": (32, 18),
    "Q4_K": (256, 144),
    "IQ4_NL": (32, 18),
    "IQ4_XS": (256, 136),
    "Q3_K": (256, 110),
    "IQ3_S": (256, 110),
    "IQ3_XXS": (256, 98),
    "Q2_K": (256, 84),
    "IQ2_S": (256, 82),
    "IQ2_XS": (256, 74),
    "IQ2_XXS": (256, 66),
    "IQ1_M": (256, 56),
    "IQ1_S": (256, 50),
}
UNQUANTIZED = ("F32", "F16", "BF16")
# What most people choose from; the others are a press away.
USUAL = ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_M")


@dataclass(frozen=True, kw_only=True)
class ExportType:
    """One choice: its main block format, and what it is good for."""

    block: str
    advice: str


# In the order of size. The advice is published experience, see the README.
EXPORT_TYPES = {
    "F32": ExportType(
        block="F32", advice="Exact copy in full precision; for checking, not for daily use."
    ),
    "F16": ExportType(block="F16", advice="Practically exact, half the size of F32."),
    "BF16": ExportType(block="BF16", advice="As F16, for models with very large weights."),
    "Q8_0": ExportType(block="Q8_0", advice="Hardly any loss; half the size of F16."),
    "Q6_K": ExportType(block="Q6_K", advice="Very small loss."),
    "Q5_K_M": ExportType(block="Q5_K", advice="Small loss: the best trade-off for most models."),
    "Q5_K_S": ExportType(block="Q5_K", advice="A little smaller than Q5_K_M, a little more loss."),
    "Q5_1": ExportType(
        block="Q5_1", advice="Older format; larger than Q5_K_M for about the same loss."
    ),
    "Q5_0": ExportType(block="Q5_0", advice="Older format; more loss than Q5_K_S."),
    "Q4_K_M": ExportType(
        block="Q4_K", advice="Moderate loss, small file: the usual choice on small machines."
    ),
    "Q4_K_S": ExportType(block="Q4_K", advice="A little smaller than Q4_K_M, a little more loss."),
    "Q4_1": ExportType(block="Q4_1", advice="Older format; larger than Q4_K_M with more loss."),
    "Q4_0": ExportType(block="Q4_0", advice="Older format; fast, with more loss than Q4_K_S."),
    "IQ4_NL": ExportType(block="IQ4_NL", advice="As Q4_K_S, with uneven steps; slower on a CPU."),
    "IQ4_XS": ExportType(
        block="IQ4_XS", advice="Smaller than Q4_K_S with about the same loss; slower on a CPU."
    ),
    "Q3_K_L": ExportType(block="Q3_K", advice="Clear loss: where Q4_K_S does not fit."),
    "Q3_K_M": ExportType(block="Q3_K", advice="Large loss: for tests only."),
    "IQ3_M": ExportType(
        block="IQ3_S", advice="Large loss: smaller than Q3_K_M, with more loss; slower on a CPU."
    ),
    "IQ3_S": ExportType(block="IQ3_S", advice="Large loss; a little smaller than IQ3_M."),
    "Q3_K_S": ExportType(block="Q3_K", advice="Very large loss: for tests only."),
    "IQ3_XS": ExportType(block="IQ3_S", advice="Large loss; needs an importance matrix."),
    "IQ3_XXS": ExportType(block="IQ3_XXS", advice="Large loss; needs an importance matrix."),
    "Q2_K": ExportType(block="Q2_K", advice="Very large loss: for tests only."),
    "Q2_K_S": ExportType(block="Q2_K", advice="Very large loss; needs an importance matrix."),
    "IQ2_M": ExportType(block="IQ2_S", advice="Very large loss; needs an importance matrix."),
    "IQ2_S": ExportType(block="IQ2_XS", advice="Very large loss; needs an importance matrix."),
    "IQ2_XS": ExportType(block="IQ2_XS", advice="Very large loss; needs an importance matrix."),
    "IQ2_XXS": ExportType(
        block="IQ2_XXS", advice="Very large loss, for large models; needs an importance matrix."
    ),
    "IQ1_M": ExportType(
        block="IQ1_M", advice="Only for very large models; needs an importance matrix."
    ),
    "IQ1_S": ExportType(
        block="IQ1_S", advice="The smallest there is, mostly noise; needs an importance matrix."
    ),
}
# llama.cpp refuses to make these without an importance matrix.
NEED_IMATRIX = ("IQ3_XS IQ3_XXS Q2_K_S IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S").split()


def check_types(types: tuple[str, ...]) -> None:
    """Raises: ExportError for an empty or unknown choice."""
    unknown = [name for name in types if name not in EXPORT_TYPES]
    if unknown or not types:
        what = f"Unknown type '{unknown[0]}'." if unknown else "No type was chosen."
        raise ExportError(what, f"Choose from: {', '.join(EXPORT_TYPES)}.", "export_type")
