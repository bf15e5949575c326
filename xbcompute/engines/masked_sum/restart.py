"""Which participants a later run may have, once a seed was released (spec, section 7).

Totals over different sets of participants subtract. The adversaries are those of policy C4: each control group, and,
for each jurisdiction, everybody outside it together. A later run is refused if some adversary, who knows its own
contributions, could combine the totals into the contribution of one control group alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from fractions import Fraction

from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.parties import PartyId

GROUPS_MIN = 3
"""Contributors in a sum, counted as control groups (policy C4.1, C4.3)."""

GROUPS_MIN_JURISDICTION = 2


def check_restart(
    previous: Sequence[frozenset[PartyId]],
    now: frozenset[PartyId],
    groups: Mapping[PartyId, str],
    jurisdictions: Mapping[PartyId, str],
) -> None:
    """Refuse the participants ``now`` if totals already opened and the new one could be told apart too finely.

    ``previous`` holds the participants of every earlier run on the same population in which this party released a
    seed. Run by each node before it agrees to a session. Two tests, both of which must pass:

    - pairwise: who left and who came since each earlier run is nobody, or at least 3 control groups with at least 2 in
      each jurisdiction that occurs among them (policy C4.3 for the sum over the difference);
    - jointly: no adversary can combine all the totals, with any weights, into one control group's contribution.

    Raises:
        RefusedError: ``masked_sum.restart``, naming the parties that differ.
        InputError: a participant without control group or jurisdiction.
    """
    for party in sorted(now.union(*previous)):
        if not groups.get(party) or not jurisdictions.get(party):
            raise InputError("masked_sum.party", f"no control group or jurisdiction is known for {party}.")
    earlier = sorted({run for run in previous if run != now}, key=sorted)
    for run in earlier:
        for difference, what in ((run - now, "left out"), (now - run, "added")):
            if difference and not _large_enough(difference, groups, jurisdictions):
                raise _refused(f"{', '.join(sorted(difference))} would be {what}; the difference of the two totals")
    if earlier:
        for adversary, target in _isolated([*earlier, now], groups, jurisdictions):
            raise _refused(f"the totals of {len(earlier) + 1} runs together, known to {adversary}, of group {target}")


def _large_enough(parties: Set[PartyId], groups: Mapping[PartyId, str], jurisdictions: Mapping[PartyId, str]) -> bool:
    inside: dict[str, set[str]] = {}
    for party in parties:
        inside.setdefault(jurisdictions[party], set()).add(groups[party])
    return len(set().union(*inside.values())) >= GROUPS_MIN and all(
        len(found) >= GROUPS_MIN_JURISDICTION for found in inside.values()
    )


def _isolated(
    runs: Sequence[frozenset[PartyId]], groups: Mapping[PartyId, str], jurisdictions: Mapping[PartyId, str]
) -> Iterator[tuple[str, str]]:
    """(adversary, target) for each control group whose contribution alone the adversary could compute."""
    everyone = sorted(frozenset().union(*runs))
    adversaries = {f"group {group}": {p for p in everyone if groups[p] == group} for group in _values(everyone, groups)}
    for place in _values(everyone, jurisdictions):
        adversaries[f"all parties outside {place}"] = {p for p in everyone if jurisdictions[p] != place}
    for name, adversary in adversaries.items():
        unknown = [party for party in everyone if party not in adversary]
        rank = _rank(runs, unknown)
        for target in _values(unknown, groups):
            others = [party for party in unknown if groups[party] != target]
            # A combination that vanishes on all others but not on the target exists exactly if the rank drops.
            if rank > _rank(runs, others):
                yield name, target


def _values(parties: Sequence[PartyId], of: Mapping[PartyId, str]) -> list[str]:
    return sorted({of[party] for party in parties})


def _rank(runs: Sequence[frozenset[PartyId]], parties: Sequence[PartyId]) -> int:
    """Rank over the rationals of the matrix whose rows say who of ``parties`` took part in each run."""
    rows = [[Fraction(party in run) for party in parties] for run in runs]
    rank = 0
    for column in range(len(parties)):
        pivot = next((index for index in range(rank, len(rows)) if rows[index][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        head = rows[rank]
        for index in range(rank + 1, len(rows)):
            factor = rows[index][column] / head[column]
            if factor:
                rows[index] = [a - factor * b for a, b in zip(rows[index], head, strict=True)]
        rank += 1
    return rank


def _refused(what: str) -> RefusedError:
    return RefusedError(
        "masked_sum.restart",
        f"seeds were released to other participants before: {what} would show too few contributors.",
        todo="Run with the same participants as before, or change them by a larger group at once.",
    )
