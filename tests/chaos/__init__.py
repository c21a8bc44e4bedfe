"""The fault campaign: a recorded history, published while everything fails in turn and together, and then all of it checked.

Everything that happens on purpose follows from a seed: what is published, and what fails when. What the machine makes of it does
not, so a campaign is never the same twice; the history and the schedule are.
"""
