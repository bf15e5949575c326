"""Study folders in memory for tests of policy: four hospitals or four airlines, changed where a test says so."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.parties import PartyId
from xbcompute.policy.folder import decide_folder, findings, requests
from xbcompute.policy.statement import Finding
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.load import StudyFolder
from xbcompute.specs.site import Site
from xbcompute.specs.study import parse_study

NOW = dt.datetime.fromisoformat("2026-11-24T10:00:00+08:00")
FOUR = {"su-a": "CN", "su-b": "CN", "sg-a": "SG", "sg-b": "SG"}
TWO = {"su-a": "CN", "sg-a": "SG"}
ROLES = ["DS", "DPO", "EC-IRB", "CP"]
LINEAR = {"id": "m", "kind": "linear", "outcome": "y", "covariates": ["x"]}
DESCRIBE = {"id": "d", "kind": "describe", "columns": ["y"]}
TRAIN = {"id": "t", "kind": "train", "operator": "op", "columns": ["x"]}

HEALTH: dict[str, Any] = {
    "cn_grade": "general",
    "important_source": "none",
    "pi": "sensitive",
    "health_level": 4,
    "hgr": "none",
    "minors_under14": False,
    "special_disease": False,
    "state_organ_data": False,
    "export_control": {"cn": "none", "sg": "none"},
}
PUBLIC: dict[str, Any] = {**HEALTH, "pi": "none", "health_level": 1}
FLEET: dict[str, Any] = {
    "cn_grade": "general",
    "important_source": "none",
    "pi": "none",
    "export_control": {"cn": "none", "sg": "none"},
}
EVIDENCE = {"CN": ("PIA", "SC_FILING", "IRB_CN"), "SG": ("IRB_SG", "SG_TRANSFER_BASIS")}
Change = Callable[[dict[str, Any]], None]


class Draft:
    """A folder under construction: plain tables that a test changes before it asks for the decision."""

    def __init__(self, parties: Mapping[str, str], keys: dict[str, Any], industry: str, analyses: list[Any]) -> None:
        holders = list(parties)
        biomed = industry == "biomed"
        purpose = "outcome_research" if biomed else "reliability_stats"
        self.study: dict[str, Any] = {
            "study": {
                "id": "s",
                "title": "t",
                "industry": industry,
                "purpose": purpose,
                "lead": holders[0],
                "recipients": [holders[0], holders[-1]],
                "data": {"dataset": "d"},
            },
            "analysis": copy.deepcopy(analyses),
        }
        self.federation: dict[str, Any] = {
            "federation": {"id": "f"},
            "party": [
                {"id": party, "jurisdiction": where, "roles": ["holder", "recipient"]}
                for party, where in parties.items()
            ],
        }
        self.people: dict[str, int] = dict.fromkeys(holders, 150)
        self.sites: dict[str, dict[str, Any]] = {}
        for party, where in parties.items():
            dataset = {
                "id": "d",
                "source": "d.csv",
                "origin": where,
                "subjects": "pid",
                "rows_max": 200,
                "rows_min": 100,
                **copy.deepcopy(keys),
                "columns": {"y": {"type": "number", "bounds": [0.0, 1.0]}, "x": {"type": "number"}},
            }
            if where == "SG":
                dataset["sg_class"] = "personal" if keys["pi"] == "sensitive" else "none"
            if keys["pi"] not in ("none", "anonymised"):
                others = [other for other in holders if other != party]
                dataset["consent"] = {"purposes": [purpose], "recipients": others, "export": True}
            self.sites[party] = {
                "site": {"party": party, "packs": [where.lower(), industry], "cell_scope": "pooled"},
                "entity": {"ciio": False, "listed_partner_until": "2027-12-31"},
                "dataset": [dataset],
                "evidence": [{"kind": k, "from": "2026-03-01", "to": "2029-03-01"} for k in EVIDENCE.get(where, ())],
                "approval": [
                    {
                        "study": "s",
                        "purpose": purpose,
                        "from": "2026-06-01",
                        "to": "2027-06-01",
                        "outputs": ["aggregate", "dp_aggregate", "model_dp", "psi_cardinality"],
                        "roles": list(ROLES),
                    }
                ],
            }

    def dataset(self, party: str) -> dict[str, Any]:
        """The dataset table of one party."""
        found: dict[str, Any] = self.sites[party]["dataset"][0]
        return found

    def all_datasets(self, **keys: Any) -> Draft:
        """Change keys of every dataset."""
        for party in self.sites:
            if self.sites[party].get("dataset"):
                self.dataset(party).update(copy.deepcopy(keys))
        return self

    def party(self, name: str) -> dict[str, Any]:
        """The ``[[party]]`` table of one party."""
        found: dict[str, Any] = next(entry for entry in self.federation["party"] if entry["id"] == name)
        return found

    def add_party(self, name: str, where: str, *roles: str, **entity: Any) -> Draft:
        """A further party without data."""
        self.federation["party"].append({"id": name, "jurisdiction": where, "roles": list(roles)})
        self.sites[name] = {"site": {"party": name}, "entity": entity}
        return self

    def without_evidence(self, party: str, kind: str) -> Draft:
        """Drop one kind of document at one party."""
        site = self.sites[party]
        site["evidence"] = [entry for entry in site["evidence"] if entry["kind"] != kind]
        return self

    def folder(self) -> StudyFolder:
        """As the loader would give it."""
        federation = parse(Federation, self.federation, "federation.toml")
        sites = {PartyId(p): parse(Site, copy.deepcopy(body), f"sites/{p}/site.toml") for p, body in self.sites.items()}
        study = parse_study(copy.deepcopy(self.study))
        return StudyFolder(Path(), study, federation, sites, dict.fromkeys(sites, Path()))

    def decide(self, now: dt.datetime = NOW) -> dict[str, Any]:
        """The decision."""
        folder = self.folder()
        people = {PartyId(party): count for party, count in self.people.items()}
        return decide_folder(folder, people, dict.fromkeys(folder.sites, now))

    def findings(self, now: dt.datetime = NOW) -> dict[PartyId, Finding]:
        """Every party's finding."""
        folder = self.folder()
        people = {PartyId(party): count for party, count in self.people.items()}
        return findings(requests(folder, people, dict.fromkeys(folder.sites, now)))[0]


def hospitals(parties: Mapping[str, str] = FOUR, *, keys: dict[str, Any] | None = None, analyses: Any = None) -> Draft:
    """Hospitals with level-4 data, one linear model."""
    return Draft(parties, keys or HEALTH, "biomed", analyses or [LINEAR])


def fleets(parties: Mapping[str, str] = FOUR, *, analyses: Any = None) -> Draft:
    """Airlines with non-personal maintenance data, one table of means."""
    return Draft(parties, FLEET, "aviation", analyses or [DESCRIBE])


def with_rules(decision: Mapping[str, Any]) -> set[str]:
    """Ids of the rules a decision names."""
    return set(decision["rules"])
