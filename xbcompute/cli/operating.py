"""Commands for those who run a real node: identities, pack signatures, serving, asking, running studies through it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xbcompute.cli.output import JsonFlag, ending

node = typer.Typer(help="A party's own node.", no_args_is_help=True)
keys = typer.Typer(help="Identities: a certificate, its TLS key and a signing key.", no_args_is_help=True)

IdentityFile = Annotated[Path, typer.Option("--identity", help="Your identity file.")]
NodeCertificate = Annotated[Path, typer.Option("--certificate", help="The node's certificate, which is pinned.")]


@keys.command("new")
def keys_new(
    *,
    out: Annotated[Path, typer.Argument(help="The identity file to make; its certificate goes beside it as .crt.")],
    federation: Annotated[str, typer.Option(help="The federation's id.")],
    name: Annotated[str, typer.Option(help="The party's id, or for one of its people PARTY.NAME.")],
    dns: Annotated[str, typer.Option(help="The DNS name in the certificate.")] = "localhost",
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until it expires.")] = 365,
    as_json: JsonFlag = False,
) -> None:
    """Make an identity for a node or a user."""
    from xbcompute.cli.serving import new_identity

    with ending(as_json):
        new_identity(out, federation=federation, name=name, dns=dns, days=days, as_json=as_json)


def policy_sign(
    packs: Annotated[list[str], typer.Argument(help="Pack ids, or paths of pack files.")],
    identity: IdentityFile,
    party: Annotated[str, typer.Option(help="Whose signature it is.")],
    as_json: JsonFlag = False,
) -> None:
    """Sign policy packs for your party; prints the pack entries for federation.toml."""
    from xbcompute.cli.serving import sign_packs

    with ending(as_json):
        sign_packs(packs, identity=identity, party=party, beside=Path(), as_json=as_json)


@node.command("serve")
def node_serve(
    folder: Annotated[Path, typer.Argument(help="The node's folder: site.toml, federation.toml, identity.pem.")],
    listen: Annotated[str | None, typer.Option(help="host:port to listen on; without it the node only dials.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a party's node until it is told to stop."""
    from xbcompute.cli.serving import serve_node

    with ending(as_json):
        serve_node(folder, listen=listen, as_json=as_json)


@node.command("status")
def node_status(
    address: Annotated[str, typer.Argument(help="host:port of the node.")],
    identity: IdentityFile,
    certificate: NodeCertificate,
    as_json: JsonFlag = False,
) -> None:
    """Ask a node for its links, sessions and ledger head."""
    from xbcompute.cli.serving import node_status as show

    with ending(as_json):
        show(address, identity=identity, certificate=certificate, as_json=as_json)


def study_run(
    *,
    file: Annotated[Path, typer.Argument(help="study.toml, or a folder that has one.")],
    address: Annotated[str, typer.Option("--node", help="host:port of your party's node.")],
    identity: IdentityFile,
    certificate: NodeCertificate,
    out: Annotated[Path | None, typer.Option(help="Save what comes back as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Run a study through your party's node."""
    from xbcompute.cli.serving import run_study

    with ending(as_json):
        run_study(file, address, identity=identity, certificate=certificate, out=out, as_json=as_json)


def explain_study(
    file: Annotated[Path, typer.Argument(help="study.toml, or a folder that has one.")],
    address: Annotated[str, typer.Option("--node", help="host:port of the lead's node, which is yours.")],
    identity: IdentityFile,
    certificate: NodeCertificate,
    as_json: JsonFlag = False,
) -> None:
    """The decision on a study from your running node; every party's node then knows the application."""
    from xbcompute.cli.serving import explain_at_node

    with ending(as_json):
        raise typer.Exit(explain_at_node(file, address, identity=identity, certificate=certificate, as_json=as_json))


def approve_application(
    *,
    application: Annotated[str, typer.Argument(help="The application's digest, as node status shows it.")],
    address: Annotated[str, typer.Option("--node", help="host:port of your party's node.")],
    identity: IdentityFile,
    certificate: NodeCertificate,
    user: Annotated[str, typer.Option(help="Your id under [[user]] in site.toml.")],
    role: Annotated[str, typer.Option(help="The role you sign in: DS, DPO, EC-IRB, LG, XC, CP, EX.")],
    start: Annotated[str, typer.Option("--from", help="First moment it holds, ISO 8601.")],
    end: Annotated[str, typer.Option("--to", help="First moment it no longer holds.")],
    as_json: JsonFlag = False,
) -> None:
    """Approve a study in one role: sign its application and hand the signature to your node."""
    from xbcompute.cli.serving import approve

    with ending(as_json):
        approve(
            application,
            address,
            identity=identity,
            certificate=certificate,
            user=user,
            role=role,
            window=(start, end),
            as_json=as_json,
        )


def add_to(app: typer.Typer, *, policy: typer.Typer, study: typer.Typer) -> None:
    """Add these commands to the command line and its groups."""
    app.add_typer(node, name="node")
    app.add_typer(keys, name="keys")
    policy.command("sign")(policy_sign)
    study.command("run")(study_run)
    study.command("explain")(explain_study)
    app.command("approve")(approve_application)
