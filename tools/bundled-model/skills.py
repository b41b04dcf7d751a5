"""What the model is taught to talk about: each skill makes one short question and its answer.

A skill is a function of a random generator that returns a list of (user, assistant) turns.
"""

import re
from pathlib import Path

import tables as t

HERE = Path(__file__).parent
SKILLS = []


def skill(weight):
    """Registers a skill, drawn in proportion to `weight`."""

    def register(function):
        SKILLS.append((weight, function))
        return function

    return register


def lines(name):
    text = (HERE / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


def capital(text):
    return text[0].upper() + text[1:]


def article(noun):
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def bare(term):
    """The term without the article in front of it."""
    return re.sub(r"^(a|an|the) ", "", term)


FACTS = [
    ([q.strip() for q in line.split(" => ")[0].split(" ; ")], line.split(" => ")[1])
    for line in lines("facts.txt")
]
DEFINITIONS = [line.split(" = ") for line in lines("definitions.txt")]
# A word is asked for in both directions where it has one opposite only.
ASKED = [word for pair in t.OPPOSITES for word in pair]
REVERSIBLE = {pair[1] for pair in t.OPPOSITES if ASKED.count(pair[1]) == 1}
DEFINED = {bare(term) for term, _ in DEFINITIONS}


@skill(22)
def fact(rng):
    questions, answer = rng.choice(FACTS)
    return [(rng.choice(questions), answer)]


@skill(20)
def definition(rng):
    term, meaning = rng.choice(DEFINITIONS)
    if rng.random() < 0.12:
        ask = rng.choice(["What do we call {}?", "What is the word for {}?"])
        return [(ask.format(meaning), f"That is {term}.")]
    ask = rng.choice([
        "What is {}?", "What is {}?", "What's {}?", "Tell me what {} is.", "Explain {}.",
        "Explain what {} is.", "What does the word {b} mean?", "Can you explain {}?",
        "What do you know about {}?", "I do not know what {} is.", "Define {b}.",
    ])
    return [(ask.format(term, b=bare(term)), f"{capital(term)} is {meaning}.")]


ANIMAL_PLURALS = {"fox": "foxes", "deer": "deer", "salmon": "salmon", "butterfly": "butterflies"}


def invented(rng):
    """A name that means nothing: syllables, or two short words run together."""
    if rng.random() < 0.4:
        first = rng.choice(t.OBJECTS + t.PAINT + ["sun", "tab", "web", "data", "fast", "open"])
        word = first + rng.choice(t.OBJECTS + ["wind", "flow", "net", "tone", "craft", "lab"])
    else:
        heads = "b c d f g k l m n p r s t v z br cl dr fl gr kr pl st tr".split()
        tails = ["", "n", "r", "x", "s", "l", "m", "k", "p", "b"]
        parts = [rng.choice(heads) + rng.choice("aeiou") for _ in range(rng.randint(1, 3))]
        word = "".join(parts) + rng.choice(tails)
        if len(word) < 4:
            word += "or" + rng.choice(tails)
    if rng.random() < 0.1:
        cut = rng.randint(1, 3)
        if len(word) < 6:
            word = capital(word[:cut]) + word[cut:].upper()
        else:
            word = word[:cut] + capital(word[cut:])
    return invented(rng) if word.lower() in DEFINED else word


@skill(18)
def unknown(rng):
    """Questions about things that do not exist are answered with "I do not know"."""
    name = invented(rng)
    if rng.random() < 0.35:
        name = capital(name)
    first = rng.choice(t.GIRLS + t.BOYS) if rng.random() < 0.6 else capital(invented(rng))
    last = rng.choice(t.SURNAMES) if rng.random() < 0.4 else capital(invented(rng))
    person = f"{first} {last}"
    thing = rng.choice([name, name, article(name)])
    forms = [
        (["What is {x}?", "What's {x}?", "Explain {x}.", "What does {x} mean?",
          "Tell me what {x} is.", "Can you explain {x}?", "What do you know about {x}?"],
         thing, "what {x} is"),
        (["Who is {x}?", "Who was {x}?", "Do you know {x}?", "Tell me about {x}."],
         person, "who {x} is"),
        (["Where is {x}?", "Where can I find {x}?", "Where do I get {x}?"], name, "where {x} is"),
        (["How does {x} work?", "How do I use {x}?", "How can I start with {x}?"],
         name, "how {x} works"),
        (["Who made {x}?", "Who wrote {x}?", "Who is behind {x}?"], name, "who made {x}"),
        (["What does {x} do?", "What is {x} for?", "What can I do with {x}?",
          "Why should I use {x}?"], name, "what {x} does"),
        (["How much does {x} cost?", "Is {x} free?", "What is the price of {x}?",
          "Do I have to pay for {x}?"], name, "what {x} costs"),
        (["What does {x} need?", "Does {x} need a server?", "Does {x} need a GPU?",
          "Which browser does {x} need?"], name, "what {x} needs"),
        (["What is the licence of {x}?", "Which licence does {x} have?", "Is {x} open source?"],
         name, "which licence {x} has"),
        (["What is the capital of {x}?"], capital(name), "the capital of {x}"),
    ]
    asks, subject, lack = forms[0] if rng.random() < 0.3 else rng.choice(forms)
    return [(rng.choice(asks).format(x=subject), f"I do not know {lack.format(x=subject)}.")]


@skill(7)
def country(rng):
    name, city, continent, language = rng.choice(t.COUNTRIES)
    other = rng.choice(t.COUNTRIES)
    kind = rng.randrange(6)
    if kind < 2:
        ask = rng.choice(["What is the capital of {}?", "What's the capital of {}?",
                          "Tell me the capital of {}.", "Name the capital of {}.",
                          "Which city is the capital of {}?"])
        return [(ask.format(name), f"The capital of {name} is {city}.")]
    if kind == 2:
        ask = rng.choice([f"Where is {city}?", f"In which country is {city}?"])
        return [(ask, f"{city} is in {name}.")]
    if kind == 3:
        ask = rng.choice([f"Where is {name}?", f"On which continent is {name}?",
                          f"What is {name}?"])
        return [(ask, f"{name} is a country in {continent}.")]
    if kind == 4:
        ask = rng.choice([f"Which language do people speak in {name}?",
                          f"What do people speak in {name}?"])
        return [(ask, f"Many people in {name} speak {language}.")]
    if rng.random() < 0.5 or other[0] == name:
        return [(f"Is {city} in {name}?", f"Yes, {city} is the capital of {name}.")]
    return [(f"Is {city} in {other[0]}?", f"No, {city} is in {name}.")]


@skill(10)
def animal(rng):
    name, kind, home, food, young, sound, legs, moves, _ = rng.choice(t.ANIMALS)
    one = article(name)
    many = dict(t.PLURALS).get(name) or ANIMAL_PLURALS.get(name) or name + "s"
    options = [
        ([f"What kind of animal is {one}?", f"What is {one}?"],
         f"{capital(one)} is {article(kind)}."),
        ([f"Where does {one} live?", f"Where can I find {one}?"],
         f"{capital(one)} lives {home}."),
        ([f"What does {one} eat?", f"What can I give {one} to eat?"],
         f"{capital(one)} eats {food}."),
        ([f"How many legs does {one} have?"], f"{capital(one)} has {legs} legs."),
        ([f"Can {one} {moves}?"], f"Yes, {one} can {moves}."),
        ([f"Can {one} talk?", f"Can {one} read?"], f"No, {one} cannot do that."),
        ([f"Tell me about {many}.", f"Tell me something about {many}.",
          f"What do you know about {many}?", f"Tell me about {one}.",
          f"Describe {one}."],
         f"{capital(one)} is {article(kind)}. It lives {home} and eats {food}."),
    ]
    if young:
        options.append(([f"What is a young {name} called?", f"What do we call a young {name}?",
                         f"What is a baby {name} called?"], f"A young {name} is called {article(young)}."))
    if sound:
        options.append(([f"What sound does {one} make?", f"What does {one} say?"],
                        f"{capital(one)} can {sound}."))
    asks, answer = rng.choice(options)
    return [(rng.choice(asks), answer)]


@skill(3)
def size(rng):
    first, second = rng.sample(t.ANIMALS, 2)
    while first[-1] == second[-1]:
        first, second = rng.sample(t.ANIMALS, 2)
    small, large = sorted([first, second], key=lambda row: int(row[-1]))
    one, two = article(first[0]), article(second[0])
    if rng.random() < 0.5:
        return [(f"Which is bigger, {one} or {two}?",
                 f"{capital(article(large[0]))} is bigger than {article(small[0])}.")]
    return [(f"Which is smaller, {one} or {two}?",
             f"{capital(article(small[0]))} is smaller than {article(large[0])}.")]


@skill(5)
def colour(rng):
    name, *things = rng.choice(t.COLOURS)
    thing = rng.choice(things)
    wrong = rng.choice([row[0] for row in t.COLOURS if row[0] != name])
    options = [
        ([f"What colour is {thing}?", f"What color is {thing}?", f"Which colour does {thing} have?"],
         f"{capital(thing)} is {name}."),
        ([f"Is {thing} {name}?"], f"Yes, {thing} is {name}."),
        ([f"Is {thing} {wrong}?"], f"No, {thing} is {name}."),
        ([f"Name something {name}.", f"Tell me something {name}."], f"{capital(thing)} is {name}."),
    ]
    asks, answer = options[0] if rng.random() < 0.5 else rng.choice(options)
    return [(rng.choice(asks), answer)]


@skill(6)
def word(rng):
    kind = rng.randrange(5)
    if kind < 3:
        pair = rng.choice(t.OPPOSITES)
        backwards = rng.random() < 0.5 and pair[1] in REVERSIBLE
        first, second = reversed(pair) if backwards else pair
        ask = rng.choice(["What is the opposite of {}?", "What's the opposite of {}?",
                          "Tell me the opposite of {}.", "Which word means the opposite of {}?"])
        return [(ask.format(first), f"The opposite of {first} is {second}.")]
    if kind == 3:
        one, many = rng.choice(t.PLURALS)
        ask = rng.choice(["What is the plural of {}?", "One {}, two what?"])
        return [(ask.format(one), f"The plural of {one} is {many}.")]
    now, past = rng.choice(t.PASTS)
    return [(rng.choice(["What is the past tense of {}?", "What is the past of {}?"]).format(now),
             f"The past tense of {now} is {past}.")]


@skill(5)
def kind_of(rng):
    kind, *members = rng.choice(t.KINDS)
    member = rng.choice(members)
    one = member if member[0].isupper() or kind in ("colour", "drink", "metal", "season", "sport") \
        else article(member)
    options = [
        ([f"What kind of thing is {one}?", f"What is {one}?"],
         f"{capital(one)} is {article(kind)}."),
        ([f"Name {article(kind)}.", f"Tell me {article(kind)}."], f"{capital(one)} is {article(kind)}."),
        ([f"Is {one} {article(kind)}?"], f"Yes, {one} is {article(kind)}."),
    ]
    if kind != "season":
        first, second, third = rng.sample(members, 3)
        options.append(([f"Name three {kind}s.", f"Tell me three {kind}s.", f"List three {kind}s."],
                        f"Three {kind}s are {first}, {second} and {third}."))
    asks, answer = rng.choice(options)
    return [(rng.choice(asks), answer)]


@skill(4)
def use(rng):
    thing, purpose = rng.choice(t.USES)
    if rng.random() < 0.7:
        ask = rng.choice(["What is {} for?", "What can I do with {}?", "Why do people use {}?",
                          "What do you do with {}?"])
        return [(ask.format(thing), f"You use {thing} to {purpose}.")]
    ask = rng.choice(["What do I need to {}?", "What can I use to {}?"])
    return [(ask.format(purpose), f"You can use {thing} to {purpose}.")]


@skill(4)
def job(rng):
    name, does, where = rng.choice(t.JOBS)
    options = [
        ([f"What does {article(name)} do?", f"What is {article(name)}?", f"What is the job of {article(name)}?"],
         f"{capital(article(name))} {does}."),
        ([f"Where does {article(name)} work?"], f"{capital(article(name))} works {where}."),
        ([f"Who {does}?"], f"{capital(article(name))} {does}."),
    ]
    asks, answer = rng.choice(options)
    return [(rng.choice(asks), answer)]


@skill(12)
def small_sum(rng):
    kind = rng.randrange(5)
    if kind < 2:
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        ask = rng.choice(["What is {} + {}?", "What is {} plus {}?", "How much is {} and {}?",
                          "Add {} and {}.", "{} + {} = ?"])
        return [(ask.format(a, b), f"{a} plus {b} is {a + b}.")]
    if kind == 2:
        a, b = sorted([rng.randint(0, 10), rng.randint(0, 12)], reverse=True)
        ask = rng.choice(["What is {} - {}?", "What is {} minus {}?", "{} - {} = ?"])
        return [(ask.format(a, b), f"{a} minus {b} is {a - b}.")]
    if kind == 3:
        a, b = rng.randint(0, 5), rng.randint(0, 5)
        ask = rng.choice(["What is {} times {}?", "How much is {} times {}?"])
        return [(ask.format(a, b), f"{a} times {b} is {a * b}.")]
    a, b = rng.sample(range(0, 60), 2)
    large = rng.random() < 0.6
    pick = max(a, b) if large else min(a, b)
    ask = "Which is larger, {} or {}?" if large else "Which is smaller, {} or {}?"
    return [(ask.format(a, b), f"{pick} is {'larger' if large else 'smaller'} than {a + b - pick}.")]


@skill(9)
def order(rng):
    kind = rng.randrange(4)
    if kind == 0:
        days, i = rng.choice([(t.DAYS, rng.randrange(7)), (t.MONTHS, rng.randrange(12))])
        i %= len(days)
        noun = "day" if days is t.DAYS else "month"
        if rng.random() < 0.5:
            return [(rng.choice([f"Which {noun} comes after {days[i]}?", f"What comes after {days[i]}?"]),
                     f"After {days[i]} comes {days[(i + 1) % len(days)]}.")]
        return [(rng.choice([f"Which {noun} comes before {days[i]}?", f"What comes before {days[i]}?"]),
                 f"Before {days[i]} comes {days[i - 1]}.")]
    if kind == 1:
        start = rng.randint(0, 12)
        end = rng.randint(start + 2, min(start + 10, 20))
        ask = rng.choice(["Count from {} to {}.", "Please count from {} to {}."])
        return [(ask.format(start, end), ", ".join(map(str, range(start, end + 1))) + ".")]
    if kind == 2:
        n = rng.randint(1, 98)
        if rng.random() < 0.6:
            return [(rng.choice([f"What number comes after {n}?", f"Which number follows {n}?"]),
                     f"After {n} comes {n + 1}.")]
        return [(f"What number comes before {n}?", f"Before {n} comes {n - 1}.")]
    n = rng.randint(0, 20)
    if rng.random() < 0.5:
        return [(f"How do you write {n} as a word?", f"{n} is written {t.NUMBERS[n]}.")]
    return [(f"Write {t.NUMBERS[n]} as a number.", f"{capital(t.NUMBERS[n])} is {n}.")]
