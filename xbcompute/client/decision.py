"""What policy said to a study, as a mapping that reads well."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Any, Literal


class Decision(Mapping[str, Any]):
    """The ``decision`` object of a run or of ``policy decide``: verdict, protocol, limits, reasons, citations."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = dict(body)

    def __getitem__(self, name: str) -> Any:
        return self._body[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._body)

    def __len__(self) -> int:
        return len(self._body)

    @property
    def verdict(self) -> str:
        """PERMIT, PERMIT_WITH_CONDITIONS, HOLD or DENY."""
        return str(self._body["verdict"])

    @property
    def runs(self) -> bool:
        """Whether a session may open under it."""
        return self.verdict in ("PERMIT", "PERMIT_WITH_CONDITIONS")

    def reasons(self, language: Literal["zh", "en"] = "en") -> tuple[str, ...]:
        """Rule id, mark and text of each reason."""
        return tuple(
            f"{reason['rule']} [{reason.get('mark', '')}] {reason[language]}" for reason in self.get("reasons", ())
        )

    def facts(self) -> list[tuple[str, str]]:
        """What the decision says beside its reasons, as pairs of a name and a text; what is empty is left out."""
        limits = [
            f"{key.replace('_', ' ')} {value}"
            for key, value in (self.get("limits") or {}).items()
            if value is not None and value is not True
        ]
        pairs = [
            ("verdict", self.verdict),
            ("tier", self.get("tier")),
            ("protocol", self.get("protocol")),
            ("path out of China", self.get("cn_path")),
            ("people counted", _counts(self.get("count_before"), self.get("count_after"))),
            ("export", str(self.get("export_posture") or "").replace("_", " ")),
            ("limits", ", ".join(limits)),
            ("evidence missing", ", ".join(self.get("required_evidence") or ())),
            ("roles still to sign", ", ".join(self.get("required_roles") or ())),
        ]
        return [(name, str(value)) for name, value in pairs if value]

    def _lines(self) -> list[str]:
        lines = [f"{name}: {text}" for name, text in self.facts()]
        for zh, en in zip(self.reasons("zh"), self.reasons("en"), strict=True):
            lines += [en, zh]
        if self.get("citations"):
            lines.append(f"citations: {'; '.join(self['citations'])}")
        return lines

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "<p>" + "<br>".join(html.escape(line) for line in self._lines()) + "</p>"


def _counts(before: Mapping[str, int] | None, after: Mapping[str, int] | None) -> str:
    before, after = before or {}, after or {}
    names = [name for name in dict.fromkeys((*before, *after)) if before.get(name) or after.get(name)]
    return ", ".join(f"{name.replace('_', ' ')} {before.get(name, 0)} → {after.get(name, 0)}" for name in names)
