//! What a process has used so far, from `/proc`.

use std::{fs, io, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time and memory of the server; zeros if nobody asked for them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time of the threads that run, user and kernel, in microseconds.
    pub(crate) cpu: f64,
    /// Resident memory in KiB.
    pub(crate) memory: f64,
}

impl Usage {
    /// What the process has used so far.
    pub(crate) fn of(pid: Option<u32>) -> io::Result<Self> {
        let Some(pid) = pid else { return Ok(Self::default()) };
        let unreadable = || io::Error::other(format!("/proc/{pid} cannot be understood"));
        // in nanoseconds, where utime and stime come in steps of 10 ms
        let mut cpu = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let schedstat = match fs::read_to_string(task.join("schedstat")) {
                // the thread has ended since it was listed
                Err(_) if !task.exists() => continue,
                read => read?,
            };
            let nanos =
                schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok()).ok_or_else(unreadable)?;
            cpu += Duration::from_nanos(nanos);
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(unreadable)?;
        let memory =
            memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).ok_or_else(unreadable)?;
        Ok(Self { cpu: cpu.as_secs_f64() * 1e6, memory })
    }
}

/// Connections so far for which some listening socket of the machine had no room: their clients try again after a second.
/// Nothing where the system does not tell.
pub(crate) fn listen_overflows() -> Option<u64> {
    let netstat = fs::read_to_string("/proc/net/netstat").ok()?;
    // a line of names, then one of values
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next()?, lines.next()?);
    names.zip(values).find(|(name, _)| *name == "ListenOverflows")?.1.parse().ok()
}

/// As many descriptors as the system lets this process have.
pub(crate) fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // if it cannot be raised, the connections that fail say so
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
