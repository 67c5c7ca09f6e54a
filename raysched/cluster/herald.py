"""Tells the launcher of an attempt that lasts: its start, then its progress and lines.

A thread beside the job. It sleeps while no attempt is under way, and a short attempt is
told by its end alone, which keeps a thousand of them a second from costing a message
each. What the launcher has not acknowledged is told again, at the latest with the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from raysched.cluster import mail
from raysched.cluster.attempts import Attempt, Setting
from raysched.cluster.batch import Batch
from raysched.cluster.hearing import tell
from raysched.cluster.mail import ReportLetter
from raysched.core.orders import Beat, LogLine, Report, Started

BEAT_S = 0.5
_LOOK_S = 0.05  # how soon to look whether an attempt lasts long enough to be announced

_log = logging.getLogger(__name__)
_Told = tuple[tuple[float, float] | None, dict[str, float]]


@dataclass(slots=True)
class _News:
    """What there is to tell of one attempt, and what of it the launcher has not taken."""

    setting: Setting
    batch: Batch
    started: Started
    attempt: Attempt
    began: float
    announced: bool = False
    told: _Told = (None, {})
    untold: list[LogLine] = field(default_factory=list)

    @property
    def due(self) -> bool:
        return time.monotonic() - self.began >= self.attempt.announced_after_s

    def reports(self) -> list[Report]:
        progress, metrics = self.attempt.told()
        reports: list[Report] = [] if self.announced else [self.started]
        if self.untold or (progress, metrics) != self.told:
            lines = tuple(self.untold)
            reports.append(
                Beat(key=self.started.key, progress=progress, metrics=metrics, lines=lines)
            )
        return reports

    def taken(self, reports: Sequence[Report]) -> None:
        self.announced = True
        for report in reports:
            if isinstance(report, Beat):
                self.told = (report.progress, dict(report.metrics))
                del self.untold[: len(report.lines)]


class Herald:
    """The herald of this process."""

    def __init__(self) -> None:
        self._busy = threading.Condition()
        self._news: _News | None = None
        self._asleep = False
        threading.Thread(target=self._run, name="raysched-herald", daemon=True).start()

    def begin(self, setting: Setting, batch: Batch, started: Started, attempt: Attempt) -> None:
        """Tell of this attempt from now on, if it lasts."""
        with self._busy:
            self._news = _News(setting, batch, started, attempt, time.monotonic())
            if self._asleep or self._news.due:
                self._busy.notify()

    def end(self) -> list[LogLine]:
        """Tell no more of the attempt, and return the lines that may not have been taken."""
        # The lock keeps lines of the next attempt from being told as this one's.
        with self._busy:
            news, self._news = self._news, None
        return news.untold if news else []

    def _run(self) -> None:
        while True:
            with self._busy:
                self._asleep = self._news is None
                if self._news is None:
                    self._busy.wait()
                    continue
                news, due = self._news, self._news.due
                reports = self._compose(news) if due else []
            others = news.batch.give_back() if due else []
            if (reports or others) and self._tell(news, reports, others):
                with self._busy:
                    news.taken(reports)
                news.batch.told(len(others))
            with self._busy:
                if self._news is news or not (self._news and self._news.due):
                    self._busy.wait(BEAT_S if due else _LOOK_S)

    def _compose(self, news: _News) -> list[Report]:
        try:
            news.untold += news.attempt.tail()
        except Exception:
            _log.exception("nobody gave its lines; they come with the end")
        return news.reports()

    def _tell(self, news: _News, reports: Sequence[Report], others: Sequence[ReportLetter]) -> bool:
        letters = [*(mail.seal_report(report) for report in reports), *others]
        return bool(tell(news.setting, news.batch.serial, letters))
