"""Hosts for tests: machines of their own, as far as Ray, SSH and a file system can tell.

Each host has its own processes, network, host name, /tmp, /var/tmp, /run, /dev/shm and home
folder, and an SSH server on port 22. It shares with the others what is installed on this
machine: the same interpreter and the same checkout. So a host sees no file that another one
writes, but for the folders that are named as `shared`, which lie at the same path everywhere.

    hosts.require()
    with hosts.network("laptop", "head", "worker") as (laptop, head, worker):
        laptop.run("ssh", "-i", hosts.KEY, f"root@{head.ip}", "hostname")
        (head.home / "note").write_text("…")         # the head's ~/note, seen from outside
        head.run("raysched", "status")               # the checkout's own raysched
        worker.cut()                                 # its cable is drawn …
        worker.mend()                                # … and put back

The first host holds the SSH key that all of them accept; its path there is `KEY`. A network
has no way to the outside. `run` gives back a CompletedProcess; if the command fails it raises
`Failed`, which shows all that it wrote. Nothing outlives the `with`. If the test itself is
killed no process is left either: the first one of a host dies with its maker, and the host
with it.

Only root can make hosts. `require()` skips a test where something is missing; in CI it fails.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
HOME = "/srv"  # every system has it and none needs it: each host hides it below a home of its own
KEY = f"{HOME}/.ssh/id_ed25519"
_PROGRAMS = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "rsync": "rsync"}
_PROGRAMS |= {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PATH = f"{Path(sys.prefix) / 'bin'}:{_SBIN}"
_ENVIRONMENT = {"HOME": HOME, "USER": "root", "PATH": _PATH, "LANG": "C.UTF-8", "TERM": "dumb"}
_GATEWAY = "10.99.0.254"

# The first process of a host: it hides what is to be the host's own, and reaps what loses
# its parent, as the daemons of Ray do.
_INIT = """
set -eu
base=$1; shift
hostname "$(basename "$base")"
for path in "$@"; do  # what stays visible, should it lie below a folder that is hidden next
    mkdir -p "$base/root$path"
    mount --rbind "$path" "$base/root$path"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd /run/host
mount --bind "$base/etc" /run/host
mount --bind /run/host/passwd /etc/passwd
mount --bind /run/host/hosts /etc/hosts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount --rbind "$base/root/srv" /srv
mount --rbind "$base/root/var/tmp" /var/tmp
mount --rbind "$base/root/tmp" /tmp  # last: the base itself may lie here
ip link set lo up
echo mounted
read -r _
"$(command -v sshd)" -D -e -f /run/host/sshd_config 2>/run/host/sshd.log &
until (exec 3<>/dev/tcp/127.0.0.1/22) 2>/dev/null; do sleep 0.02; done
echo ready
wait
"""
_SSHD = """
Port 22
HostKey /run/host/host_key
AuthorizedKeysFile /run/host/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
Subsystem sftp internal-sftp
"""


class Failed(AssertionError):
    """A command failed on a host; the text shows what it wrote."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """One machine of a network."""

    name: str
    ip: str
    base: Path
    pid: int
    """Its first process, as this machine numbers it."""
    switch: int
    """The process that holds the network between the hosts."""

    @property
    def home(self) -> Path:
        """The host's `~`, as it is seen from outside."""
        return self.base / "root" / HOME.removeprefix("/")

    @property
    def tmp(self) -> Path:
        """The host's /tmp, as it is seen from outside."""
        return self.base / "root" / "tmp"

    def run(
        self,
        *command: str,
        timeout_s: float = 90,
        check: bool = True,
        env: dict[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the host's user, in the home folder.

        Raises:
            Failed: its exit code is not 0 and `check` holds, or it takes too long.
        """
        process = self.popen(*command, env=env)
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            process.kill()
            told = b"\n".join(text or b"" for text in (late.stdout, late.stderr)).decode()
            raise Failed(f"{self.name}: {shlex.join(command)} is late\n{told}") from None
        if check and process.returncode:
            words = shlex.join(command)
            raise Failed(f"{self.name}: {words} exits {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def popen(self, *command: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a command, with pipes to it; it ends with this process at the latest."""
        inside = ["setpriv", "--pdeathsig=KILL", "sh", "-c", 'cd && exec "$@"', "sh", *command]
        return subprocess.Popen(
            [*_enter(self.pid, "--mount", "--uts", "--ipc", "--net", "--pid"), *inside],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_ENVIRONMENT | (env or {}),
        )

    def processes(self) -> list[psutil.Process]:
        """The processes of the host, as this machine numbers them, its first one left out."""
        space = os.readlink(f"/proc/{self.pid}/ns/pid")
        return [each for each in psutil.process_iter() if _space(each.pid) == space][1:]

    def cut(self) -> None:
        """Draw its cable: what the others send is lost without a word."""
        _call(*_enter(self.switch, "--net"), "ip", "link", "set", f"to-{self.name}", "down")

    def mend(self) -> None:
        """Put the cable back."""
        _call(*_enter(self.switch, "--net"), "ip", "link", "set", f"to-{self.name}", "up")


@contextmanager
def network(*names: str, shared: Sequence[Path] = ()) -> Iterator[list[Host]]:
    """Have hosts of these names, at most 8 letters each, on one network; end them afterwards."""
    base = Path(tempfile.mkdtemp(prefix="rs-hosts-"))
    try:
        with ExitStack() as ends:
            switch = ends.enter_context(_first_process("--net", "sleep", "infinity"))
            _plug(switch.pid, "ip link add hub type bridge forward_delay 0")
            _plug(switch.pid, f"ip addr add {_GATEWAY}/24 dev hub", "ip link set hub up")
            _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / "key"))
            addresses = {name: f"10.99.0.{number}" for number, name in enumerate(names, 1)}
            found = []
            for name in names:
                _furnish(base, name, addresses, holds_key=name == names[0])
                found.append(ends.enter_context(_host(base / name, addresses, switch.pid, shared)))
            yield found
    finally:
        shutil.rmtree(base, ignore_errors=True)


