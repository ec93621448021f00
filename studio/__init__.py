"""LoRA Studio without a screen: from a file of examples to a tuned, quantized model.

Read the packages in the order the data flows:
data → text → models → training → jobs → results, with `engine` as the only place that
imports torch. `errors`, `paths`, `settings` and `events` are the ground floor.
"""

__version__ = "0.1.0"
