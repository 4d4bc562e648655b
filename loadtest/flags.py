"""The flags that the load test adds to locust's own, and the run that they describe."""

import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

from loadtest.cluster import Cluster
from loadtest.edge import Edge, read_address, trust
from loadtest.meters import Meter
from loadtest.rules import Folder, InCluster, RulePlace
from loadtest.shapes import SHAPES
from loadtest.targets import Targets, TargetsError, read_targets
from loadtest.users import Run

TARGETS: Final = Path(__file__).with_name("targets.toml")


class FlagError(ValueError):
    """Flags that do not fit; the message says which, and what to do."""


def add_flags(parser: Any) -> None:
    """Adds them; each is also a variable, --fail-p99 is LOADTEST_FAIL_P99."""
    group = parser.add_argument_group("load test of an edge")

    def add(flag: str, **words: Any) -> None:
        variable = "LOADTEST_" + flag.removeprefix("--").replace("-", "_").upper()
        group.add_argument(flag, env_var=variable, **words)

    add("--targets", default=str(TARGETS), help="TOML file with hosts, paths and right answers")
    add("--https-address", default=None, help="address of HTTPS; without it, --host's, port 443")
    add("--edge-file", default=None, help="file with two lines, the addresses of HTTP and HTTPS, "
        "read for each new connection: for an edge that is replaced by one elsewhere")  # fmt: skip
    add("--ca", default=None, help="PEM file of the authorities that HTTPS is checked by")
    add("--insecure", action="store_true", help="do not check certificates")
    add("--shape", choices=SHAPES, default=None, help="how the number of users changes until "
        "--run-time; without it, --spawn-rate does")  # fmt: skip
    add("--rate-per-user", type=float, default=5.0, help="requests a second of each user, at most; "
        "0 for as fast as answers come")  # fmt: skip
    add("--fail-ratio", type=float, default=0.0, help="part of the requests that may fail before "
        "the exit code is 1 (0.01 is one of a hundred)")  # fmt: skip
    add("--fail-p99", type=float, default=None, help="p99 in milliseconds above which the exit "
        "code is 1")  # fmt: skip
    add("--stall-limit", type=float, default=15.0, help="seconds within which the edge gives up a "
        "client that stopped in the middle of a head")  # fmt: skip
    add("--rules-folder", default=None, help="folder of manifests that the edge watches: turns on "
        "the scenario `rules`")  # fmt: skip
    add("--rules-in-cluster", action="store_true", help="turns on the scenario `rules`, with "
        "Ingresses in the cluster of kubectl (in a Pod: of its ServiceAccount)")  # fmt: skip
    add("--rule-deadline", type=float, default=1.0, help="seconds within which a changed rule is "
        "served")  # fmt: skip
    add("--rule-users", type=int, default=1, help="how many rules change at the same time")
    add("--rolling-command", default=None, help="command that replaces the edge: turns on the "
        "scenario `rolling`")  # fmt: skip
    add("--rolling-deployment", default=None, help="NAMESPACE/NAME of a Deployment to restart: "
        "turns on the scenario `rolling`")  # fmt: skip
    add("--rolling-every", type=float, default=30.0, help="seconds between two replacements")
    add("--kubeconfig", default=None, help="of kubectl, for what is changed in a cluster")
    add("--context", default=None, help="of the kubeconfig")


def described(options: Namespace, files: Path) -> Run:
    """The run that the flags describe.

    Args:
        options: parsed flags.
        files: a folder that only this user can enter.

    Raises:
        FlagError, EdgeError, ApiError: they cannot be used.
    """
    if not options.host:
        raise FlagError("--host is missing: the edge's address, such as http://10.0.0.1")
    if options.ca and options.insecure:
        raise FlagError("--ca and --insecure contradict each other; give one of them")
    if options.rolling_command and options.rolling_deployment:
        raise FlagError("--rolling-command and --rolling-deployment: give one of them")
    if options.rules_folder and options.rules_in_cluster:
        raise FlagError("--rules-folder and --rules-in-cluster: give one of them")
    http = read_address(options.host, "http")
    plain = options.host.partition("://")[0]
    if plain == "https":
        raise FlagError("--host is the address of HTTP; give that of HTTPS by --https-address")
    https = (
        read_address(options.https_address, "https")
        if options.https_address
        else http._replace(port=443)
    )
    targets = _read(Path(options.targets))
    return Run(
        edge=Edge(
            http,
            https,
            trust(options.ca, insecure=options.insecure),
            Path(options.edge_file) if options.edge_file else None,
        ),
        targets=targets,
        meter=Meter(),
        rate=options.rate_per_user,
        place=_place(options, targets, files),
        rule_deadline=options.rule_deadline,
        stall_limit=options.stall_limit,
        roll=shlex.split(options.rolling_command or ""),
        deployment=_deployment(options.rolling_deployment),
        roll_every=options.rolling_every,
        kubeconfig=options.kubeconfig,
        context=options.context,
        files=files,
    )


def _read(file: Path) -> Targets:
    try:
        return read_targets(file.read_text())
    except OSError as error:
        raise FlagError(f"--targets {file}: {error.strerror}") from None
    except TargetsError as error:
        raise FlagError(f"--targets {file}: {error}") from None


def _place(options: Namespace, targets: Targets, files: Path) -> RulePlace | None:
    if targets.rules is None:
        return None
    if options.rules_folder:
        if not Path(options.rules_folder).is_dir():
            raise FlagError(f"--rules-folder {options.rules_folder}: this is no folder")
        return Folder(Path(options.rules_folder), targets.rules)
    if options.master or not options.rules_in_cluster:
        return None  # users, and with them changes of rules, are in the workers alone
    return InCluster(
        Cluster(options.kubeconfig, options.context, files / "rules.socket"), targets.rules
    )


def _deployment(text: str | None) -> tuple[str, str] | None:
    if not text:
        return None
    namespace, _, name = text.partition("/")
    if not namespace or not name:
        raise FlagError(f"--rolling-deployment {text}: this is not NAMESPACE/NAME")
    return namespace, name
