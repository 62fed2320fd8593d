"""libfaketime before a program of ours: other clocks for one process."""
import os
import pathlib
import subprocess

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


def works(program):
    """Whether libfaketime is there and can be loaded before this program: a sanitizer's runtime has to come first."""
    if not os.path.exists(LIBRARY):
        return False
    done = subprocess.run([program, "--version"], env={**os.environ, "LD_PRELOAD": LIBRARY}, capture_output=True, timeout=60)
    return done.returncode == 0


def environment(**settings):
    """For the one program whose clocks are meant. Not for a shell that starts it: what libfaketime shares with the children of the
    first process is gone when that one ends, and a child that starts then is ended."""
    return {"LD_PRELOAD": LIBRARY, "NO_FAKE_STAT": "1", **settings}


def forget(pid):
    """Takes away what libfaketime left in shared memory for a process that was killed: the next with its pid would not start."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        pathlib.Path("/dev/shm", name).unlink(missing_ok=True)
