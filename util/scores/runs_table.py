"""Scores of several runs in one table, for papers and read-me files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from util.base.log import printable
from util.scores.images import METRICS
from util.scores.scorer import Result, Score

STYLES = ("markdown", "latex")
_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def runs_table(results: Mapping[str, Result], style: str, *, best: bool = True) -> str:
    """Return a table with a row for each run; the `best` value of each metric is in bold.

    `results` has the scores by the run's name, `style` is one of `STYLES`; LaTeX needs the package
    booktabs. Intervals are those of 95%.
    """
    names = [name for name in METRICS if any(name in one.scores for one in results.values())]
    bold = {name: _best(name, [r.scores[name] for r in results.values() if name in r.scores])
            if best else math.nan for name in names}  # fmt: skip
    is_latex = style == "latex"
    rows = [
        [_escaped(run, is_latex), *(_cell(one.scores.get(n), n, bold[n], is_latex) for n in names)]
        for run, one in results.items()
    ]
    heads = ["run", *(_head(name, is_latex) for name in names)]
    return _latex(heads, rows) if is_latex else _markdown(heads, rows)


def titles(folders: Sequence[str]) -> list[str]:
    """Return short names for folders of results: the run's, with the test's if that tells more.

    >>> titles(["results/a/test_latest", "results/b/test_latest"])
    ['a', 'b']
    """
    parts = [Path(folder).resolve().parts for folder in folders]
    for shown in (slice(-2, -1), slice(-1, None), slice(-2, None)):
        names = ["/".join(part[shown]) for part in parts]
        if len(set(names)) == len(names) and all(names):
            return names
    return list(folders)


def _best(name: str, scores: Sequence[Score]) -> float:
    values = [score.value for score in scores]
    return min(values) if METRICS[name].better == "min" else max(values)


def _cell(score: Score | None, name: str, best: float, is_latex: bool) -> str:
    if score is None:
        return "--" if is_latex else "-"
    digits = METRICS[name].digits
    text = f"{score.value:z.{digits}f}"
    if text == f"{best:z.{digits}f}":
        text = f"\\textbf{{{text}}}" if is_latex else f"**{text}**"
    if score.low is None or score.high is None:
        return text
    ends = [f"{end:z.{digits}f}" for end in (score.low, score.high)]
    return f"{text} ({'--'.join(ends)})" if is_latex else f"{text} ({' to '.join(ends)})"


def _head(name: str, is_latex: bool) -> str:
    arrow = "down" if METRICS[name].better == "min" else "up"
    if is_latex:
        return f"{name} $\\{arrow}arrow$"
    return f"{name} {'↓' if arrow == 'down' else '↑'}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rules = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rules, *rows))


def _latex(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"{' & '.join(row)} \\\\" for row in (heads, *rows)]
    begin = f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}"
    return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
                      r"\end{tabular}"])  # fmt: skip


def _escaped(text: str, is_latex: bool) -> str:
    text = printable(text)
    if is_latex:
        return "".join(_LATEX.get(letter, letter) for letter in text)
    return text.replace("|", "\\|")
