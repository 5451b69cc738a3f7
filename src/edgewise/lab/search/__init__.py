"""What to try, in which order, and what not to.

screen     a look at the graph, without data: which repairs are worth their time
look       every file that was built, once: how fast, and how near to the original on calibration samples
standing   where each stands for a tier, by what is known so far: who may still become the choice
ladder     judge the most promising, widen what falls short but would pay, protect layers, until nobody can win
protect    mixed precision: as few layers in float as let a quantized file hold the floor
"""
