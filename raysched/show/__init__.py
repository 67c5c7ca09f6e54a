"""How things are shown, whoever shows them: text made harmless, cards, their HTML.

A leaf of pure functions over plain values: every room may use it, and it uses none.
"""
