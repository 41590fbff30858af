#!/usr/bin/env python3
"""Measures what connections, rooms, backlogs, handshakes and scrapes cost a server: the figures of "Sizing" in
packaging/OPERATIONS.md.

    benches/sizing.py target/release/roomcast [KIND ...]

Each kind is measured on a server of its own on this machine. Memory is the growth of the server's resident memory, after
as many connections as are measured have come and the growth has stopped; kernel memory is the growth of the slab caches,
halved, because the clients' sockets are on this machine, too. CPU time is the server's alone. Only openssl and Python are needed.
"""

import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

QUIET = 5_000  # connections of each kind; each also takes a descriptor of this program
FOLDER = tempfile.mkdtemp(prefix="roomcast-sizing-")


class Server:
    """A server without rates, so that no budget delays the measurement."""

    def __init__(self, listener, *arguments):
        command = [BINARY, "--listen", listener, "--rate", "0", "--byte-rate", "0", "--metrics", "127.0.0.1:0",
                   "--stall-timeout", "0", "--dead-timeout", "0", "--login-timeout", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines = [self.process.stdout.readline() for _ in range(2)]
        urls = [line.split(" listening on ")[1].strip() for line in lines]
        self.port = int(urls[0].rsplit(":", 1)[1])
        self.metrics_url = urls[1]

    def resident(self):
        """Resident memory in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))

    def settled(self):
        """Resident memory once the allocator has returned what it does not need."""
        before = self.resident()
        for _ in range(20):
            time.sleep(3)
            now = self.resident()
            if abs(now - before) < before // 200:
                break
            before = now
        return now

    def cpu(self):
        """CPU time in seconds."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def scrape(self):
        return urllib.request.urlopen(self.metrics_url).read().decode()

    def metric(self, start):
        return sum(float(line.split()[-1]) for line in self.scrape().splitlines() if line.startswith(start))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def stop(self):
        self.process.kill()
        self.process.wait()


def slab():
    """The kernel's slab caches in bytes: sockets, files, directory entries."""
    with open("/proc/meminfo") as meminfo:
        return next(int(line.split()[1]) << 10 for line in meminfo if line.startswith("Slab:"))


def tcp_memory():
    """The bytes that all TCP sockets of the machine have in buffers."""
    with open("/proc/net/sockstat") as sockstat:
        words = next(line.split() for line in sockstat if line.startswith("TCP:"))
    return int(words[words.index("mem") + 1]) << 12


def discard(clients):
    for client in clients:
        client.setblocking(False)
        try:
            while client.recv(65536):
                pass
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        client.setblocking(True)


def plain(server, number, room):
    client = server.connect()
    client.sendall(f"JOIN {room} m{number}\n".encode())
    return client


def telnet(server, number, room):
    """Agrees to each option but the terminal's type, and tells a window of 80 by 24."""
    client, asked, seen = server.connect(), b"", b""
    while len(asked) < 15:
        asked += client.recv(15 - len(asked))
    # The terminal's type is refused: it would be asked for once more.
    agreed = {251: 253, 253: 251}
    replies = b"".join(bytes([255, 252 if asked[at + 2] == 24 else agreed[asked[at + 1]], asked[at + 2]])
                       for at in range(0, 15, 3))
    window = b"\xff\xfa\x1f\0\x50\0\x18\xff\xf0"
    client.sendall(replies + window + f"JOIN {room} m{number}\r\n".encode())
    while f"{room}> ".encode() not in seen:
        seen += client.recv(4096)
    return client


def tls(server, number, room):
    client = CONTEXT.wrap_socket(server.connect())
    client.sendall(f"JOIN {room} m{number}\n".encode())
    return client


def quiet(kind, listener, join, per_room, *arguments):
    """Memory of a quiet member in rooms of `per_room`."""
    server = Server(listener, *arguments)
    clients = [join(server, number, f"r{number // per_room}") for number in range(QUIET)]
    time.sleep(1)
    discard(clients)
    resident, kernel = server.settled(), slab()
    cpu = server.cpu()
    clients += [join(server, number, f"r{number // per_room}") for number in range(QUIET, 2 * QUIET)]
    time.sleep(1)
    discard(clients)
    cpu = server.cpu() - cpu
    grown, kernel = server.settled() - resident, slab() - kernel
    print(f"{kind}: {grown / QUIET / 1024:.2f} KiB a member, kernel {kernel / QUIET / 2048:.1f} KiB, "
          f"{cpu / QUIET * 1e6:.0f} µs of CPU to connect and join", flush=True)
    if kind == "plain":
        cpu = server.cpu()
        for _ in range(200):
            size = len(server.scrape())
        print(f"scrape with {2 * QUIET} connections: {(server.cpu() - cpu) / 200 * 1e6:.0f} µs of CPU, {size} bytes")
    server.stop()


def history():
    """Memory of a room whose history is full: 100 lines of 650 bytes."""
    server, rooms = Server("tcp://127.0.0.1:0"), 1000
    clients = [plain(server, number, f"r{number}") for number in range(rooms)]
    time.sleep(1)
    before = server.settled()
    for client in clients:
        client.sendall((b"x" * 650 + b"\n") * 100)
        discard([client])
    time.sleep(1)
    discard(clients)
    print(f"history of 64 KiB: {(server.settled() - before) / rooms / 1024:.1f} KiB a room", flush=True)
    server.stop()


def backlog(kind, readers, rooms):
    """Memory of a member that reads nothing while its room sends 4 MiB."""
    server = Server("tcp://127.0.0.1:0", "--history", "0")
    stopped = [plain(server, number, f"r{number % rooms}") for number in range(readers)]
    senders = [plain(server, f"s{number}", f"r{number}") for number in range(rooms)]
    time.sleep(1)
    before, kernel = server.settled(), tcp_memory()
    for sender in senders:
        for _ in range(4 << 10):
            sender.sendall(b"x" * 1000 + b"\n")
            discard([sender])
    time.sleep(2)
    discard(senders)
    grown, kernel = server.settled() - before, tcp_memory() - kernel
    charged = server.metric("roomcast_memory_bytes")
    print(f"{kind}: {grown / readers / 1024:.0f} KiB a member, kernel {kernel / readers / 1024:.0f} KiB (both ends), "
          f"{charged / readers / 1024:.0f} KiB charged to --memory", flush=True)
    server.stop()


BINARY, WANTED = sys.argv[1], sys.argv[2:]
CERTIFICATE, KEY = f"{FOLDER}/chain.pem", f"{FOLDER}/key.pem"
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-keyout", KEY, "-out", CERTIFICATE], check=True, stderr=subprocess.DEVNULL)
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname, CONTEXT.verify_mode = False, ssl.CERT_NONE
KINDS = {
    "plain": lambda: quiet("plain", "tcp://127.0.0.1:0", plain, 10),
    "rooms": lambda: quiet("plain, each in a room of its own", "tcp://127.0.0.1:0", plain, 1),
    "telnet": lambda: quiet("telnet, input line on", "telnet://127.0.0.1:0", telnet, 10),
    "tls": lambda: quiet("tls", "tls://127.0.0.1:0", tls, 10, "--tls-cert", CERTIFICATE, "--tls-key", KEY),
    "history": history,
    "backlog": lambda: backlog("full backlog, all in one room", 200, 1),
    "backlogs": lambda: backlog("full backlog, each in a room of its own", 200, 200),
}
for name in WANTED or KINDS:
    KINDS[name]()
