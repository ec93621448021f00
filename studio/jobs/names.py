"""Words for the names of jobs: easy to say, easy to tell apart."""

ADJECTIVES = (
    "amber", "brave", "bright", "calm", "clever", "cosy", "eager", "early", "fair", "gentle",
    "glad", "golden", "happy", "honest", "jolly", "keen", "kind", "lively", "lucky", "merry",
    "mild", "neat", "noble", "patient", "proud", "quick", "quiet", "rosy", "sharp", "shiny",
    "silver", "smart", "snowy", "steady", "sunny", "swift", "tidy", "warm", "wise", "witty",
)  # fmt: skip
ANIMALS = (
    "badger", "bear", "beaver", "bee", "bison", "cat", "crane", "crow", "deer", "dolphin",
    "duck", "eagle", "falcon", "finch", "fox", "goose", "hare", "hawk", "heron", "horse",
    "ibex", "jay", "koala", "lark", "lion", "lynx", "marten", "mole", "moose", "otter",
    "owl", "panda", "puffin", "robin", "seal", "stork", "swan", "tiger", "whale", "wolf",
)  # fmt: skip
