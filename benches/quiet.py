"""How much of the machine other processes use, which would disturb a measurement."""

import contextlib
import os
import pathlib
import resource
import statistics
import time

# cores that other processes may use during a measurement
LIMIT = 0.1
# how long the machine is observed before a run, in seconds
LOOK = 0.2
# seconds that a part may spend on waiting for quiet moments and on repeating disturbed runs
PATIENCE = 60


def busy():
    """Seconds of CPU time used so far on all cores, by this machine or by others on the same host."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own():
    """Seconds of CPU time used by this process and by all that it has started."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses) + sum(map(running, children(os.getpid())))


def children(pid):
    """The processes that another has started and that have not ended."""
    files = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    with contextlib.suppress(FileNotFoundError):
        return [int(child) for file in files for child in file.read_text().split()]
    return []


def running(pid):
    """Seconds of CPU time used by a process, and by all that it has started."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
        return sum(map(int, fields)) / os.sysconf("SC_CLK_TCK") + sum(map(running, children(pid)))
    return 0


def watched(run):
    """Returns the result of a run, and how many cores other processes used meanwhile."""
    begin, before = time.monotonic(), busy() - own()
    result = run()
    return result, max(0, busy() - own() - before) / (time.monotonic() - begin)


class Quiet:
    """Runs measurements while other processes are idle, as far as possible."""

    def __init__(self):
        self.cores, self.patience = [], PATIENCE

    def run(self, run):
        """Repeats a disturbed run while there is patience left; the least disturbed attempt counts."""
        attempts = []
        while True:
            self.wait()
            begin = time.monotonic()
            attempts.append(watched(run))
            if attempts[-1][1] <= LIMIT or self.patience <= 0:
                break
            self.patience -= time.monotonic() - begin
        result, cores = min(attempts, key=lambda attempt: attempt[1])
        self.cores.append(cores)
        return result

    def wait(self):
        while self.patience > 0 and watched(lambda: time.sleep(LOOK))[1] > LIMIT:
            self.patience -= LOOK

    def report(self):
        """Cores that other processes used during the runs since the last report."""
        cores = self.cores or [0]
        self.cores, self.patience = [], PATIENCE
        return {"median": statistics.median(cores), "most": max(cores)}
