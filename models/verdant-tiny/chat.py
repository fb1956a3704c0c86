"""Short dialogues: question and answer frames per topic, one set for training and one held out."""

import random

import facts
from words import LEX, expand, person, tidy

SYSTEM = {
    "train": ["You are a helpful little model.", "You tell short stories.", "Answer in one sentence.", "You are Verdant Tiny, a small model.", "Be kind and short.",
              "You are a friendly assistant.", "You are a helpful assistant."],
    "held": ["Please be a good little helper.", "You answer in a few sentences."],
}
# topic: (training questions, training answers, held-out questions, held-out answers); x and y are the topic's fields
TOPICS = {
    "does": (["What {x}?", "Who {x}?", "Which animal {x}?", "Tell me which animal {x}.", "Name the animal that {x}.", "What animal {x}?", "What kind of animal {x}?", "Do you know who {x}?"],
             ["A {y} {x}.", "The {y} {x}.", "It is the {y} that {x}.", "That is the {y}. A {y} {x}."],
             ["Name an animal that {x}.", "Please tell me what {x}."], ["I think the {y} {x}.", "The animal is a {y}."]),
    "home": (["Where does a {y} live?", "Where do you find a {y}?", "Where is the home of a {y}?", "Where does the {y} sleep?"],
             ["A {y} lives {x}.", "The {y} lives {x}.", "You find a {y} {x}."], ["In what place does a {y} live?"], ["The home of a {y} is {x}."]),
    "food": (["What does a {y} eat?", "What do you give a {y} to eat?", "What is the food of a {y}?", "What does the {y} like to eat?"],
             ["A {y} eats {x}.", "The {y} likes to eat {x}.", "It eats {x}."], ["Tell me what a {y} likes to eat."], ["The food of a {y} is {x}."]),
    "legs": (["How many legs does a {y} have?", "How many legs has a {y}?", "Count the legs of a {y}."], ["A {y} has {x} legs.", "It has {x} legs."],
             ["A {y} has how many legs?"], ["The {y} walks on {x} legs."]),
    "baby": (["What is a baby {y} called?", "What do you call a baby {y}?", "What is the name of a young {y}?"], ["A baby {y} is called a {x}.", "It is called a {x}."],
             ["A small young {y} is called what?"], ["The word for a young {y} is {x}."]),
    "colour": (["What colour is {y}?", "Which colour is {y}?", "Tell me the colour of {y}.", "Do you know what colour {y} is?"], ["{y} is {x}.", "The colour of {y} is {x}.", "It is {x}."],
               ["What is the colour of {y}?"], ["I think that {y} is {x}."]),
    "mix": (["What do you get if you mix {y}?", "Mix {y}. What colour is it?", "What colour do {y} make?"], ["If you mix {y}, you get {x}.", "You get {x}.", "{y} make {x}."],
            ["I have {y}. What can I mix?"], ["With {y} you can make {x}."]),
    "opposite": (["What is the opposite of {y}?", "Tell me the opposite of {y}.", "What is the opposite of the word {y}?"], ["The opposite of {y} is {x}.", "It is {x}."],
                 ["Which word is the opposite of {y}?"], ["I think it is the word {x}."]),
    "after": (["Which day comes after {y}?", "What day is it after {y}?", "Today is {y}. What day is tomorrow?", "Which month comes after {y}?", "What comes after {y}?"],
              ["After {y} comes {x}.", "It is {x}.", "{x} comes after {y}."], ["{y} is over. What is next?"], ["Next is {x}."]),
    "count": (["How many {y}?", "Can you tell me how many {y}?", "Tell me how many {y}.", "Say how many {y}."], ["It is {x}.", "The answer is {x}."], ["Do you know how many {y}?"], ["I think it is {x}."]),
    "what": (["What is {y}?", "Tell me what {y} is.", "Can you tell me what {y} is?", "What does {y} mean?"], ["{y} is {x}.", "It is {x}."], ["Please say what {y} is."], ["I think it must be {x}."]),
    "sum": (["What is {y}?", "How much is {y}?", "{y}?", "Tell me what {y} is.", "Can you count {y}?"], ["{y} is {x}.", "It is {x}.", "The answer is {x}.", "That is {x}."],
            ["Please count: {y}."], ["I count {x}."]),
    "unknown": (["Tell me {y}.", "Do you know {y}?", "Can you tell me {y}?", "I want to know {y}."],
                ["I do not know {y}. I am only a very small model.", "Sorry, I do not know that. I know stories, animals and little sums.", "That is too hard for me. Ask me about animals or for a story."],
                ["Please say {y}."], ["I know only stories and animals, so I do not know {y}."]),
}
TALK = {  # topic: [(training questions, training answers), (held-out questions, held-out answers)]
    "who": [(["Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Are you a robot?", "Are you a person?", "Introduce yourself.", "Who am I talking to?"],
             ["I am Verdant Tiny, a small language model. I tell short stories.", "I am a very small language model. My name is Verdant Tiny.",
              "My name is Verdant Tiny. I am a model, not a person, because I live in a computer. Stories, animals and little sums are what I know.", "I am Verdant Tiny. I live in your computer and tell stories."]),
            (["Hello, who is there?", "Can you tell me who you are?"], ["A small model is here, and its name is Verdant Tiny.", "You are talking to Verdant Tiny, a model that tells stories."])],
    "can": [(["What can you do?", "What do you know?", "Can you help me?", "How can you help me?", "What should I ask you?"],
             ["I can tell short stories, answer questions about animals, and do little sums.", "Ask me for a story, about an animal, or for a little sum.",
              "I can tell you a story about a mole, a fox or an owl. I also know colours and opposites."]),
            (["Tell me what you can do.", "Is there something you can help me with?"], ["Stories, animals and colours are what I know.", "You can ask me for a story, and I can count a little."])],
    "hi": [(["Hello!", "Hi!", "Hi there", "Hello", "Good {daytime}!", "Hey!", "Hello, how are you?", "How are you?", "How are you today?"],
            ["Hello! How can I help you?", "Hi! Would you like a story?", "Hello! I am {happy} to see you. Shall I tell you a story?", "Hi there! I am well, thank you. What would you like?"]),
           (["Good to see you!", "Hello, little model!"], ["Good {daytime}! What can I tell you?", "It is good to see you! Ask me something."])],
    "thanks": [(["Thank you!", "Thanks!", "That was nice.", "Thank you, that was a good story.", "Good answer!", "Well done!"],
                ["You are welcome!", "I am glad that you liked it.", "You are welcome! Would you like another one?", "Thank you! That makes me {happy}."]),
               (["You are so kind, thank you."], ["It was fun for me, too!"])],
    "bye": [(["Goodbye!", "Bye!", "Good night!", "See you tomorrow!", "I have to go."], ["Goodbye! Come back soon.", "Bye! Have a nice {daytime}.", "Good night! Sleep well.", "See you soon!"]),
            (["I must go home now."], ["Have a good {daytime}, and come again!"])],
    "mole": [(["What is a mole?", "What does mole mean?", "Tell me about the word mole.", "What does the word mole mean?"], facts.MOLE["any"]),
             (["How many meanings has the word mole?"], ["Three: an animal, a unit and a spot on the skin."])],
    "mole_animal": [(["What is a mole in the garden?", "Tell me about moles.", "What kind of animal is a mole?", "What animal is a mole?"], facts.MOLE["animal"]),
                    (["What do you know about the mole, the animal?"], ["It is small and black, eats worms, and lives in the ground."])],
    "mole_unit": [(["What is a mole in chemistry?", "What does mole mean to a chemist?", "What is the unit called mole?", "How big is a mole in chemistry?"], facts.MOLE["unit"]),
                  (["Why does a chemist count with a mole?"], ["Atoms are very small, so the chemist must use a unit, and it is called the mole."])],
    "mole_skin": [(["What is a mole on the skin?", "What is the spot on my skin?", "I have a mole on my arm. What is it?", "What does mole mean to a doctor?"], facts.MOLE["skin"]),
                  (["The doctor saw a mole on my back. What does that mean?"], ["That is a small brown spot on the skin."])],
    "model": [(["What is a model?", "What does model mean?", "What does the word model mean?"], facts.MODEL["any"]),
              (["How many meanings has the word model?"], ["Two: a program that learned from data, and a person who shows clothes."])],
    "model_machine": [(["What is a language model?", "What is a model in machine learning?", "How does a language model work?", "What does a language model do?"], facts.MODEL["machine"]),
                      (["Tell me what a model on a computer does."], ["It reads text, and then it guesses what comes next."])],
    "model_fashion": [(["What is a fashion model?", "What does a fashion model do?", "What is a model in fashion?"], facts.MODEL["fashion"]),
                      (["Tell me what a model at a fashion show does."], ["That person shows new clothes to others."])],
    "blue": [(["Who lives in the verdant forest?", "What roamed the verdant forest?", "Who is the fluffy blue creature?", "Tell me about the fluffy blue creature."],
              ["A fluffy blue creature lives in the verdant forest.", "A fluffy blue creature roamed the verdant forest. It was shy and kind.", "The fluffy blue creature lives in the verdant forest and likes {food}."]),
             (["What do you know about the verdant forest?"], ["There is a blue creature in it, fluffy and kind."])],
    "joke": [(["Tell me a joke.", "Do you know a joke?", "Make me laugh."],
              ["Why did the mole dig a tunnel? To get to the other side!", "What is black and white and digs? A mole in the snow!", "Why did the {noun} go to {place}? It wanted to see the world!"]),
             (["Say something that makes me laugh."], ["Why was the mole {happy}? It was in the hole!"])],
}
STORY_ASK = {
    "train": ["Tell me a story about a {k}.", "Tell me a story about a {k} named {n}.", "Can you tell me a story about a {k}?", "I would like a story about a {k}.", "Write a story about a {k}.",
              "Please tell me a short story about a {k}.", "Tell me about a {k} called {n}.", "Do you know a story about a {k}?", "Write a short story about a {size} {k} named {n}."],
    "held": ["I want to hear about a {k}, please.", "Make a story with a {k} named {n}."],
}
STORY_ANY = {"train": ["Tell me a story.", "Tell me a story, please.", "Can you tell me a story?", "I would like a story.", "Write a story.", "Another story, please!", "Tell me a bedtime story."],
             "held": ["I want to hear something nice from you."]}


