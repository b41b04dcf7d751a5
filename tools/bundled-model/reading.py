"""Skills that need the text at hand: questions about a short text, copying, memory, stories."""

import tables as t
from skills import article, capital, invented, skill


def someone(rng):
    """A name and its pronouns."""
    if rng.random() < 0.5:
        return rng.choice(t.GIRLS), "she", "her", "her"
    return rng.choice(t.BOYS), "he", "his", "him"


@skill(9)
def reading(rng):
    name, he, his, him = someone(rng)
    other = rng.choice([n for n in t.GIRLS + t.BOYS if n != name])
    thing, second_thing = rng.sample(t.OBJECTS, 2)
    look, second_look = rng.sample(t.PAINT, 2)
    place = rng.choice(t.PLACES)
    food, second_food = rng.sample(t.FOODS, 2)
    kind = rng.randrange(7)
    if kind == 0:
        return [(f"{name} has a {look} {thing}. What colour is the {thing}?",
                 f"The {thing} is {look}.")]
    if kind == 1:
        text = f"{name} has a {look} {thing}. {other} has a {second_look} {second_thing}."
        who, what, tint = rng.choice([(name, thing, look), (other, second_thing, second_look)])
        asks = [
            (f"What does {who} have?", f"{who} has {article(tint)} {what}."),
            (f"Who has the {what}?", f"{who} has the {what}."),
            (f"What colour is the {what}?", f"The {what} is {tint}."),
        ]
        ask, answer = rng.choice(asks)
        return [(f"{text} {ask}", answer)]
    if kind == 2:
        text = f"{name} went to the {place} with {other}."
        ask, answer = rng.choice([
            (f"Where did {name} go?", f"{name} went to the {place}."),
            (f"Who went with {name}?", f"{other} went with {name}."),
            (f"Who went to the {place}?", f"{name} and {other} went to the {place}."),
        ])
        return [(f"{text} {ask}", answer)]
    if kind == 3:
        text = f"{name} ate {article(food)} and {other} ate {article(second_food)}."
        who, what = rng.choice([(name, food), (other, second_food)])
        ask, answer = rng.choice([
            (f"What did {who} eat?", f"{who} ate {article(what)}."),
            (f"Who ate the {what}?", f"{who} ate the {what}."),
        ])
        return [(f"{text} {ask}", answer)]
    if kind == 4:
        spot = rng.choice(["under the table", "behind the door", "on the chair", "in the box",
                           "next to the lamp", "near the window"])
        return [(f"The {thing} is {spot}. Where is the {thing}?", f"The {thing} is {spot}.")]
    if kind == 5:
        feeling = rng.choice(t.FEELINGS)
        return [(f"{name} is {feeling}. How does {name} feel?", f"{name} feels {feeling}.")]
    start, more = rng.randint(1, 9), rng.randint(1, 9)
    if rng.random() < 0.5:
        text = f"{name} has {start} {food}s. {capital(he)} gets {more} more."
        total = start + more
    else:
        start += more
        text = f"{name} has {start} {food}s. {capital(he)} gives {more} to {other}."
        total = start - more
    return [(f"{text} How many {food}s does {name} have now?", f"{name} has {total} {food}s now.")]


@skill(5)
def remember(rng):
    """Two or three turns, where the last one asks for what the first one said."""
    kind = rng.randrange(4)
    if kind == 0:
        name = rng.choice(t.GIRLS + t.BOYS + [capital(invented(rng))])
        say = rng.choice(["My name is {}.", "I am {}.", "Hi, I am {}.", "Hello, my name is {}."])
        turns = [(say.format(name), f"Nice to meet you, {name}!")]
        last = (rng.choice(["What is my name?", "What's my name?", "Who am I?"]),
                f"Your name is {name}.")
    elif kind == 1:
        animal = rng.choice(["cat", "dog", "rabbit", "horse", "hen", "goat"])
        name = rng.choice(t.PET_NAMES)
        turns = [(f"I have a {animal} called {name}.",
                  f"{name} is a good name for a {animal}.")]
        last = (rng.choice([f"What is my {animal} called?", f"What is the name of my {animal}?"]),
                f"Your {animal} is called {name}.")
    elif kind == 2:
        place = rng.choice([row[1] for row in t.COUNTRIES])
        turns = [(rng.choice([f"I live in {place}.", f"I am from {place}."]),
                  f"{place} is a good place to live.")]
        last = ("Where do I live?", f"You live in {place}.")
    else:
        colour = rng.choice(t.PAINT)
        turns = [(f"My favourite colour is {colour}.", f"{capital(colour)} is a nice colour.")]
        last = (rng.choice(["What is my favourite colour?", "Which colour do I like?"]),
                f"Your favourite colour is {colour}.")
    return turns + [last] if rng.random() < 0.7 else turns


