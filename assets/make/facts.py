"""Fixed knowledge of the starter: simple facts and small talk, written for this project."""

# (subject of the question, answer); several wordings ask for each group.
OPPOSITES = (
    "big small|hot cold|old young|wet dry|fast slow|open closed|full empty|day night|up down|"
    "left right|happy sad|strong weak|early late|loud quiet|rich poor|hard soft|light dark|yes no"
)
COLOURS = (
    "grass green|snow white|coal black|the sky blue|blood red|milk white|a lemon yellow|"
    "an orange orange|a carrot orange|chocolate brown|the sun yellow|a frog green|a crow black"
)
SOUNDS = (
    "dog woof|cat meow|cow moo|duck quack|sheep baa|bee buzz|frog ribbit|horse neigh|pig oink|"
    "mouse squeak|bird tweet|snake hiss|lion roar"
)
LEGS = "dog 4|cat 4|bird 2|spider 8|ant 6|fish 0|horse 4|bee 6|snake 0|chair 4|duck 2|cow 4"
BABIES = "dog puppy|cat kitten|cow calf|sheep lamb|horse foal|bear cub|goat kid|duck duckling"
PLACES = (
    "teacher school|doctor hospital|farmer farm|baker bakery|cook kitchen|sailor ship|pilot plane|"
    "king castle|gardener garden"
)
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = (
    "January February March April May June July August September October November December"
).split()
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def _pairs(table: str) -> list[tuple[str, str]]:
    """(subject, answer) from "subject answer|..."; the answer is the last word."""
    return [(a, b) for a, _, b in (entry.rpartition(" ") for entry in table.split("|"))]


def _next(names: list[str]) -> list[tuple[str, str]]:
    """(name, the one after it), going round."""
    return list(zip(names, names[1:] + names[:1], strict=True))


# Each group: wordings, then (subject, answer) pairs.
FACT_GROUPS: list[tuple[list[str], list[tuple[str, str]]]] = [
    (
        ["What is the opposite of {}?", "Opposite of {}?", "Name the opposite of {}."],
        _pairs(OPPOSITES),
    ),
    (
        ["What colour is {}?", "Which colour does {} have?", "Name the colour of {}."],
        _pairs(COLOURS),
    ),
    (
        ["What does a {} say?", "What sound does a {} make?", "Name the sound of a {}."],
        _pairs(SOUNDS),
    ),
    (
        ["How many legs has a {}?", "How many legs does a {} have?", "Number of legs of a {}?"],
        _pairs(LEGS),
    ),
    (
        ["What is a baby {} called?", "What do you call a young {}?", "Name for a baby {}?"],
        _pairs(BABIES),
    ),
    (
        ["Where does a {} work?", "Where do you find a {}?", "Name the place of a {}."],
        _pairs(PLACES),
    ),
    (
        ["Which day comes after {}?", "What day follows {}?", "Day after {}?"],
        _next(DAYS),
    ),
    (
        ["Which month comes after {}?", "What month follows {}?", "Month after {}?"],
        _next(MONTHS),
    ),
    (
        ["Write the number {} as a word.", "What is {} in words?", "Word for {}?"],
        [(str(i), name) for i, name in enumerate(NUMBERS)],
    ),
    (
        ["Write {} as a number.", "What is {} in digits?", "Digits for {}?"],
        [(name, str(i)) for i, name in enumerate(NUMBERS)],
    ),
]

# Each entry: ways to say it, the one reply.
SMALL_TALK: list[tuple[list[str], str]] = [
    (["Hello", "Hello there", "Hi", "Hi there", "Hey", "Good day"], "Hello! How can I help you?"),
    (["Good morning", "Good morning to you", "Morning"], "Good morning! How can I help you?"),
    (["Good evening", "Good evening to you"], "Good evening! How can I help you?"),
    (["Good night", "Good night then", "Sleep well"], "Good night! Sleep well."),
    (["Bye", "Goodbye", "See you", "See you later", "Bye for now"], "Goodbye! See you soon."),
    (
        ["Thanks", "Thank you", "Many thanks", "Thank you so much", "Thanks a lot"],
        "You are welcome!",
    ),
    (
        ["How are you", "How are you today", "How do you do", "How is it going"],
        "I am fine, thank you.",
    ),
    (
        ["Who are you", "What are you", "What is your name", "Tell me who you are"],
        "I am the starter, a very small language model.",
    ),
    (
        ["What can you do", "How can you help", "What do you know", "Can you help me", "Help"],
        "I can repeat, spell and change words. Try: Spell the word apple.",
    ),
    (["Are you a human", "Are you a person", "Are you real"], "No, I am a small computer program."),
    (
        ["Tell me a joke", "Do you know a joke", "Make me laugh"],
        "Why is six afraid? Seven ate nine.",
    ),
    (["Sorry", "I am sorry", "My mistake"], "No problem at all."),
    (["Yes", "Yes please", "Sure"], "Very well."),
    (["No", "No thanks", "Not now"], "All right."),
    (["I am happy", "I feel good", "I am so happy today"], "I am glad to hear that."),
    (["I am sad", "I feel bad", "I am so sad today"], "I am sorry to hear that."),
]