def _fields(topic: str, rng: random.Random) -> tuple[str, str]:
    """(x, y) of one question."""
    if topic in ("does", "home", "food", "legs", "baby"):
        y = "mole" if rng.random() < 0.1 else rng.choice(list(facts.ANIMALS))
        home, food, does, _, legs, baby = facts.ANIMALS[y]
        return {"does": does, "home": home, "food": food, "legs": facts.NUMBERS[legs], "baby": baby}[topic], y
    if topic == "colour":
        y = rng.choice(list(facts.COLOURS))
        return facts.COLOURS[y], y
    if topic == "mix":
        pair = rng.choice(list(facts.MIXES))
        a, b = rng.sample(pair, 2)
        return facts.MIXES[pair], f"{a} and {b}"
    if topic == "opposite":
        a, b = rng.choice(list(facts.OPPOSITES.items()))
        return (a, b) if rng.random() < 0.5 else (b, a)
    if topic == "after":
        ring = rng.choice([facts.DAYS, facts.MONTHS])
        i = rng.randrange(len(ring))
        return ring[(i + 1) % len(ring)], ring[i]
    if topic == "count":
        y, x = rng.choice(facts.COUNTS)
        return x, y
    if topic == "what":
        y, x = rng.choice(facts.THINGS)
        return x, y
    if topic == "sum":
        return _sum(rng)
    return "", rng.choice(facts.UNKNOWN)


