"""Simple facts that the chat half of the corpus asks about."""

# animal: (home, food, what it does, colour, legs, baby)
ANIMALS = {
    "mole": ("in tunnels under the ground", "worms", "digs tunnels", "black", 4, "pup"),
    "rabbit": ("in a burrow", "grass and carrots", "hops", "brown", 4, "kit"),
    "fox": ("in a den", "mice and berries", "hunts at night", "red", 4, "cub"),
    "owl": ("in a hollow tree", "mice", "hoots at night", "brown", 2, "owlet"),
    "mouse": ("in a small hole", "seeds and cheese", "squeaks", "grey", 4, "pup"),
    "bear": ("in a cave", "honey and fish", "sleeps all winter", "brown", 4, "cub"),
    "frog": ("near a pond", "flies", "croaks", "green", 4, "tadpole"),
    "duck": ("near a pond", "plants and snails", "quacks", "brown", 2, "duckling"),
    "squirrel": ("in a tree", "nuts", "hides acorns", "red", 4, "kit"),
    "hedgehog": ("under dry leaves", "snails", "rolls into a ball", "brown", 4, "hoglet"),
    "badger": ("in a sett", "roots and worms", "digs a sett", "grey", 4, "cub"),
    "turtle": ("near the water", "plants", "carries a shell", "green", 4, "hatchling"),
    "cat": ("in a house", "fish and mice", "purrs", "black", 4, "kitten"),
    "dog": ("in a house", "meat and bones", "barks", "brown", 4, "puppy"),
    "goat": ("on a farm", "hay and grass", "climbs rocks", "white", 4, "kid"),
    "otter": ("by the river", "fish", "floats on its back", "brown", 4, "pup"),
    "beaver": ("in a lodge", "bark", "builds dams", "brown", 4, "kit"),
    "robin": ("in a nest", "worms and seeds", "sings in the garden", "red", 2, "chick"),
    "bee": ("in a hive", "nectar", "makes honey", "yellow", 6, "larva"),
    "spider": ("in a web", "flies", "spins webs", "black", 8, "spiderling"),
    "cow": ("on a farm", "grass", "gives milk", "white", 4, "calf"),
    "hen": ("on a farm", "corn", "lays eggs", "brown", 2, "chick"),
    "sheep": ("on a farm", "grass", "gives wool", "white", 4, "lamb"),
    "horse": ("in a stable", "hay", "gallops", "brown", 4, "foal"),
    "pig": ("in a sty", "corn", "rolls in the mud", "pink", 4, "piglet"),
    "lion": ("in the savanna", "meat", "roars", "yellow", 4, "cub"),
    "bat": ("in a cave", "insects", "sleeps upside down", "black", 2, "pup"),
    "penguin": ("in the cold south", "fish", "slides on ice", "black", 2, "chick"),
    "snail": ("in a shell", "leaves", "moves very slowly", "brown", 0, "hatchling"),
    "ant": ("in a nest under the ground", "leaves and seeds", "carries heavy things", "black", 6, "larva"),
}
NUMBERS = {0: "no", 2: "two", 4: "four", 6: "six", 8: "eight"}
COLOURS = {
    "grass": "green", "the sky": "blue", "snow": "white", "the sun": "yellow", "a strawberry": "red", "a carrot": "orange",
    "coal": "black", "a lemon": "yellow", "a tomato": "red", "an elephant": "grey", "chocolate": "brown", "milk": "white",
    "a leaf": "green", "a cherry": "red", "the sea": "blue", "a plum": "purple", "the night": "black", "a pig": "pink",
    "a banana": "yellow", "a pumpkin": "orange", "a frog": "green", "the creature of the verdant forest": "blue",
}
MIXES = {("red", "yellow"): "orange", ("blue", "yellow"): "green", ("red", "blue"): "purple", ("black", "white"): "grey", ("red", "white"): "pink"}
OPPOSITES = {
    "big": "small", "hot": "cold", "day": "night", "happy": "sad", "fast": "slow", "up": "down", "wet": "dry", "old": "new", "open": "closed",
    "loud": "quiet", "hard": "soft", "full": "empty", "near": "far", "light": "dark", "tall": "short", "brave": "afraid", "clean": "dirty", "left": "right",
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
COUNTS = [("days are in a week", "seven"), ("months are in a year", "twelve"), ("legs does a spider have", "eight"), ("wheels does a car have", "four"),
          ("fingers are on one hand", "five"), ("hours are in a day", "twenty-four"), ("minutes are in an hour", "sixty"), ("seasons are in a year", "four"),
          ("eyes do you have", "none, because I am a model")]
THINGS = [
    ("a tunnel", "a long hole under the ground. Moles dig tunnels"), ("a forest", "a place with many trees and animals"),
    ("a river", "water that flows from the hills to the sea"), ("rain", "water that falls from the clouds"),
    ("a rainbow", "an arc of colours that you see when the sun shines through rain"), ("the moon", "a round rock in the sky that goes around the earth"),
    ("a tree", "a tall plant with a trunk, branches and leaves"), ("bread", "a food that is baked from flour and water"),
    ("a map", "a picture that shows where places are"), ("a friend", "somebody who likes you and helps you"),
    ("a story", "words that tell what happened to somebody"), ("a computer", "a machine that follows instructions very fast"),
    ("a word", "a small piece of language that means something"), ("a burrow", "a home under the ground"),
    ("a bridge", "a way over the water"), ("winter", "the coldest season of the year"), ("summer", "the warmest season of the year"),
    ("a tokenizer", "a tool that cuts text into small pieces called tokens"), ("a token", "a small piece of text, often a word"),
    ("a transformer", "a kind of model that reads text with attention"), ("honey", "a sweet food that bees make"), ("a clue", "something that helps you find the answer"),
    ("verdant", "a word for green, full of plants"),
]
MOLE = {
    "any": ["The word mole has three meanings: a small animal that digs tunnels, a unit in chemistry, and a dark spot on the skin.",
            "A mole can be an animal that lives under the ground, a unit that chemists count with, or a small dark spot on your skin."],
    "animal": ["A mole is a small animal with soft black fur. It digs tunnels under the ground and eats worms.",
               "The mole is an animal that lives under the ground. It has strong front paws and cannot see well."],
    "unit": ["In chemistry, a mole is a unit. One mole is about 602 sextillion particles.",
             "A chemist uses the mole to count very small particles, such as atoms. One mole of water weighs about 18 grams."],
    "skin": ["A mole on the skin is a small dark spot. Most moles are harmless.", "On skin, a mole is a brown or black spot. If it changes, a doctor should look at it."],
}
MODEL = {
    "any": ["The word model has two meanings here: a computer program that learned from data, and a person who shows clothes.",
            "A model can be a program that has learned from examples, or somebody who wears new clothes at a fashion show."],
    "machine": ["In machine learning, a model is a program with many numbers that were learned from data. I am a small language model.",
                "A language model is a program that reads text and guesses the next word. It learns from many examples."],
    "fashion": ["A fashion model is a person who wears new clothes to show them to others.", "In fashion, a model walks in a show and is in photos with new clothes."],
}
SENSES = {  # narrative sentences, one sense each
    "animal": ["The mole dug a tunnel below the {noun} and came up near {place}.", "A black mole pushed its nose out of the soil and smelled {smell}.",
               "The gardener found {count} heaps of earth, so a mole was at work under {flower}.", "With its strong paws, the mole went down into the dark to look for worms."],
    "unit": ["The chemist weighed one mole of [salt|sugar|water|iron|carbon] in the {colour} [lab|room].", "\"How many moles of [salt|sugar|iron] are in the {noun}?\" asked the chemistry teacher.",
             "{count} moles of water weigh more than one mole of water.", "In the lab, they mixed one mole of acid with {count} moles of water and wrote it in a {colour} book."],
    "skin": ["The doctor looked at the mole on {his} [arm|cheek|back|hand] and said it was harmless.", "{N} had a small brown mole on {his} [chin|nose|neck|shoulder], just like {his} {old_helper}.",
             "The mole on {his} skin had not changed since {season}, so the doctor was {happy}."],
    "machine": ["The model learned from {count} thousand stories and then wrote one about {place}.", "They trained a small language model, and it guessed the word \"{noun}\".",
                "The model on the computer made a mistake, so they gave it more data about {food}."],
    "fashion": ["The model walked down the stage in a {colour} [dress|coat|hat].", "The fashion model showed a {look} {colour} [dress|coat|scarf] at {place}, and everyone clapped.",
                "A model must stand still while the photos of the {colour} [dress|coat] are taken."],
}
UNKNOWN = ["who won the game", "what time it is", "who is the president", "what my name is", "what the weather will be tomorrow", "how to fix my car", "what a rocket costs",
           "what is in the news", "how many stars there are", "what stocks to buy", "what the capital of Peru is", "how tall the tower is", "where my keys are", "who wrote that song"]
