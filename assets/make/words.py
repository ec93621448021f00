"""Words, pseudo-words and sentences that the starter's corpus and the samples are made of.

The split between training and held-out text is decided here, by a checksum of the text itself:
nothing is listed twice, and every later stage asks the same function.
"""

from random import Random
from zlib import crc32

ADJECTIVES = (
    "big small red blue green black white brown warm cold soft hard old young new clean dark "
    "bright happy sad kind brave calm clever quiet loud slow fast strong weak sweet sour fresh "
    "dry wet round flat thick thin smooth sharp heavy light rich poor early late open "
    "empty tall short"
).split()
NOUNS = (
    "dog cat bird fish horse mouse frog sheep goat bear fox wolf duck cow pig ant bee apple orange "
    "bread milk water tea egg cake rice soup salt sugar tree flower grass leaf river lake sea "
    "mountain hill road bridge street house door window room chair table bed lamp clock book pen "
    "paper letter box bag coat hat shoe shirt ring car train ship boat plane wheel king child "
    "friend mother father brother sister teacher doctor farmer baker driver singer morning evening "
    "night summer winter spring rain snow wind sun moon star cloud stone sand glass gold school "
    "garden kitchen market island village umbrella engine uncle aunt"
).split()
VERBS = (
    "runs sits walks jumps sleeps eats drinks sings plays reads writes waits stands falls grows "
    "swims flies turns stops starts works rests shines moves opens helps finds keeps holds sees "
    "likes loves wants makes takes brings carries watches follows shows throws breaks drops answers"
).split()
PREPOSITIONS = "in on at by near under over behind with from into above".split()
DETERMINERS = "the a my your this that our every one her his".split()
ADVERBS = "now today here there again always often soon slowly gladly never outside".split()
OTHERS = "and but we you they i it is are not very some two three".split()

# Real words that appear in no corpus row and in no sample row: what "unseen words" is measured on.
UNSEEN_WORDS = (
    "camel tiger pencil button basket candle blanket hammer ladder mirror pillow "
    "rocket silver smart spoon storm string sweater trumpet velvet violin wagon zebra "
    "butter desert dinner forest guitar honey jacket olive pepper planet puppet ribbon "
    "shadow sunset ticket turtle valley wizard acorn eagle insect oven"
).split()

SEEN_WORDS = tuple(
    dict.fromkeys(ADJECTIVES + NOUNS + VERBS + PREPOSITIONS + DETERMINERS + ADVERBS + OTHERS)
)
NAMES = (
    "Anna Ben Clara David Emma Felix Grace Hugo Ivy Jack Karl Lena Mia Noah Olga Paul Rosa Sam Tom "
    "Vera Will Zoe Oscar Nina"
).split()
UNSEEN_NAMES = "Adam Bella Carl Diana Erik Frida Leon Maria Peter Ruth".split()

ONSETS = (
    "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl fr gl gr pl pr sc sh sk sl sm sn "
    "sp st str sw th tr tw spr thr"
).split()
VOWELS = "a e i o u a e i o ai ea ee oa oo ou".split()
CODAS = ["", "", "b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "x"]
CODAS += "ck ll nd ng nk nt mp rd rk rm rn rt sh sk st th ft".split()


# The kinds of words of the three stages of pretraining: "varied" is "mixed" with invented names
# too and openings before the facts' questions; "casual" also varies capitals and stops of wordings.
TRAINING_WORDS = ("mixed", "varied", "casual")


def is_held_out(key: str, one_in: int = 16) -> bool:
    """True for one text in `one_in`, the same ones in every process and on every machine."""
    return crc32(key.encode()) % one_in == 0


def pseudo_word(rng: Random, *, unseen: bool = False) -> str:
    """A pronounceable invented word; `unseen` picks from those that training never draws."""
    while True:
        syllables = rng.choice((1, 1, 2, 2, 2, 3))
        parts = [] if rng.random() < 0.15 else [rng.choice(ONSETS)]
        parts.append(rng.choice(VOWELS))
        for _ in range(syllables - 1):
            parts += [rng.choice(ONSETS[:19]), rng.choice(VOWELS[:9])]
        word = "".join(parts) + rng.choice(CODAS)
        known = word in SEEN_WORDS or word in UNSEEN_WORDS
        if 2 <= len(word) <= 9 and not known and is_held_out(f"pseudo|{word}") is unseen:
            return word


def draw_word(rng: Random, words: str) -> str:
    """One word. `words` is "seen", "pseudo" (invented, in training) or "unseen" (never trained)."""
    if words == "seen":
        return rng.choice(SEEN_WORDS)
    if words == "pseudo":
        return pseudo_word(rng)
    return rng.choice(UNSEEN_WORDS) if rng.random() < 0.5 else pseudo_word(rng, unseen=True)


def sentence_words(rng: Random, low: int = 3, high: int = 7) -> list[str]:
    """A small sentence of seen words, cut to between `low` and `high` words."""

    def thing() -> list[str]:
        extra = [rng.choice(ADJECTIVES)] if rng.random() < 0.5 else []
        return [rng.choice(DETERMINERS), *extra, rng.choice(NOUNS)]

    words = [*thing(), rng.choice(VERBS)]
    ending = rng.randrange(4)
    if ending == 0:
        words.append(rng.choice(ADVERBS))
    elif ending == 1:
        words += [rng.choice(PREPOSITIONS), *thing()]
    elif ending == 2:
        words += thing()
    else:
        words += ["and", rng.choice(VERBS)]
    return words[: rng.randint(low, high)]


def draw_words(rng: Random, words: str, low: int = 2, high: int = 6) -> list[str]:
    """Several words: a small sentence or a loose list, with words of the wanted kind put in.

    In training none, a fifth or all of a text's words are invented ones.
    "unseen" replaces about half of the words, at least one.
    """
    loose = rng.random() < 0.4
    if loose:
        drawn = [rng.choice(SEEN_WORDS) for _ in range(rng.randint(low, high))]
    else:
        drawn = sentence_words(rng, max(low, 3), high)
    if words in TRAINING_WORDS:
        share = rng.choice((0.0, 0.0, 0.2, 0.2, 1.0))
        return [pseudo_word(rng) if rng.random() < share else word for word in drawn]
    if words == "unseen":
        sure = rng.randrange(len(drawn))
        for i in range(len(drawn)):
            if i == sure or rng.random() < 0.5:
                drawn[i] = draw_word(rng, "unseen")
    return drawn
