"""Held-out stories and mysteries' frames: no frame or plot of this file occurs in training."""

OPENINGS = [
    "Long ago, by {place}, a {kind} named {N} had {his} home in {home}.",
    "This is the story of {N}, a {size} and {trait} {kind} who lived near {place}.",
    "Nobody at {place} was as {trait} as {N}, the {size} {kind}.",
    "My {old_helper} told me about a {kind} called {N}, who was {trait} but also {trait2}.",
]
SCENERY = [
    "Under the {tree} tree, the grass was wet, and {sound} was far away.",
    "It smelled like {smell} that {daytime}.",
    "Two {colour} birds sat on a {look} {noun}.",
    "All the {flower} were open in the {weather} weather.",
]
ENDINGS = [
    "So {N} and {F} still meet at {place}, and that is the best part of every {weekday}.",
    "In the evening, {N} ate {food} and thought about {F} with a smile.",
    "\"Now I am {happy},\" said {N}, and {he} went to sleep.",
    "So the {trait} {kind} was {happy}, and {F} was {happy} too.",
]
PLOTS = {
    "letter": [
        ["One {weather} {daytime}, {N} had to bring a {obj} to {F} the {fkind}, who lived across {place2}.",
         "A {fkind} named {F} lived behind {place2}, and {N} wanted to give {fhim} a {obj}."],
        ["But there was no bridge, and the water was cold.", "The way was long, and {N} was {afraid} of {place3}.", "At {place3}, the wind took the {o} and threw it {under} {furniture}."],
        ["{he} did not give up. {he} took a stick and got the {o} back.", "A {look} boat lay {under} {furniture}, so {he} used it.", "{he} walked slowly, step by step, and held the {o} in both hands."],
        ["At last {he} stood at {F}'s door. \"This {o} is for you!\" said {N}.", "\"You came all this way with a {o}?\" asked {F}."],
        ["{F} was so {happy} that {fhe} danced.", "\"Come in and have some {food},\" said {F} {softly}."]],
    "nest": [
        ["{N} found a {size} {fkind} {under} {furniture}. \"I am {F},\" said the {fkind}, \"and I want to go home.\"",
         "At {place2}, there was a lost {fkind} named {F}, who cried {softly}."],
        ["\"Where is your home?\" asked {N}. \"Near {place3},\" said {F}.", "{F} could remember only {place3} and a {colour} door."],
        ["They looked at {place2}, but nobody knew {F} there.", "It was dark, and they were both {afraid}, but {N} sang a song.", "On the way they ate {food} and counted {count} stars."],
        ["Then {F} saw a {look} {noun}. \"That is ours! I am home!\" {fhe} shouted {loudly}.", "Behind {place3} stood {F}'s {old_helper}, who was very {happy}."],
        ["\"Thank you for bringing {F} home,\" they all said to {N}.", "{F} gave {N} a {obj}, so that {he} would not forget {fhim}."]],
    "party": [
        ["{N} made a party at {place2}, with {food} and a {obj}, but nobody came.", "It was {N}'s birthday, and {he} waited for {F} the {fkind} with a {obj}."],
        ["\"Did they forget me?\" {he} thought, and {he} was {sad}.", "{he} ate the {food} alone and felt {sad}."],
        ["Then there was a knock at the door. It was {F} the {fkind}!", "After {count} hours, {F} came, a {fkind} with wet feet."],
        ["\"I am sorry,\" said {F}. \"I was stuck in {place3}.\"", "\"I lost my way near {place3},\" {F} told {him} {softly}."],
        ["So they had a small party, only {N} and {F}, and the {o} was the best part.", "{N} gave {fhim} warm {food}, and both of them laughed until {daytime2}."]],
}
