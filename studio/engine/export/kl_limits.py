"""How far a quantized file may be from the model it was made from, in mean KL divergence (nats).

In: nothing. Out: KL_LIMITS, one limit a quantized type. Beyond its limit a file is broken, not
rounded.
"""

# Mean KL divergence of Llama 3 8B from F16; without an importance matrix where that is published,
# else (IQ4 and below) with one.
# Source: llama.cpp tools/perplexity/README.md, "LLaMA 3 8b Scoreboard".
_PUBLISHED = {
    "Q8_0": 0.001355,
    "Q6_K": 0.005452,
    "Q5_K_M": 0.010762,
    "Q5_K_S": 0.016595,
    "Q5_1": 0.018045,
    "Q5_0": 0.022239,
    "Q4_K_M": 0.031273,
    "Q4_K_S": 0.043136,
    "Q4_1": 0.071683,
    "Q4_0": 0.071940,
    "IQ4_NL": 0.035742,
    "IQ4_XS": 0.036334,
    "Q3_K_L": 0.087176,
    "Q3_K_M": 0.101913,
    "IQ3_M": 0.102534,
    "IQ3_S": 0.111278,
    "IQ3_XS": 0.138693,
    "IQ3_XXS": 0.183625,
    "Q3_K_S": 0.228217,
    "IQ2_M": 0.325989,
    "Q2_K": 0.445132,
    "Q2_K_S": 0.403360,
    "IQ2_S": 0.439197,
    "IQ2_XS": 0.546290,
    "IQ2_XXS": 0.812022,
    "IQ1_M": 1.393084,
    "IQ1_S": 2.254554,
}
# Small models lose more than the 8B one of the table.
_FACTOR = 10

KL_LIMITS = {name: round(_FACTOR * kl, 4) for name, kl in _PUBLISHED.items()}
