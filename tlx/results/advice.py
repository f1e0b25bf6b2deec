"""Advice as a person reads it on the terminal; ``told`` is what ``advice.json`` holds."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from tlx.results.console import amount, counted, say, size

LARGE, ALIKE = 2000, 0.5  # training images, and similarity, from which on the textbook speaks of large and of similar

Plain = dict[str, Any]


def show(out: Console, told: Plain) -> None:
    """Print the advice: what was found, what is expected of each way, the verdict, and the command that follows it."""
    evidence, verdict = told["evidence"], told["verdict"]
    out.print()
    say(out, "size", size_words(evidence))
    say(out, "similar", similarity_words(evidence))
    say(out, "trial", trial_words(told))
    out.print()
    out.print(table(told))
    out.print()
    verdict_lines(out, told)
    say(out, "textbook", textbook_words(told))
    say(out, "changes", changes(verdict))
    say(out, "run", verdict["command"])


def verdict_lines(out: Console, told: Plain) -> None:
    """Print what is advised, and what comes next."""
    say(out, "advice", sentence(told), "bold green")
    if told["verdict"]["runner_up"]:
        say(out, "next best", runner_up(told["verdict"]))


def table(told: Plain) -> Table:
    """Lay out the strategies, what to expect of each, and what it takes."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("strategy")
    found.add_column("case")
    for title in ("test accuracy", "90 % between", "twice the images", "time", "memory"):
        found.add_column(title, justify="right")
    for row in told["strategies"]:
        expected, cost = row["expected"], row["cost"]
        between = f"{expected['low']:.3f} and {expected['high']:.3f}"
        accuracies = f"{expected['accuracy']:.3f}", between, f"{expected['twice']:.3f}"
        style = "bold green" if row["advised"] else ""
        found.add_row(
            row["name"], row["case"], *accuracies, seconds(cost["seconds"]), size(cost["memory"]), style=style
        )
    return found


def sentence(told: Plain) -> str:
    """Say the verdict in a line."""
    verdict = told["verdict"]
    expected = verdict["expected"]
    accuracy = f"{100 * expected['accuracy']:.1f} % (90 %: {100 * expected['low']:.1f} to {100 * expected['high']:.1f})"
    lr = f", lr {verdict['lr']}" if verdict["lr"] is not None else ""
    epochs = f" for {counted(verdict['epochs'], 'epoch')}{lr}" if verdict["epochs"] else ""
    return f"{verdict['case']}: {verdict['name']}{epochs}; expect {accuracy} in {seconds(verdict['cost']['seconds'])}"


def runner_up(verdict: Plain) -> str:
    """Say what comes next, and how far behind."""
    second = verdict["runner_up"]
    points = 100 * (verdict["expected"]["accuracy"] - second["expected"]["accuracy"])
    behind = f"{points:.1f} points behind" if points >= 0.05 else "as good, and dearer" if points > -0.05 else ""
    ahead = f"{-points:.1f} points ahead, which is too little for its cost"
    mine, its = (one["cost"]["seconds"] for one in (verdict, second))
    instead = "" if mine / 2 < its < 2 * mine else f" instead of {seconds(mine)}"
    return f"{second['case']}, {second['name']}: {behind or ahead}, in {seconds(its)}{instead}"


def changes(verdict: Plain) -> str:
    """Say what would change the verdict."""
    if over := verdict["overtaken"]:
        return f"with {over['times']} times the images, {over['case']} overtakes"
    return "ten times the images would not change the case"


def size_words(evidence: Plain) -> str:
    """Say how many images there are."""
    each = evidence["per_class"]
    span = f"{each['fewest']:,}" if each["fewest"] == each["most"] else f"{each['fewest']:,} to {each['most']:,}"
    told = f"{evidence['images']:,} training images of {evidence['classes']} classes, {span} each"
    if evidence["copies"]:
        told += f"; {evidence['copies']:,} repeat another"
    if evidence["left_out"]:
        told += f"; {evidence['left_out']:,} left out"
    return told


def similarity_words(evidence: Plain) -> str:
    """Say how similar the images are to what the network learned on, and why."""
    similar, profile = evidence["similarity"], evidence["profile"]
    mine, other = (100 * similar[key] for key in ("pretrained", "random"))
    few = f" on {similar['images']:,} images" if similar["images"] < profile["images"] else ""
    return (
        f"{similar['value']:.2f} of 1: probes{few} are right about {mine:.1f} %, on random weights {other:.1f} "
        f"% (worth {similar['worth']:.2f}), best from depth {profile['auto'] + 1} of {len(profile['rows'])} on"
    )


def textbook(images: int, similarity: float) -> str:
    """Return the case of which the textbook would speak."""
    return f"{'large' if images >= LARGE else 'small'}_{'similar' if similarity >= ALIKE else 'different'}"


def textbook_words(told: Plain) -> str:
    """Say which case the images are by the textbook, and whether that one is advised."""
    evidence = told["evidence"]
    case = textbook(evidence["images"], evidence["similarity"]["value"])
    return f"{case}, {'as advised' if case == told['verdict']['case'] else 'but what is measured and known decides'}"


def trial_words(told: Plain) -> str:
    """Say what trials showed."""
    if not told["trials"]:
        return f"none: {told['untried']}"
    names = {row["kind"]: row["name"] for row in told["strategies"]}
    parts = []
    for trial in told["trials"]:
        points = f"{100 * trial['gain']:+.1f} ± {100 * trial['standard_error']:.1f} points"
        parts.append(f"{names[trial['kind']]} {points}")
    first = told["trials"][0]
    what = f"{counted(first['epochs'], 'epoch')} on {first['trained']:,} images, judged on {first['judged']:,}"
    return f"against the frozen trunk's head: {'; '.join(parts)} ({what})"


def seconds(count: float) -> str:
    """Write a time as a person reads it."""
    if count < 90:
        return f"{count:.0f} s" if count >= 9.5 else f"{count:.1f} s"
    return f"{count / 60:.0f} min" if count < 5400 else f"{count / 3600:.1f} h"


def show_ranking(out: Console, ranking: list[Plain]) -> None:
    """Print backbones side by side, the best first."""
    found = Table(box=None, pad_edge=False, header_style="bold")
    found.add_column("backbone")
    for title in ("best probe ± SE", "at", "LogME", "parameters", "multiply-adds", "seconds"):
        found.add_column(title, justify="left" if title == "at" else "right")
    for row in ranking:
        if row["error"]:
            found.add_row(row["backbone"], "failed")
            continue
        figure = f"{row['accuracy']:.3f} ± {row['standard_error']:.3f}"
        costs = amount(row["parameters"]), amount(row["multiply_adds"]), f"{row['seconds']:.1f}"
        found.add_row(row["backbone"], figure, row["place"], f"{row['logme']:.3f}", *costs)
    out.print()
    out.print(found)
    for row in ranking:
        if row["error"]:
            say(out, row["backbone"], row["error"], "yellow")
