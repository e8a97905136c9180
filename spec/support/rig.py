#!/usr/bin/env python3
"""rig.py: starts, watches and ends the processes of a test run. Knows nothing about servers or about dsync.

Started by rig.lua. It detaches from the Lua process, so that Lua never has to wait for it, and serves requests until that
process is gone for whatever reason; then it kills every process it started, with everything those started, removes the
temporary folder and leaves. A child also dies with this process (parent-death signal).

One request per line, one answer per line: fields separated by tabs, with \\ tab newline escaped. The first field of an
answer is "ok", "timeout", "eof" or "error".
"""
import collections
import glob
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

KEPT_LINES = 50000


def escape(text):
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def unescape(text):
    if "\\" not in text:
        return text
    out, it = [], iter(text)
    for c in it:
        if c == "\\":
            c = {"t": "\t", "n": "\n", "r": "\r"}.get(c := next(it, ""), c)
        out.append(c)
    return "".join(out)


class Child:
    """A process, and the lines it has printed so far."""

    def __init__(self, argv, env, cwd, log, merge):
        self.lines = collections.deque(maxlen=KEPT_LINES)
        self.ended = False
        self.changed = threading.Condition()
        self.log = open(log, "ab", buffering=0) if log else None
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--"] + argv,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if merge else (self.log or subprocess.DEVNULL),
            env=env, cwd=cwd or None, start_new_session=True)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for raw in self.process.stdout:
            if self.log:
                self.log.write(raw)
            with self.changed:
                self.lines.append(raw.decode("latin-1").rstrip("\n"))
                self.changed.notify_all()
        if self.log:
            self.log.close()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def kill_group(self, number):
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def stop(self, grace):
        """Ends the process and whatever is left of its session."""
        if self.process.poll() is None:
            self.kill_group(signal.SIGCONT)
            self.kill_group(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                pass
        self.kill_group(signal.SIGKILL)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        try:
            self.process.stdin.close()
        except OSError:
            pass
        self.reader.join(1)  # not for ever: what has left the session may keep the pipe
        return self.process.returncode


class Rig:
    def __init__(self, lua_pid, base):
        self.lua_pid = lua_pid
        self.base = base
        self.children = {}
        self.count = 0
        self.folders = [base]
        self.requests = None
        self.buffer = b""

    # ---- the Lua process ----

    def gone(self):
        try:
            os.kill(self.lua_pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        poll = select.poll()
        poll.register(self.requests, select.POLLHUP)
        return any(event & select.POLLHUP for _, event in poll.poll(0)) and not self.buffer

    def read_request(self):
        while b"\n" not in self.buffer:
            if select.select([self.requests], [], [], 0.5)[0]:
                data = os.read(self.requests, 65536)
                if not data:
                    return None
                self.buffer += data
            elif self.gone():
                return None
        line, self.buffer = self.buffer.split(b"\n", 1)
        return [unescape(field) for field in line.decode("latin-1").split("\t")]

    def wait_until(self, condition, ready, timeout):
        """Waits for ready() under `condition`, looking after the Lua process meanwhile."""
        end = time.monotonic() + timeout
        with condition:
            while not ready():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                condition.wait(min(left, 0.5))
                if self.gone():
                    self.finish()
        return True

    def finish(self):
        for child in self.children.values():
            child.kill_group(signal.SIGKILL)
        for child in self.children.values():
            try:
                child.process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    # ---- requests: each returns the fields of its answer ----

    def environment(self, settings):
        env = dict(os.environ)
        for setting in settings:
            name, _, value = setting.partition("=")
            env[name] = value
        return env

    def do_spawn(self, cwd, log, merge, count, *rest):
        env = self.environment(rest[:int(count)])
        argv = [field.encode("latin-1") for field in rest[int(count):]]
        child = Child(argv, env, cwd, log, merge == "1")
        self.count += 1
        self.children[str(self.count)] = child
        return "ok", str(self.count), str(child.pid)

    def do_line(self, number, timeout):
        child = self.children[number]
        if not self.wait_until(child.changed, lambda: child.lines or child.ended, float(timeout)):
            return ("timeout",)
        with child.changed:
            return ("ok", child.lines.popleft()) if child.lines else ("eof",)

    def do_write(self, number, text):
        try:
            stdin = self.children[number].process.stdin
            stdin.write(text.encode("latin-1"))
            stdin.flush()
        except (OSError, ValueError):
            return ("eof",)
        return ("ok",)

    def do_close(self, number):
        try:
            self.children[number].process.stdin.close()
        except OSError:
            pass
        return ("ok",)

    def do_signal(self, number, name):
        child = self.children[number]
        if child.process.poll() is not None:
            return ("eof",)
        os.kill(child.pid, getattr(signal, "SIG" + name))
        if name == "STOP":
            self.until_stopped(child.pid)
        return ("ok",)

    @staticmethod
    def until_stopped(pid):
        """The signal is sent, but threads on other processors run on for a moment: waits until each has stopped."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                stats = [open(path).read() for path in glob.glob("/proc/%d/task/*/stat" % pid)]
            except OSError:
                continue
            if all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats):
                return
            time.sleep(0.001)

    def do_wait(self, number, timeout):
        process, end = self.children[number].process, time.monotonic() + float(timeout)
        while process.poll() is None:
            left = end - time.monotonic()
            if left <= 0:
                return ("timeout",)
            try:
                process.wait(min(left, 0.5))
            except subprocess.TimeoutExpired:
                if self.gone():
                    self.finish()
        return "ok", str(process.returncode)

    def do_stop(self, number, grace):
        return "ok", str(self.children.pop(number).stop(float(grace)))

    def do_run(self, timeout, text, count, *rest):
        env = self.environment(rest[:int(count)])
        process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--"] + list(rest[int(count):]),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=env, start_new_session=True)
        try:
            out, err = process.communicate(text.encode("latin-1"), float(timeout))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return "timeout", out.decode("latin-1"), err.decode("latin-1")
        return "ok", str(process.returncode), out.decode("latin-1"), err.decode("latin-1")

    def do_ports(self, count):
        """Free loopback ports below the range from which the kernel serves outgoing connections."""
        found, held = [], []
        while len(found) < int(count):
            s = socket.socket()
            try:
                s.bind(("127.0.0.1", random.randint(10240, 32000)))
            except OSError:
                s.close()
                continue
            held.append(s)
            found.append(str(s.getsockname()[1]))
        for s in held:
            s.close()
        return ("ok", *found)

    def do_tempdir(self, big):
        where = self.base
        if big == "1" and os.access("/dev/shm", os.W_OK):
            room = os.statvfs("/dev/shm")
            if room.f_bavail * room.f_frsize > 1 << 30:
                where = os.path.join("/dev/shm", "dsync-rig.%d" % os.getpid())
                if where not in self.folders:
                    os.mkdir(where, 0o700)
                    self.folders.append(where)
        return "ok", tempfile.mkdtemp(prefix="d.", dir=where)

    def do_hello(self):
        return ("ok",)

    def serve(self):
        while True:
            request = self.read_request()
            if request is None:
                self.finish()
            try:
                answer = getattr(self, "do_" + request[0])(*request[1:])
            except Exception as error:  # whatever went wrong is the asking test's failure, not this process's end
                answer = ("error", "%s: %s: %s" % (request[0], type(error).__name__, error))
            try:
                sys.stdout.write("\t".join(escape(field) for field in answer) + "\n")
                sys.stdout.flush()
            except BrokenPipeError:
                self.finish()


def main():
    sys.stdout.reconfigure(encoding="latin-1")
    lua_pid = os.getppid()
    base = tempfile.mkdtemp(prefix="dsync-rig.")
    fifo = os.path.join(base, "requests")
    os.mkfifo(fifo, 0o600)
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    rig = Rig(lua_pid, base)
    signal.signal(signal.SIGTERM, lambda *_: rig.finish())
    rig.requests = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sys.stdout.write("%s\t%d\n" % (base, lua_pid))
    sys.stdout.flush()
    # Without a writer yet a read says end of file, so wait until Lua has connected.
    deadline = time.monotonic() + 10
    poll = select.poll()
    poll.register(rig.requests, select.POLLIN)
    while not poll.poll(200):
        if time.monotonic() > deadline or rig.gone():
            rig.finish()
    rig.serve()


main()
