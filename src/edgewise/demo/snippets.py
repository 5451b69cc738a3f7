"""Human-rated sentences: the corpus of Hutto & Gilbert (ICWSM 2014), as it ships in vaderSentiment's source.

Four files, UTF-8 with CRLF line ends, each line `id TAB mean rating TAB text`; some 20 people rated each text
from -4 to +4. A label is the sign of the mean; texts that people found neutral (|mean| < 0.5) are left out.

Ids such as 12_3 mean sentence 3 of document 12 (a review, an editorial): sentences of one document share a
group. Tweets and film snippets have an id of their own, and are groups of one.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewise.demo.packages import read
from edgewise.errors import ToolchainError

__all__ = ["Snippets", "load", "parse", "partition"]

SOURCES = ("movieReviewSnippets", "nytEditorialSnippets", "tweets", "amazonReviewSnippets")
CORPUS = "additional_resources/hutto_ICWSM_2014.tar.gz"
CLEAR = 0.5


@dataclass(frozen=True)
class Snippets:
    """Parallel arrays: `text`, `labels` int64 (0 negative, 1 positive), `groups` int64 (document)."""

    text: NDArray[np.str_]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Snippets:
        """Return the rows given, in that order, with groups renumbered from 0."""
        groups = np.unique(self.groups[rows], return_inverse=True)[1].astype(np.int64)
        return Snippets(self.text[rows], self.labels[rows], groups)


def load(sdist: Path) -> Snippets:
    """Read the four files inside vaderSentiment's source archive. Raises ToolchainError if one is missing."""
    inner = read(sdist, f"{sdist.name.removesuffix('.tar.gz')}/{CORPUS}")
    files = {source: read(inner, f"hutto_ICWSM_2014/{source}_GroundTruth.txt").decode() for source in SOURCES}
    return parse(files)


def parse(files: dict[str, str]) -> Snippets:
    """Turn the files' contents, by source, into clear-cut snippets without repeated texts.

    Raises ToolchainError when a line has not three fields.
    """
    found: dict[str, tuple[str, int, str]] = {}
    for source, content in files.items():
        for line in filter(None, content.split("\r\n")):
            fields = line.split("\t")
            if len(fields) != 3:
                raise ToolchainError(f"{source} has a line that is not id, rating, text: {line[:60]!r}")
            name, rating, text = fields[0], float(fields[1]), html.unescape(fields[2]).strip()
            if text and abs(rating) >= CLEAR:
                key = " ".join(text.casefold().split())
                found.setdefault(key, (text, int(rating > 0), f"{source}/{name.split('_')[0]}"))
    texts, labels, documents = (list(column) for column in zip(*found.values(), strict=True))
    groups = np.unique(documents, return_inverse=True)[1]
    return Snippets(np.array(texts), np.array(labels, np.int64), groups.astype(np.int64))


def partition(snippets: Snippets, *, handed: int, fit: int, seed: int) -> tuple[Snippets, Snippets]:
    """Return `handed` snippets for the build and at most `fit` to train on; no document is in both."""
    rng = np.random.default_rng(seed)
    turn = rng.permutation(int(snippets.groups.max()) + 1)
    rows = np.argsort(turn[snippets.groups], kind="stable")
    given, rest = rows[:handed], rows[handed:]
    rest = rest[snippets.groups[rest] != snippets.groups[given[-1]]]
    return snippets.take(rng.permutation(given)), snippets.take(rest[:fit])
