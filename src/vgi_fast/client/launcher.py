"""``launch:<command>``: one listening worker, shared by all processes of one user (section 9.4 of the RPC document).

Whoever comes first starts it, under a lock; all others find its socket, whose name is derived from the command, the
working directory and the environment. DuckDB derives the same, so it and this client share a worker.
"""

import fcntl
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Final

from vgi_fast.client.channels import CONNECT_TIMEOUT_S, KILL_WAIT_S, SocketChannel, connect_unix
from vgi_fast.errors import ArgumentError, TransportError
from vgi_fast.transports.exits import exit_text

__all__ = ["LAUNCH_PREFIX", "LaunchChannel", "Launcher", "collect", "launch_hash", "split_command"]

LAUNCH_PREFIX: Final = "launch:"
DEFAULT_IDLE_TIMEOUT_S: Final = 300.0
STARTUP_TIMEOUT_S: Final = 60.0
_LOCK_TIMEOUT_S: Final = 30.0
_LOCK_POLL_S: Final = 0.05
_PROBE_TIMEOUT_S: Final = 2.0
_HASH_DIGITS: Final = 16
_HASHED_VARIABLES: Final = "VGI_RPC_"
_ANNOUNCEMENT: Final = b"UNIX:"
_MAX_OUTPUT_BYTES: Final = 1 << 20
_MAX_PATH_BYTES: Final = 103 if sys.platform == "darwin" else 107


# -- names --------------------------------------------------------------------------------------


def split_command(text: str) -> list[str]:
    """The words of a command line, quoted as for a POSIX shell; nothing is expanded, there are no operators.

    Unlike ``shlex``, and like DuckDB, a backslash between double quotes also escapes ``$``, a backtick and the end
    of a line.

    >>> split_command("uv run 'my worker' --name \\"a b\\" c\\\\ d")
    ['uv', 'run', 'my worker', '--name', 'a b', 'c d']
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    characters = iter(text)
    for each in characters:
        if not quote and each in " \t\r\n":
            if word is not None:
                words.append("".join(word))
                word = None
            continue
        word = [] if word is None else word
        if each == quote:
            quote = ""
        elif not quote and each in "'\"":
            quote = each
        elif each == "\\" and quote != "'":
            following = next(characters, None)
            if following is None:
                raise ArgumentError(f"trailing backslash in the command to launch: {text}")
            word.append(following if not quote or following in '$`"\\\n' else each + following)
        else:
            word.append(each)
    if quote:
        raise ArgumentError(f"unterminated quote in the command to launch: {text}")
    if word is not None:
        words.append("".join(word))
    if not words:
        raise ArgumentError("no command to launch")
    return words


def launch_hash(command: Sequence[str], cwd: str, env: Mapping[str, str]) -> str:
    """What names the worker's files: of the command, the directory and the variables ``VGI_RPC_*`` in ``env``.

    >>> launch_hash(["w"], "/", {})
    '5455e85b6d306e5b'
    """
    hashed = {name: env[name] for name in sorted(env) if name.startswith(_HASHED_VARIABLES)}
    # As DuckDB has it: UTF-8 as it is, no escapes from 0x7F on.
    text = json.dumps({"cmd": list(command), "cwd": cwd, "env": hashed}, ensure_ascii=False, separators=(",", ":"))
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH_DIGITS]


def default_state_dir() -> Path:
    """Where the sockets of this user's workers are."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "vgi-rpc"
    return Path(os.environ.get("TMPDIR") or "/tmp") / f"vgi-rpc-{os.geteuid()}"


def checked_state_dir(path: Path) -> Path:
    """Made if missing. Nobody else may put a socket there, since whoever is connected to is believed."""
    try:
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or not stat.S_ISDIR(status.st_mode):
            raise TransportError(f"state directory {path} is not a directory, or a link to one")
        if status.st_uid != os.geteuid():
            raise TransportError(f"state directory {path} belongs to user {status.st_uid}, not to {os.geteuid()}")
        if stat.S_IMODE(status.st_mode) != 0o700:
            path.chmod(0o700)
    except TransportError:
        raise
    except OSError as error:
        raise TransportError(f"cannot use state directory {path}: {error.strerror or error}") from error
    return path


def seconds_text(seconds: float) -> str:
    """
    >>> seconds_text(300.0), seconds_text(0.25), seconds_text(1.23456)
    ('300', '0.25', '1.235')
    """
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


