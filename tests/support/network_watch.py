"""Runs a command where every packet that would leave the machine is seen.

    python network_watch.py REPORT.json COMMAND…

The command gets a network namespace of its own in which every address, not only
loopback's, leads back to the loopback interface, and a mount namespace in which names
are asked for by DNS alone, of an address outside: no `/etc/hosts` but for localhost, no
nscd, no systemd-resolved, which would ask on its behalf over a Unix socket.  So C++
libraries can't hide what they do, a look-up of the machine's own name shows too, and
nothing that is tried leaves.

The report is a list of what was sent outside loopback, such as
"192.0.2.53:53 UDP example.com".  Exits with 77 where namespaces are not allowed, else
with the command's code.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path

NOT_ALLOWED = 77
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_LIBC = ctypes.CDLL(None, use_errno=True)

_FILES = {
    "/etc/resolv.conf": "nameserver 192.0.2.53\noptions timeout:1 attempts:1\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_HIDDEN = ("/run/nscd", "/var/run/nscd", "/run/systemd/resolve")


def main(report: str, *command: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        try:
            _unshare()
            _hide_resolvers(Path(folder))
            _route_everything_to_loopback()
            watching = _Watch()
        except OSError as e:
            print(f"Namespaces are not allowed here: {e}", file=sys.stderr)
            return NOT_ALLOWED
        die_with_me = partial(_LIBC.prctl, 1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        code = subprocess.run(command, preexec_fn=die_with_me).returncode
        Path(report).write_text(json.dumps(watching.stop()))
    return code


def _unshare() -> None:
    user, group = os.getuid(), os.getgid()
    flags = _CLONE_NEWNS | _CLONE_NEWNET
    if user != 0:
        flags |= _CLONE_NEWUSER
    _check(_LIBC.unshare(flags))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _check(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


def _hide_resolvers(folder: Path) -> None:
    for path, content in _FILES.items():
        mine = folder / Path(path).name
        mine.write_text(content)
        _check(_LIBC.mount(bytes(mine), os.path.realpath(path).encode(), None, _MS_BIND, None))
    (folder / "empty").mkdir()
    for hidden in filter(os.path.isdir, _HIDDEN):
        _check(_LIBC.mount(bytes(folder / "empty"), hidden.encode(), None, _MS_BIND, None))


def _route_everything_to_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        up = struct.pack("16sH14x", b"lo", 0x1 | 0x40)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(s, 0x8914, up)  # SIOCSIFFLAGS
    _add_local_default(socket.AF_INET)
    with contextlib.suppress(OSError):  # a kernel without version 6
        _add_local_default(socket.AF_INET6)


def _add_local_default(family: int) -> None:
    """`ip route add local default dev lo`, without needing `ip`."""
    # struct rtmsg: no prefix, table local, protocol boot, scope host, type local.
    route = struct.pack("BBBBBBBBI", family, 0, 0, 0, 255, 3, 254, 2, 0)
    route += struct.pack("HHI", 8, 4, socket.if_nametoindex("lo"))  # RTA_OIF
    # struct nlmsghdr: RTM_NEWROUTE; request, acknowledge, exclusive, create.
    header = struct.pack("IHHII", 16 + len(route), 24, 0x1 | 0x4 | 0x200 | 0x400, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as s:
        s.bind((0, 0))
        s.send(header + route)
        (error,) = struct.unpack_from("i", s.recv(4096), 16)
    if error:
        raise OSError(-error, os.strerror(-error))


class _Watch:
    """Listens on the loopback interface for packets to other addresses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        self._filter()
        self._socket.bind(("lo", 3))  # ETH_P_ALL
        self._socket.settimeout(0.2)
        self._seen: dict[str, None] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def stop(self) -> list[str]:
        self._over.set()
        self._thread.join()
        return list(self._seen)

    def _listen(self) -> None:
        while True:
            try:
                packet = self._socket.recv(2048)
            except TimeoutError:
                if self._over.is_set():
                    return
                continue
            if (line := describe(packet)) is not None:
                self._seen.setdefault(line)

    def _filter(self) -> None:
        """Only what is not for 127.0.0.0/8 or ::1, so that a busy loopback drops nothing."""
        program = [
            (0x30, 0, 0, 0),  # A = first byte: the version
            (0x54, 0, 0, 0xF0),
            (0x15, 0, 2, 0x40),  # 4?
            (0x30, 0, 0, 16),  # A = first byte of the destination
            (0x15, 3, 2, 127),
            (0x30, 0, 0, 24),  # the same of version 6; of ::1 it is 0
            (0x15, 1, 0, 0),
            (0x06, 0, 0, 0xFFFF),  # taken
            (0x06, 0, 0, 0),  # left
        ]
        code = b"".join(struct.pack("HBBI", *line) for line in program)
        buffer = ctypes.create_string_buffer(code)
        pointer = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
        self._socket.setsockopt(socket.SOL_SOCKET, 26, pointer)  # SO_ATTACH_FILTER


def describe(packet: bytes) -> str | None:
    """Where an IP packet goes and the name it asks for; None: it only answers another."""
    if packet[0] >> 4 == 4:
        protocol, rest = packet[9], packet[(packet[0] & 15) * 4 :]
        host = socket.inet_ntop(socket.AF_INET, packet[16:20])
    else:
        protocol, rest = packet[6], packet[40:]
        host = f"[{socket.inet_ntop(socket.AF_INET6, packet[24:40])}]"
    port = int.from_bytes(rest[2:4])
    match protocol:
        case 6:
            begins = rest[13] & 0x12 == 0x02  # SYN without ACK
            return f"{host}:{port} TCP" if begins else None
        case 17:
            return f"{host}:{port} UDP" + (f" {_question(rest[20:])}" if port == 53 else "")
        case 1 | 58:  # ICMP: nobody is there
            return None
        case _:
            return f"{host} protocol {protocol}"


def _question(labels: bytes) -> str:
    parts = []
    while labels and labels[0]:
        parts.append(labels[1 : 1 + labels[0]].decode("ascii", "replace"))
        labels = labels[1 + labels[0] :]
    return ".".join(parts)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
