"""A TCP proxy on loopback that makes the faults of a network on demand, for any protocol, and answers HTTP itself.

`python -m tests.proxy HOST PORT` prints its own port and relays until its standard input ends.
"""

import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 64 << 10
_VERBS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ")

SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def http_answer(status: str, body: str, kind: str = "application/xml") -> bytes:
    """A whole answer, after which the connection closes."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return f"{head}{body}".encode()


@dataclass
class _Fault:
    times: int
    after: int = 0
    answer: bytes = b""
    wanted: Callable[[bytes], bool] = field(default=lambda _: True)
    silent: bool = False


class Proxy:
    """Relays what it accepts on `port`. Every fault is made `times` times, then the traffic passes.

    `made` counts the faults made so far and `connections` what was accepted.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = self.made = 0
        self._guard = threading.Lock()
        self._faults: dict[str, _Fault] = {}
        self._open: set[socket.socket] = set()
        self._delay, self._ended = 0.0, threading.Event()
        self._rewritten = (b"", b"")
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self, times: int = 1) -> None:
        """Reset new connections at once."""
        self._faults["refuse"] = _Fault(times)

    def stall(self, times: int = 1) -> None:
        """Accept connections and never answer."""
        self._faults["stall"] = _Fault(times)

    def cut_answers(self, after: int, times: int = 1) -> None:
        """Reset a connection after so many bytes to the client, counted from now or from its start."""
        self._faults["down"] = _Fault(times, after)

    def cut_requests(self, after: int, times: int = 1) -> None:
        """Reset a connection after so many bytes from the client, counted from now or from its start."""
        self._faults["up"] = _Fault(times, after)

    def silence_answers(self, after: int, times: int = 1) -> None:
        """Keep a connection open but pass no more to the client after so many bytes, counted as above."""
        self._faults["down"] = _Fault(times, after, silent=True)

    def silence_requests(self, after: int, times: int = 1) -> None:
        """Keep a connection open but pass no more from the client after so many bytes, counted as above."""
        self._faults["up"] = _Fault(times, after, silent=True)

    def answer(self, answer: bytes, times: int = 1, wanted: Callable[[bytes], bool] = lambda _: True) -> None:
        """Answer HTTP requests, of those whose first bytes are `wanted`, in place of the server."""
        self._faults["answer"] = _Fault(times, answer=answer, wanted=wanted)

    def delay(self, seconds: float) -> None:
        """Hold everything that is relayed back for so long; 0 ends it."""
        self._delay = seconds

    def rewrite(self, old: bytes, new: bytes) -> None:
        """Replace bytes of requests by as many others."""
        assert len(old) == len(new)
        self._rewritten = (old, new)

    def reset(self) -> None:
        """Reset all connections that are open."""
        for connection in list(self._open):
            _reset(connection)

    def heal(self) -> None:
        """Make no more faults."""
        self._faults.clear()
        self._delay = 0.0

    def close(self) -> None:
        """Stop."""
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _take(self, kind: str, wanted: Callable[[_Fault], bool] = lambda _: True) -> _Fault | None:
        with self._guard:
            fault = self._faults.get(kind)
            if fault is None or fault.times <= 0 or not wanted(fault):
                return None
            fault.times -= 1
            self.made += 1
            return fault

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._open.add(client)
                if self._take("refuse"):
                    _reset(client)
                elif not self._take("stall"):
                    threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target)
        except OSError:
            _reset(client)
            return
        self._open.add(server)
        down = threading.Thread(target=self._pump, args=("down", server, client), daemon=True)
        down.start()
        self._pump("up", client, server)
        down.join()
        self._open -= {client, server}
        for end in (client, server):
            end.close()

    def _pump(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                self._ended.wait(self._delay)
                if way == "up" and data.startswith(_VERBS) and (fault := self._answering(data)):
                    _answer(source, fault.answer)
                    break
                if fault := self._cutting(way, passed + len(data)):
                    sink.sendall(data[: max(0, fault.after - passed)])
                    for end in () if fault.silent else (source, sink):
                        _reset(end)
                    return
                sink.sendall(data.replace(*self._rewritten) if way == "up" and self._rewritten[0] else data)
                passed += len(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _cutting(self, way: str, passed: int) -> _Fault | None:
        return self._take(way, lambda fault: passed > fault.after)

    def _answering(self, head: bytes) -> _Fault | None:
        return self._take("answer", lambda fault: fault.wanted(head))


def _answer(client: socket.socket, answer: bytes) -> None:
    """Answer, and read what the client still sends: closing before would reset the connection under the answer."""
    client.sendall(answer)
    client.shutdown(socket.SHUT_WR)
    while client.recv(_CHUNK):
        pass


def _reset(connection: socket.socket) -> None:
    """Close with a reset instead of an end, as a crashed peer or a firewall does."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
    connection.close()


@contextmanager
def proxied(host: str, port: int) -> Iterator[Proxy]:
    """A proxy in front of a server until the block ends."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()


def main() -> None:
    """Relay until standard input ends."""
    with proxied(sys.argv[1], int(sys.argv[2])) as proxy:
        sys.stdout.write(f"{proxy.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