# -- launching ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Launcher:
    """How to reach the shared worker of ``command``, a command line or its words.

    >>> Launcher("python worker.py", state_dir="/run/user/1000/workers").socket_path.parent
    PosixPath('/run/user/1000/workers')
    """

    command: str | Sequence[str]
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    """After so long without a connection the worker leaves."""
    state_dir: str | os.PathLike[str] | None = None
    explicit_socket: str | os.PathLike[str] | None = None
    """This path, whatever the command is; its lock is beside it."""
    startup_timeout_s: float = STARTUP_TIMEOUT_S
    connect_timeout_s: float = CONNECT_TIMEOUT_S
    worker_stderr: str | os.PathLike[str] | None = None
    """A file to append to; by default it is lost."""
    cwd: str | os.PathLike[str] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    """In addition to this process's."""

    @property
    def words(self) -> list[str]:
        return split_command(self.command) if isinstance(self.command, str) else list(self.command)

    @property
    def socket_path(self) -> Path:
        if self.explicit_socket is not None:
            return Path(os.path.abspath(self.explicit_socket))
        folder = default_state_dir() if self.state_dir is None else Path(os.path.abspath(self.state_dir))
        cwd = os.getcwd() if self.cwd is None else os.path.realpath(self.cwd)
        return folder / f"{launch_hash(self.words, cwd, {**os.environ, **self.env})}.sock"

    @property
    def lock_path(self) -> Path:
        path = self.socket_path
        return path.with_name(path.name + ".lock") if self.explicit_socket is not None else path.with_suffix(".lock")

    def launch(self) -> Path:
        """The socket of a worker that answers; it is started if there is none."""
        path = self.prepared()
        with _locked(self.lock_path):
            if not is_answering(path):
                _remove_stale(path)
                self._start(path)
        return path

    def connect(self) -> socket.socket:
        """A connection to the worker, which may have to be started; it may be just leaving, so twice."""
        path = self.prepared()
        attempts = 0
        while True:
            try:
                return connect_unix(str(path), self.connect_timeout_s)
            except OSError as error:
                if attempts == 2 or isinstance(error, TimeoutError):
                    raise TransportError(f"cannot connect to the launched worker at {path}: {error}") from error
            attempts += 1
            self.launch()

    def prepared(self) -> Path:
        """The socket's path, once it is known to be usable."""
        if self.idle_timeout_s < 0:
            raise ArgumentError(f"idle_timeout_s: expected seconds from 0 on, got {self.idle_timeout_s}")
        path = self.socket_path
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise ArgumentError(f"socket path is longer than {_MAX_PATH_BYTES} bytes: {path}", hint="name a state_dir")
        if self.explicit_socket is None:
            checked_state_dir(path.parent)
        return path

    def _start(self, path: Path) -> None:
        command = [*self.words, "--unix", str(path), "--idle-timeout", seconds_text(self.idle_timeout_s)]
        stderr = subprocess.DEVNULL
        try:
            if self.worker_stderr is not None:
                stderr = os.open(self.worker_stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.cwd,
                env={**os.environ, **self.env},
                bufsize=0,
            )
        except OSError as error:
            raise TransportError(f"cannot start worker: {self._name}", detail=str(error)) from error
        finally:
            if stderr != subprocess.DEVNULL:
                os.close(stderr)
        assert process.stdout is not None
        try:
            # Closed once it has spoken: the worker belongs to nobody from then on.
            with process.stdout as stdout:
                self._await_announcement(process, stdout.fileno(), path)
        except BaseException:
            _end(process)
            raise
        # Whoever starts a process has to take its exit status, or it stays as a zombie.
        Thread(target=process.wait, name="vgi-fast-launched", daemon=True).start()

    def _await_announcement(self, process: "subprocess.Popen[bytes]", stdout: int, path: Path) -> None:
        deadline = monotonic() + self.startup_timeout_s
        expected = _ANNOUNCEMENT + os.fsencode(path)
        received = b""
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        while True:
            for line in received.split(b"\n")[:-1]:
                if line.rstrip(b"\r") == expected:
                    return
                if line.startswith(_ANNOUNCEMENT):
                    said = line.decode("utf-8", "replace")
                    raise TransportError(f"worker {self._name} announces another socket: {said}, not {path}")
            left_s = deadline - monotonic()
            if left_s <= 0 or not poll.poll(int(left_s * 1000) + 1):
                raise TransportError(f"worker {self._name} has announced nothing for {self.startup_timeout_s:g} s")
            chunk = os.read(stdout, 65536)
            received += chunk
            if not chunk:
                raise TransportError(
                    f"worker {self._name} {_ending(process)} before it announced its socket", hint=self._stderr_hint()
                )
            if len(received) > _MAX_OUTPUT_BYTES:
                raise TransportError(f"worker {self._name} writes other things than the name of its socket")

    @property
    def _name(self) -> str:
        return self.command if isinstance(self.command, str) else " ".join(self.command)

    def _stderr_hint(self) -> str:
        if self.worker_stderr is not None:
            return f"its standard error is in {os.fspath(self.worker_stderr)}"
        return "run the command by hand, or name a file for its standard error"


class LaunchChannel(SocketChannel):
    """A connection to the shared worker: ``LaunchChannel(Launcher("python worker.py", idle_timeout_s=60))``."""

    def __init__(self, launcher: Launcher) -> None:
        command = launcher.command if isinstance(launcher.command, str) else " ".join(launcher.command)
        super().__init__(LAUNCH_PREFIX + command, connected=launcher.connect())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """The file is never removed: another launcher may already wait for it."""
    try:
        lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise TransportError(f"cannot open lock {path}: {error.strerror}") from error
    try:
        deadline = monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > deadline:
                    raise TransportError(f"another launcher has held {path} for {_LOCK_TIMEOUT_S:g} s") from None
            select.select([], [], [], _LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def is_answering(path: Path) -> bool:
    """Somebody listens. A full queue of connections counts: who fills it must be there."""
    try:
        connect_unix(str(path), _PROBE_TIMEOUT_S).close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return True


def _remove_stale(path: Path) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise TransportError(f"{path} is in the way: not a socket")
        path.unlink()


def _end(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_WAIT_S)
            return


def _ending(process: "subprocess.Popen[bytes]") -> str:
    try:
        return exit_text(process.wait(KILL_WAIT_S))
    except subprocess.TimeoutExpired:
        return "closed its standard output"


def collect(state_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Remove the sockets of workers that ended without doing so. Locks stay: somebody may wait for one."""
    folder = checked_state_dir(default_state_dir() if state_dir is None else Path(os.path.abspath(state_dir)))
    removed = []
    for path in sorted(folder.glob("*.sock")):
        with _locked(path.with_suffix(".lock")):
            if stat.S_ISSOCK(path.lstat().st_mode) and not is_answering(path):
                path.unlink()
                path.with_suffix(".meta").unlink(missing_ok=True)
                removed.append(path)
    return removed
