"""The screen: thin tabs over `studio`, one build function each. It never holds weights.

The switches below must be set before gradio is imported anywhere: nothing leaves the machine.
"""

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
