"""Two network namespaces as two machines: a training over a link of 1 Gbit/s, and what goes over the wire.

    sudo python benchmarks/two_nodes.py [--variant gan] [--steps N] [--kill] [--json FILE] [-- OPTIONS]

torchrun starts one process in each, joined by a rendezvous; `tc` holds the link to its rate. The bytes that one sends
in a step are told beside those of the gradients: in a ring of two each sends every gradient once. With ``--kill`` the
second machine's process is killed half-way, and the end is compared with that of a run that nobody disturbed, byte for
byte. Needs root, `ip` and `tc`; nothing outside of the namespaces is touched.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import gankit
from gankit.bench import append
from gankit.bench.run import machine
from gankit.runs.directory import RunDir

NODES = {"gankit1": "10.77.0.1", "gankit2": "10.77.0.2"}
LINK = "wire"
ENDPOINT = f"{NODES['gankit1']}:29400"


def call(command: str) -> None:
    subprocess.run(command.split(), check=True)


@contextmanager
def link(rate: str) -> Iterator[None]:
    """Both namespaces, joined by a link of that rate."""
    first, second = NODES
    for node in NODES:
        call(f"ip netns add {node}")
    try:
        call(f"ip link add name {LINK} netns {first} type veth peer name {LINK} netns {second}")
        for node, address in NODES.items():
            call(f"ip -n {node} addr add {address}/24 dev {LINK}")
            call(f"ip -n {node} link set {LINK} up")
            call(f"ip -n {node} link set lo up")
            call(f"ip netns exec {node} tc qdisc add dev {LINK} root tbf rate {rate} burst 1mb latency 50ms")
        yield
    finally:
        for node in NODES:
            subprocess.run(["ip", "netns", "del", node], check=False)


def sent(node: str) -> int:
    """Bytes that have left it so far."""
    found = subprocess.run(
        ["ip", "-n", node, "-s", "-j", "link", "show", LINK], check=True, capture_output=True, text=True
    )
    return int(json.loads(found.stdout)[0]["stats64"]["tx"]["bytes"])


def start(node: str, out: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    address = NODES[node]
    launch = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", ENDPOINT]
    launch += ["--rdzv-id", out.name, "--max-restarts", "9", "--local-addr", address, "--monitor-interval", "0.2"]
    if node == "gankit1":
        launch += ["--rdzv-conf", "is_host=1"]
    command = ["ip", "netns", "exec", node, sys.executable, "-m", "torch.distributed.run", *launch]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": LINK}
    log = (out.parent / f"{out.name}-{node}.log").open("wb")
    return subprocess.Popen(
        [*command, "-m", "gankit", "run", *arguments, "--out", str(out)], env=environment, stdout=log, stderr=log
    )


def worker(process: subprocess.Popen[bytes]) -> int:
    """The process that torchrun has started."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(found[-1])


def latest(out: Path) -> int:
    """Steps that are saved."""
    found = [int(name[5:]) for run in out.glob("*/*") for name in RunDir(run).checkpoints()]
    return max(found, default=-1)


def train(out: Path, arguments: list[str], steps: int, *, kill: bool) -> dict[str, Any]:
    """One training; bytes that each node sent in a step of its second half, and the seconds of one."""
    processes = {node: start(node, out, arguments) for node in NODES}
    first, second = processes.values()
    begun: dict[str, Any] = {}
    killed = 0
    while any(process.poll() is None for process in processes.values()):
        time.sleep(0.02)
        done = latest(out)
        if not begun and done >= steps // 2:
            begun = {"at": done, "time": time.perf_counter(), "sent": {node: sent(node) for node in NODES}}
        if kill and not killed and done >= steps // 2 and second.poll() is None:
            killed = worker(second)
            os.kill(killed, signal.SIGKILL)
        if begun and done == steps and "steps" not in begun:
            begun["steps"] = steps - begun["at"]
            begun["seconds"] = (time.perf_counter() - begun["time"]) / begun["steps"]
            begun["bytes"] = {node: (sent(node) - begun["sent"][node]) / begun["steps"] for node in NODES}
    if first.returncode:
        raise SystemExit(f"the training failed: see {out.parent}/{out.name}-*.log")
    return begun


def final(out: Path, steps: int) -> dict[str, bytes]:
    (run,) = out.glob("*/*")
    folder = run / "checkpoints" / f"step-{steps:06d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", default="gan")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", default="1gbit")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("options", nargs="*")
    given = parser.parse_args()
    steps = given.steps
    every = max(1, steps // 10)
    arguments = [given.variant, "--device", "cpu", "--steps", str(steps), "--checkpoint-every", str(every)]
    arguments += ["--sample-every", "0", "--eval-every", "0", *given.options]
    place = Path(tempfile.mkdtemp(prefix="two-nodes-"))
    with link(given.rate):
        whole = train(place / "whole", arguments, steps, kill=False)
        same = None
        if given.kill:
            train(place / "killed", arguments, steps, kill=True)
            same = final(place / "killed", steps) == final(place / "whole", steps)
    (path,) = (place / "whole").glob("*/*")
    run = gankit.open_run(path)
    gradients = {
        phase.name: sum(p.numel() for name in phase.updates for p in run.networks("latest")[name].parameters())
        for phase in run.variant.phases()
    }
    row = {
        "bench": "two nodes",
        "variant": given.variant,
        "options": given.options,
        "rate": given.rate,
        "gradient_bytes": 4 * sum(gradients.values()),
        "sent_bytes": {node: round(count) for node, count in whole["bytes"].items()},
        "step_ms": round(whole["seconds"] * 1e3, 3),
        "steps": whole["steps"],
        "same_after_a_kill": same,
        **machine(torch.device("cpu")),
    }
    print(json.dumps(row, indent=1))
    append(row, given.json)
    if same is False:
        raise SystemExit("the run that lost a process ended elsewhere")


if __name__ == "__main__":
    main()
