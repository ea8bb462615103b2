"""One run: round after round, row after row, the contestants of a row in turn, another of them first each time."""

from collections.abc import Callable, Mapping, Sequence

from bench import machine
from bench.arena import Arena, ContestantFailed, describe
from bench.results import Results
from bench.roster import EVERYBODY
from bench.row import Conditions, Row
from bench.tables import in_short

Say = Callable[[str], None]


def measure_all(
    rows: Sequence[Row], contestants: Mapping[str, Sequence[str]], rounds: int, seconds: float, say: Say, tell: "Tell"
) -> Results:
    """``contestants``: by row. ``tell`` hears of every measurement as it ends."""
    with Arena() as arena:
        entrants = [each for each in EVERYBODY if any(each.name in named for named in contestants.values())]
        described = describe(entrants, arena)
        for each in described.values():
            say(f"  {each['title']}: {in_short(each['missing']) if 'missing' in each else _versions(each)}")
        rates = {name: float(each.get("rough_rate", 0)) for name, each in described.items()}
        results = Results(machine.facts(arena), described, {"rounds": rounds, "seconds": seconds})
        conditions = Conditions(arena, seconds, rates)
        for number in range(rounds):
            for row in rows:
                say(f"\nround {number + 1} of {rounds}: {row.title}")
                for name in rotated(contestants[row.name], number):
                    _measure(row, name, conditions, results)
                    tell(row, name, results)
        return results


Tell = Callable[[Row, str, Results], None]


def rotated(names: Sequence[str], number: int) -> list[str]:
    """Each round begins with another, so that none always comes right after the same one."""
    start = number % len(names) if names else 0
    return [*names[start:], *names[:start]]


def _measure(row: Row, name: str, conditions: Conditions, results: Results) -> None:
    found: Mapping[str, float] = {}
    kept = results.row(row)
    if reason := results.contestants.get(name, {}).get("missing"):
        kept.failures[name] = f"not installed: {reason}"
    else:
        try:
            found = row.measure(conditions, name)
        except ContestantFailed as failure:
            kept.failures[name] = str(failure)
        except Exception as failure:  # noqa: BLE001 - what the others gave in hours is not lost for it
            kept.failures[name] = f"{type(failure).__name__}: {failure}"
    kept.note(row, name, found)


def _versions(described: Mapping[str, object]) -> str:
    versions = described["versions"]
    assert isinstance(versions, dict)
    return ", ".join(f"{name} {version}" for name, version in versions.items()) + f" (Python {described['python']})"
