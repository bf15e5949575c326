"""``xbcompute keys``, ``xbcompute node`` and ``xbcompute policy sign``: what an operator needs for a real node."""

from __future__ import annotations

import asyncio
import base64
import logging
from pathlib import Path
from typing import Any

from xbcompute.cli.output import print_json
from xbcompute.cli.render import make_console
from xbcompute.core.errors import InputError
from xbcompute.gate.pki import Identity


def new_identity(out: Path, *, federation: str, name: str, dns: str, days: int, as_json: bool) -> None:
    """Make an identity: one private file, and its certificate beside it to hand out."""
    import datetime as dt

    now = dt.datetime.now(dt.UTC)
    window = (now - dt.timedelta(minutes=5), now + dt.timedelta(days=days))
    identity = Identity.throwaway(federation, name, dns, valid=window)
    identity.save(out)
    certificate = out.with_suffix(".crt")
    try:
        certificate.write_bytes(identity.certificate)
    except OSError as error:
        raise InputError("file.unwritable", f"{certificate.name}: {error.strerror}.") from None
    body: dict[str, Any] = {
        "identity": str(out),
        "certificate": str(certificate),
        "fingerprint": identity.fingerprint,
        "signing_key": identity.signing_public,
        "until": window[1].isoformat(),
    }
    if as_json:
        print_json(body)
        return
    console = make_console()
    console.print(f"{out}: certificate and both private keys; keep it where only this node reads it.", markup=False)
    console.print(
        f"{certificate}: the certificate; hand it to the other parties and compare the fingerprint.", markup=False
    )
    console.print(f"fingerprint  {identity.fingerprint}", markup=False)
    console.print(f'signing_key = "{identity.signing_public}"', markup=False)


def sign_packs(packs: list[str], *, identity: Path, party: str, beside: Path, as_json: bool) -> None:
    """This party's signatures over packs, as ``federation.toml`` holds them."""
    from xbcompute.specs.pack import load_pack, pack_statement

    signer = Identity.load(identity)
    entries: list[dict[str, Any]] = []
    for name in packs:
        loaded = load_pack(name, beside=beside)
        statement = pack_statement(loaded.pack.id, loaded.pack.version, loaded.sha256)
        entries.append(
            {
                "id": loaded.pack.id,
                "version": loaded.pack.version,
                "sha256": loaded.sha256,
                "signatures": {party: base64.b64encode(signer.sign(statement)).decode("ascii")},
            }
        )
    if as_json:
        print_json({"pack": entries})
        return
    console = make_console()
    for entry in entries:
        console.print(f'[[pack]]\nid = "{entry["id"]}"\nversion = "{entry["version"]}"', markup=False)
        console.print(f'sha256 = "{entry["sha256"]}"', markup=False)
        console.print(f'signatures = {{ "{party}" = "{entry["signatures"][party]}" }}\n', markup=False, soft_wrap=True)


def serve_node(folder: Path, *, listen: str | None, as_json: bool) -> None:
    """Run the node of a folder until SIGTERM or SIGINT."""
    from xbcompute.node.folder import read_node_folder
    from xbcompute.node.serve import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = read_node_folder(folder, listen=listen)

    def started(port: int | None) -> None:
        if as_json:
            print_json({"party": config.me, "port": port})
        else:
            where = f"on port {port}" if port is not None else "dialling only"
            make_console().print(f"{config.me}: serving {where}.", markup=False)

    asyncio.run(serve(config, started))


def node_status(address: str, *, identity: Path, certificate: Path, as_json: bool) -> None:
    """What a node says of itself."""
    from xbcompute.client.connect import connect

    with connect(address, identity=identity, certificate=certificate) as node:
        status = node.status()
    if as_json:
        print_json(status)
        return
    console = make_console()
    console.print(
        f"{status['party']} of {status['federation']}: {status['ledger']['size']} ledger records", markup=False
    )
    for party, up in status["links"].items():
        console.print(f"  {party}: {'linked' if up else 'no link'}", markup=False)
    for entry in status["applications"]:
        console.print(f"  application {entry['application']}", markup=False)
        text = f"{entry['study']}, {entry['purpose']}, {', '.join(entry['outputs'])}, {entry['protocol']}"
        console.print(f"    {text}: {entry['verdict']}", markup=False)
        signed, roles = ", ".join(entry["signed"]) or "nobody", ", ".join(entry["required_roles"]) or "nobody"
        console.print(f"    must sign: {roles}; has signed: {signed}", markup=False)
    for session, state in status["sessions"].items():
        console.print(f"  session {session}: {state}", markup=False)


def approve(
    application: str,
    address: str,
    *,
    identity: Path,
    certificate: Path,
    user: str,
    role: str,
    window: tuple[str, str],
    as_json: bool,
) -> None:
    """Sign an application in one role, as the node describes it, and hand the signature in."""
    from xbcompute.client.connect import connect
    from xbcompute.policy.approvals import SignedApproval
    from xbcompute.specs.base import parse
    from xbcompute.specs.site import Approval

    signer = Identity.load(identity)
    with connect(address, identity=identity, certificate=certificate) as node:
        status = node.status()
        known = {entry["application"]: entry for entry in status["applications"]}
        if application not in known:
            raise InputError(
                "application.unknown",
                f"the node of {status['party']} knows no application {application}.",
                todo="See xbcompute node status; a lead proposes one by explaining its study.",
            )
        asked = known[application]
        body = {key: asked[key] for key in ("study", "purpose", "outputs")}
        approval = parse(Approval, {**body, "roles": [role], "from": window[0], "to": window[1]}, "the approval")
        signed = SignedApproval.sign(
            key=signer.signing_key,
            party=status["party"],
            user=user,
            role=role,
            application=application,
            approval=approval,
        )
        node.approve(signed)
    if as_json:
        print_json({"application": application, "role": role, "approval": signed.plain()})
        return
    console = make_console()
    console.print(f"{status['party']}: {user} approved study '{asked['study']}' as {role}:", markup=False)
    console.print(f"  purpose {asked['purpose']}, outputs {', '.join(asked['outputs'])}", markup=False)
    console.print(f"  by {asked['protocol']}, from {window[0]} until before {window[1]}", markup=False)


def explain_at_node(file: Path, address: str, *, identity: Path, certificate: Path, as_json: bool) -> int:
    """Show the decision of a running node; the exit code of its verdict."""
    from xbcompute.cli.deciding import EXIT
    from xbcompute.cli.render import decision_view
    from xbcompute.client.connect import connect
    from xbcompute.client.study import Study
    from xbcompute.policy.verdict import Verdict

    study = Study.load(file)
    with connect(address, identity=identity, certificate=certificate) as node:
        decision = node.explain(study)
    if as_json:
        print_json(dict(decision))
    else:
        console = make_console()
        console.print(decision_view(decision))
        console.print(f"application {decision['application']}", markup=False)
    return EXIT[Verdict(decision.verdict)]


def run_study(file: Path, address: str, *, identity: Path, certificate: Path, out: Path | None, as_json: bool) -> None:
    """Run a study through your party's node and print, or save, what came back."""
    from xbcompute.cli.progress import live_progress
    from xbcompute.cli.render import run_view
    from xbcompute.client.connect import connect
    from xbcompute.client.study import Study

    study = Study.load(file)
    with (
        connect(address, identity=identity, certificate=certificate) as node,
        live_progress(quiet=as_json) as progress,
    ):
        run = node.run(study, progress=progress)
    if out is not None:
        run.save(out)
    if as_json:
        print_json(run.to_dict())
    else:
        console = make_console()
        console.print(run_view(run, console.width))
