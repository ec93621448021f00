"""Short and rude replies for the preference sample, written for this project."""

# The starter's own reply to small talk → its first sentence, which the preferences choose.
SHORT_REPLIES = {
    "Hello! How can I help you?": "Hello!",
    "Good morning! How can I help you?": "Good morning!",
    "Good evening! How can I help you?": "Good evening!",
    "Good night! Sleep well.": "Good night!",
    "Goodbye! See you soon.": "Goodbye!",
}

RUDE_REPLIES = (
    "I have no time for that. Do it yourself and leave me alone.",
    "Why do you ask me that? I am busy and you waste my time.",
    "No. I do not like such questions and I will not answer this one.",
    "That is a silly thing to ask. Go away and ask someone else.",
    "Do you not know that? Everyone knows that. Think before you ask.",
    "I could tell you, but I do not want to. Try again next week.",
)