def require() -> None:
    """Skip the test where hosts cannot be made; in CI that is a failure."""
    missing = [
        f"{program} (package {package})"
        for program, package in _PROGRAMS.items()
        if shutil.which(program, path=_SBIN) is None
    ]
    reason = f"not installed: {', '.join(missing)}" if missing else None
    if os.getuid() != 0:
        reason = "only root can make hosts"
    elif not missing and _call("unshare", "--mount", "--net", "true", check=False):
        reason = "the kernel lets nobody make namespaces here"
    if reason is None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"there are no hosts: {reason}", pytrace=False)
    pytest.skip(f"there are no hosts: {reason}")


def _furnish(base: Path, name: str, addresses: dict[str, str], *, holds_key: bool) -> None:
    root, etc = base / name / "root", base / name / "etc"
    for folder, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("srv/.ssh", 0o700)):
        (root / folder).mkdir(parents=True)
        (root / folder).chmod(mode)
    (root / "srv").chmod(0o700)
    etc.mkdir()
    passwd = Path("/etc/passwd").read_text().splitlines()
    own = ["root:x:0:0:root:/srv:/bin/bash", *(x for x in passwd if not x.startswith("root:"))]
    (etc / "passwd").write_text("\n".join(own) + "\n")
    lines = ["127.0.0.1 localhost", *(f"{ip} {each}" for each, ip in addresses.items())]
    (etc / "hosts").write_text("\n".join(lines) + "\n")
    (etc / "sshd_config").write_text(_SSHD)
    shutil.copy(base / "key.pub", etc / "authorized_keys")
    shutil.copy(base / "key", etc / "host_key")
    if holds_key:
        shutil.copy(base / "key", root / KEY.removeprefix("/"))
    # A login shell begins with the system's PATH; what Ray starts by SSH is to find `ray`.
    (root / "srv" / ".bashrc").write_text(f"export PATH={shlex.quote(_PATH)}\n")


@contextmanager
def _host(
    base: Path, addresses: dict[str, str], switch: int, shared: Sequence[Path]
) -> Iterator[Host]:
    visible = {str(path) for path in (CHECKOUT, sys.prefix, sys.base_prefix, *shared)}
    hidden = [path for path in sorted(visible) if path.startswith(("/tmp/", "/var/tmp/", "/srv/"))]
    spaces = ("--pid", "--mount", "--net", "--uts", "--ipc", "--mount-proc")
    with _first_process(*spaces, "bash", "-c", _INIT, "init", str(base), *hidden) as leader:
        _expect(leader.process, "mounted", base)
        name, ip = base.name, addresses[base.name]
        wire = f"ip link add to-{name} type veth peer name eth0 netns {leader.pid}"
        _plug(switch, wire, f"ip link set to-{name} master hub up")
        up = ("ip link set eth0 up", f"ip route add default via {_GATEWAY}")
        _plug(leader.pid, f"ip addr add {ip}/24 dev eth0", *up)
        assert leader.process.stdin is not None
        leader.process.stdin.write("plugged in\n")
        leader.process.stdin.flush()
        _expect(leader.process, "ready", base)
        yield Host(name=name, ip=ip, base=base, pid=leader.pid, switch=switch)


@dataclass(frozen=True)
class _Leader:
    process: subprocess.Popen[str]
    pid: int


@contextmanager
def _first_process(*command: str) -> Iterator[_Leader]:
    """Run `unshare` with these words; when its child dies, all that lives in its spaces dies."""
    spaces = [word for word in command if word.startswith("--")]
    rest = list(command[len(spaces) :])
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--kill-child", *spaces, *rest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_ENVIRONMENT,
    )
    child: psutil.Process | None = None
    try:
        # The child is there once unshare has made the spaces, which enter by its number. While
        # it becomes the program it has no command line.
        while child is None or not "".join(child.cmdline()[:1]).endswith(rest[0]):
            assert process.poll() is None, process.communicate()[0]
            child = next(iter(psutil.Process(process.pid).children()), None)
        yield _Leader(process, child.pid)
    finally:
        if child is not None:
            child.kill()
        process.kill()
        process.communicate()


def _expect(process: subprocess.Popen[str], word: str, base: Path) -> None:
    assert process.stdout is not None
    told = process.stdout.readline()
    if told.strip() != word:
        log = base / "etc" / "sshd.log"
        rest = process.communicate()[0] if process.poll() is not None else ""
        raise Failed(f"{base.name}: {told}{rest}{log.read_text() if log.exists() else ''}")


def _space(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return None


def _enter(pid: int, *spaces: str) -> list[str]:
    return ["nsenter", f"--target={pid}", *spaces, "--"]


def _plug(pid: int, *lines: str) -> None:
    for line in lines:
        _call(*_enter(pid, "--net"), *line.split())


def _call(*command: str, check: bool = True) -> int:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_ENVIRONMENT)
    if check and done.returncode:
        raise Failed(f"{shlex.join(command)}: {done.stdout}{done.stderr}")
    return done.returncode
