"""A study folder from disk, whole and cross-checked, or one error that says what is wrong where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.specs.base import parse, read_toml
from xbcompute.specs.federation import Federation
from xbcompute.specs.site import Dataset, Site
from xbcompute.specs.study import Study


@dataclass(frozen=True)
class StudyFolder:
    """Everything a simulation, a test or a decision needs; ``site_dirs`` is where relative sources start."""

    root: Path
    study: Study
    federation: Federation
    sites: Mapping[PartyId, Site]
    site_dirs: Mapping[PartyId, Path]

    def dataset(self, party: PartyId) -> Dataset:
        """The study's dataset at one holder."""
        found = self.sites[party].find_dataset(self.study.study.data.dataset)
        if found is None:
            raise _no_dataset(party, self.study)
        return found


def load_study(path: Path) -> Study:
    """``study.toml`` (or a folder that has one) as a :class:`Study`."""
    file = path / "study.toml" if path.is_dir() else path
    return parse(Study, read_toml(file), file.name)


def load_federation(path: Path) -> Federation:
    """``federation.toml`` as a :class:`Federation`."""
    return parse(Federation, read_toml(path), path.name)


def load_site(path: Path, shown: str | None = None) -> Site:
    """``site.toml`` as a :class:`Site`."""
    return parse(Site, read_toml(path, shown=shown), shown or path.name)


def load_folder(root: Path) -> StudyFolder:
    """Read and cross-check a study folder.

    Raises:
        InputError: for the first fault, naming the file, the key, the party or the column.
    """
    if not root.is_dir():
        raise InputError(
            "folder.missing", f"{root.name}: there is no such study folder.", todo="Name a folder with a study.toml."
        )
    study = load_study(root)
    federation = load_federation(root / "federation.toml")
    sites: dict[PartyId, Site] = {}
    dirs: dict[PartyId, Path] = {}
    for party in federation.parties:
        directory = root / "sites" / party.id
        file = directory / "site.toml"
        shown = f"sites/{party.id}/site.toml"
        if not file.exists() and not party.roles & {"holder"}:
            sites[party.id] = parse(Site, {"site": {"party": party.id}}, shown)
        else:
            sites[party.id] = load_site(file, shown)
        dirs[party.id] = directory
        if sites[party.id].site.party != party.id:
            raise InputError("site.party", f"{shown}: [site] party is not '{party.id}', the folder's name.")
    folder = StudyFolder(root, study, federation, sites, dirs)
    _cross_check(folder)
    return folder


def _cross_check(folder: StudyFolder) -> None:
    header = folder.study.study
    known = {party.id for party in folder.federation.parties}
    for role, names in (("lead", (header.lead,)), ("recipients", header.recipients)):
        for name in names:
            if name not in known:
                raise InputError(
                    "study.party", f"study.toml: {role} names '{name}', which is no party of federation.toml."
                )
    extra = sorted(p.name for p in (folder.root / "sites").iterdir() if p.is_dir() and p.name not in known)
    if extra:
        raise InputError("site.unknown", f"sites/{extra[0]}: there is no such party in federation.toml.")
    holders = folder.federation.holders()
    if not holders:
        raise InputError("federation.holders", "federation.toml: no party has the role 'holder'.")
    if header.partition == "horizontal":
        for holder in holders:
            dataset = folder.dataset(holder.id)
            for column in folder.study.source_columns():
                if column not in dataset.columns:
                    raise no_column(holder.id, dataset.id, column)


def no_column(party: str, dataset: str, column: str) -> InputError:
    """The error for a column that a study names and a holder has not registered."""
    return InputError(
        "column.missing",
        f"{party}: dataset '{dataset}' has no column '{column}', which the study names.",
        todo="Register the column in site.toml or take it out of the study.",
    )


def _no_dataset(party: str, study: Study) -> InputError:
    return InputError(
        "dataset.missing",
        f"sites/{party}/site.toml: no dataset '{study.study.data.dataset}' is registered, which '{study.id}' names.",
        todo="Register it under this id, or take the role 'holder' from the party.",
    )
