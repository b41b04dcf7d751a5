"""Draws whole chats from the skills, in the many ways in which people type."""

import random

import reading  # noqa: F401  (registers its skills)
import tables as t
from skills import SKILLS

NAMES = set(t.GIRLS + t.BOYS)
WEIGHTS = [weight for weight, _ in SKILLS]
SYSTEM = [
    "You are a helpful assistant.",
    "You are Tiny, a small and friendly assistant.",
    "Answer in short and simple sentences.",
    "You are a kind assistant that answers questions.",
]
OPENINGS = ["Hi, ", "Hello, ", "Please tell me: ", "One question: ", "So, ", "OK, ", "Tell me, ",
            "Excuse me, ", "And ", "Quick question: "]


def typed(question, rng):
    """The question as a person might type it: other openings, small letters, no question mark."""
    copying = ":" in question
    if rng.random() < 0.10 and not copying:
        opening = rng.choice(OPENINGS)
        first = question.split()[0]
        keep = first in ("I", "I'm") or first.rstrip(".!,") in NAMES
        question = opening + (question if keep else question[0].lower() + question[1:])
    if rng.random() < 0.06 and not copying:
        question = question.rstrip("?.") + rng.choice([" please?", ", please."])
    draw = rng.random()
    if draw < 0.08 and not copying:
        question = question.lower()
    elif draw < 0.11:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.12:
        question = question.rstrip("?.!")
    return question


def chat(rng: random.Random):
    """One chat as a list of {"role", "content"} messages: one to three topics."""
    topics = rng.choices([1, 2, 3], [0.68, 0.22, 0.10])[0]
    messages = []
    if rng.random() < 0.06:
        messages.append({"role": "system", "content": rng.choice(SYSTEM)})
    for _, function in rng.choices(SKILLS, WEIGHTS, k=topics):
        for user, assistant in function(rng):
            messages.append({"role": "user", "content": typed(user, rng)})
            messages.append({"role": "assistant", "content": assistant})
    return messages


if __name__ == "__main__":
    generator = random.Random(0)
    for _ in range(40):
        for message in chat(generator):
            print(f"{message['role']:>9}: {message['content']}")
        print()
