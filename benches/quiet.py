"""How much of the machine other processes use: what disturbs a measurement."""

import os
import pathlib
import resource
import statistics
import time

# cores that others may use while something is measured
LIMIT = 0.1
# how long the machine is looked at before a run, in seconds
LOOK = 0.2
# seconds that a part may spend on waiting for quiet moments and on runs that others disturbed
PATIENCE = 60


def busy():
    """Seconds of CPU time that all cores have been at work so far, for this machine or for others on the same host."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own():
    """Seconds of CPU time of this process and of its children that have ended."""
    uses = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in uses)


def watched(run):
    """What a run returns, and how many cores others used meanwhile."""
    begin, before = time.monotonic(), busy() - own()
    result = run()
    return result, max(0, busy() - own() - before) / (time.monotonic() - begin)


class Quiet:
    """Runs when others do nothing, as far as that can be had."""

    def __init__(self):
        self.cores, self.patience = [], PATIENCE

    def run(self, run):
        """Runs again what was disturbed, while there is patience: the least disturbed counts."""
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
        """Cores that others used in the runs since the last report."""
        cores = self.cores or [0]
        self.cores, self.patience = [], PATIENCE
        return {"median": statistics.median(cores), "most": max(cores)}
