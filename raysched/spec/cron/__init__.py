"""Cron expressions: which instants they name, and why a wrong one is refused.

`grammar` reads the text, `plan` searches the calendar, `expression` maps labels onto a
zone. Only the expansion of fields is croniter's: it fires twice in a fold, and needs
30-115 us where this search needs about 5.
"""

from raysched.spec.cron.expression import CronExpression
from raysched.spec.cron.grammar import ALIASES, is_hashed

__all__ = ["ALIASES", "CronExpression", "is_hashed"]
