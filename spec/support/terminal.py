#!/usr/bin/env python3
"""terminal.py ARGUMENT... -- [PATTERN INPUT]...: runs a command on a terminal of its own and, as each PATTERN appears in
what it prints, types the INPUT (with \\x03 and the like). Prints all it has printed, then "code N" (128 + n for a signal)."""
import os
import pty
import select
import signal
import sys
import time

split = sys.argv.index("--")
command, script = sys.argv[1:split], sys.argv[split + 1:]
steps = [(script[i].encode(), script[i + 1].encode().decode("unicode_escape").encode()) for i in range(0, len(script), 2)]
pid, terminal = pty.fork()
if pid == 0:
    for name in ("INT", "QUIT", "HUP", "TSTP", "TERM"):
        signal.signal(getattr(signal, "SIG" + name), signal.SIG_DFL)
    os.execvp(command[0], command)
printed, seen, ends = b"", 0, time.monotonic() + 60
while time.monotonic() < ends:
    if select.select([terminal], [], [], 0.2)[0]:
        try:
            printed += os.read(terminal, 4096)
        except OSError:
            break
    if steps and steps[0][0] in printed[seen:]:
        seen = len(printed)
        os.write(terminal, steps.pop(0)[1])
else:
    os.kill(pid, signal.SIGKILL)
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
sys.stdout.buffer.write(printed.replace(b"\r\n", b"\n") + b"\ncode %d\n" % (code if code >= 0 else 128 - code))
