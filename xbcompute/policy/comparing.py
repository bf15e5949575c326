"""What a change of a pack changes: its rules one by one, and the decisions on past applications."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.policy.folder import decision_of, requests
from xbcompute.policy.request import Request
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.pack import LoadedPack, Pack

COMPARED = ("verdict", "tier", "protocol", "cn_path", "export_posture", "limits", "required_evidence", "required_roles")
"""Keys of a decision whose change is reported; rules are compared as sets."""


def rules(before: Pack, after: Pack) -> dict[str, list[str]]:
    """Ids of rules that were added, removed, or changed in anything."""
    old, new = {rule.id: rule for rule in before.rule}, {rule.id: rule for rule in after.rule}
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    }


def with_pack(built: Mapping[PartyId, Request], pack: LoadedPack) -> dict[PartyId, Request]:
    """The requests as they would be had every site that lists this pack's id this very version, signed by all."""
    everyone = frozenset(built)
    changed: dict[PartyId, Request] = {}
    for party, request in built.items():
        packs = tuple(pack if loaded.pack.id == pack.pack.id else loaded for loaded in request.packs)
        signers = {**request.signers, pack.pack.id: everyone}
        changed[party] = dataclasses.replace(request, packs=packs, signers=signers)
    return changed


def difference(
    folder: StudyFolder,
    people: Mapping[PartyId, int],
    now: Mapping[PartyId, dt.datetime],
    *,
    before: LoadedPack,
    after: LoadedPack,
) -> dict[str, Any]:
    """What the change of pack changes in the decision on one past application; empty ``changes``: nothing."""
    built = requests(folder, people, now)
    old = decision_of(folder, with_pack(built, before), now)
    new = decision_of(folder, with_pack(built, after), now)
    changes: dict[str, Any] = {key: {"before": old[key], "after": new[key]} for key in COMPARED if old[key] != new[key]}
    gone, come = set(old["rules"]) - set(new["rules"]), set(new["rules"]) - set(old["rules"])
    if gone or come:
        changes["rules"] = {"gone": sorted(gone), "come": sorted(come)}
    return {"study": folder.study.id, "concerned": _concerned(built.values(), before), "changes": changes}


def _concerned(built: Iterable[Request], pack: LoadedPack) -> list[str]:
    return [str(request.party) for request in built if any(p.pack.id == pack.pack.id for p in request.packs)]


def check_pair(before: LoadedPack, after: LoadedPack) -> None:
    """Both are versions of one pack that sites list.

    Raises:
        InputError: they have different ids, or are the general pack, which no site can replace.
    """
    if before.pack.id != after.pack.id:
        raise InputError(
            "pack.other",
            f"'{before.pack.id}' and '{after.pack.id}' are different packs.",
            todo="Compare two versions of one pack: give the changed file the same id.",
        )
    if before.pack.id == "general":
        raise InputError("pack.general", "the general pack comes with the code and is not replaced by a file.")