@skill(6)
def repeat(rng):
    if rng.random() < 0.5:
        text = " ".join(rng.sample(t.OBJECTS + t.FOODS + t.PLACES + t.PAINT, rng.randint(1, 5)))
    else:
        text = rng.choice([
            f"I like {rng.choice(t.FOODS)} and {rng.choice(t.FOODS)}",
            f"the {rng.choice(t.ADJECTIVES)} {rng.choice(t.OBJECTS)} is in the {rng.choice(t.PLACES)}",
            f"{invented(rng)} {invented(rng)}",
            f"{rng.choice(t.GIRLS)} and {rng.choice(t.BOYS)} are {rng.choice(t.FEELINGS)}",
        ])
    ask = rng.choice(["Repeat: {}", "Say: {}", "Repeat after me: {}", "Please say: {}"])
    return [(ask.format(text), text)]


@skill(3)
def sentence(rng):
    thing, place, look = rng.choice(t.OBJECTS), rng.choice(t.PLACES), rng.choice(t.ADJECTIVES)
    name, he, _, _ = someone(rng)
    answer = rng.choice([
        f"The {thing} is {look}.",
        f"{name} has {article(look)} {thing}.",
        f"{name} found a {thing} in the {place}.",
        f"There is a {thing} near the {place}.",
    ])
    ask = rng.choice(["Write a sentence with the word {}.", "Make a sentence with {}.",
                      "Use the word {} in a sentence.", "Write a sentence about a {}."])
    return [(ask.format(thing), answer)]


@skill(8)
def story(rng):
    name, he, his, him = someone(rng)
    friend = rng.choice([n for n in t.GIRLS + t.BOYS if n != name])
    animal = rng.choice(["cat", "dog", "fox", "mouse", "rabbit", "bird", "owl", "horse", "bear"])
    thing, look, place = rng.choice(t.OBJECTS), rng.choice(t.ADJECTIVES), rng.choice(t.PLACES)
    second = rng.choice([p for p in t.PLACES if p != place])
    hero_animal = rng.random() < 0.4
    about = f"a {animal}" if hero_animal else name
    if hero_animal:
        name = f"the {animal}"
        start = f"Once there was {article(rng.choice(t.ADJECTIVES))} {animal} that lived near the {place}."
        he, his, him = "it", "its", "it"
    else:
        start = rng.choice([
            f"Once there was a child called {name} who lived near the {place}.",
            f"{name} lived in a small house near the {place}.",
        ])
    hero = capital(name)
    middle = rng.choice([
        f"One day {name} found {article(look)} {thing}. {hero} took it to the {second} and showed it to {friend}.",
        f"One morning {name} went to the {second} and met {friend}. They played with {article(look)} {thing} all day.",
        f"One day {name} lost {his} {look} {thing}. {friend} came and helped {him} look for it in the {second}.",
        f"One night there was a storm. {hero} was afraid and ran to the {second}, where {friend} gave {him} a warm blanket.",
        f"One day {name} was hungry. {friend} gave {him} {article(rng.choice(t.FOODS))} from the {second}.",
    ])
    end = rng.choice([
        "From that day on they were good friends.",
        f"In the evening {name} went home and was very happy.",
        f"{hero} said thank you, and they laughed together.",
        f"That night {name} slept well.",
        "They promised to meet again the next day.",
    ])
    ask = rng.choice([
        "Tell me a story.", "Tell me a short story.", "Write a story.", "I want to hear a story.",
        f"Tell me a story about {about}.", f"Write a short story about {about}.",
    ])
    return [(ask, f"{start} {middle} {end}")]
