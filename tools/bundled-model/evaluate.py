"""Scores a trained model folder: exact answers per skill on freshly drawn chats, and samples.

    python evaluate.py ../../www/models/tiny
"""

import argparse
import random
from collections import Counter

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chat import typed
from skills import SKILLS
import reading  # noqa: F401  (registers its skills)

# Several answers are right for these, so an exact match says nothing.
OPEN = {"story", "sentence", "kind_of"}
QUESTIONS = [
    "Hello!", "Who are you?", "What is a river?", "What is the capital of Italy?",
    "What is 3 plus 4?", "What is the opposite of cold?", "Tell me about owls.",
    "Lucy has a green bell. What colour is the bell?", "What is tabtune?",
    "Where does my data go?", "Count from 2 to 7.", "How do I make tea?",
    "Tell me a story about a fox.",
]


def answer(model, tokenizer, messages, limit=80):
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        out = model.generate(**ids, max_new_tokens=limit, do_sample=False)
    return tokenizer.decode(out[0, ids["input_ids"].shape[1]:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=20, help="chats a skill")
    args = parser.parse_args()
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    for question in QUESTIONS:
        print(f"{question}\n    {answer(model, tokenizer, [{'role': 'user', 'content': question}])}")
    rng = random.Random("evaluate")
    right = Counter()
    for _, function in SKILLS:
        if function.__name__ in OPEN:
            continue
        for _ in range(args.rounds):
            turns = function(rng)
            messages = []
            for user, assistant in turns[:-1]:
                messages += [{"role": "user", "content": user},
                             {"role": "assistant", "content": assistant}]
            messages.append({"role": "user", "content": typed(turns[-1][0], rng)})
            said = answer(model, tokenizer, messages)
            right[function.__name__] += said == turns[-1][1] + tokenizer.eos_token
        print(f"{function.__name__:>12}: {right[function.__name__]}/{args.rounds}", flush=True)


if __name__ == "__main__":
    main()