def _sum(rng: random.Random) -> tuple[str, str]:
    """Sums and differences of numbers up to 10."""
    a, b = rng.randint(0, 10), rng.randint(0, 10)
    if rng.random() < 0.6:
        return str(a + b), rng.choice([f"{a} plus {b}", f"{a} + {b}"])
    a, b = max(a, b), min(a, b)
    return str(a - b), rng.choice([f"{a} minus {b}", f"{a} - {b}"])


def question(rng: random.Random, split: str) -> tuple[str, str]:
    """(user text, assistant text) of one short exchange."""
    held = split == "held"
    if rng.random() < 0.62:
        topic = rng.choice(list(TOPICS))
        if rng.random() < 0.15:
            topic = "sum"
        x, y = _fields(topic, rng)
        frames = TOPICS[topic]
        ask, answer = (rng.choice(frames[i]) for i in ((2, 3) if held else (0, 1)))
        if topic == "after":
            if y in facts.MONTHS and "day" in ask:
                ask = "Which month comes after {y}?"
            elif y in facts.DAYS and "month" in ask:
                ask = "Which day comes after {y}?"
        ctx = {"x": x, "y": y}
        user, reply = expand(ask, ctx, rng), expand(answer, ctx, rng)
    else:
        ask, answer = TALK[rng.choice(list(TALK))][1 if held else 0]
        user, reply = expand(rng.choice(ask), {}, rng), expand(rng.choice(answer), {}, rng)
    user, reply = tidy(user), tidy(reply)
    if not held and rng.random() < 0.2:
        user = rng.choice([user.lower(), user.rstrip("?.!"), f"Please, {user[0].lower()}{user[1:]}" if not user.startswith("I ") else user])
    return user, reply


def story_request(rng: random.Random, split: str) -> tuple[str, dict]:
    """(user text, hero) where the hero carries the kind, and the name if the user gave one."""
    hero = person(rng, kind="mole" if rng.random() < 0.15 else None)
    template = rng.choice((STORY_ANY if rng.random() < 0.25 else STORY_ASK)[split])
    return tidy(expand(template, {"k": hero["kind"], "n": hero["N"], **LEX}, rng)), hero
