//! What a process has used so far, from `/proc`.

use std::{fs, io};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// CPU time and memory of the server; zeros if nobody asked for them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// CPU time, user and kernel, in microseconds.
    pub(crate) cpu: f64,
    /// Resident memory in KiB.
    pub(crate) memory: f64,
}

impl Usage {
    /// What the process has used so far.
    pub(crate) fn of(pid: Option<u32>) -> io::Result<Self> {
        let Some(pid) = pid else { return Ok(Self::default()) };
        let unreadable = || io::Error::other(format!("/proc/{pid} cannot be understood"));
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // the second field is the command in parentheses, which may hold spaces; utime and stime are the 14th and 15th
        let fields = stat.rsplit_once(") ").ok_or_else(unreadable)?.1;
        let ticks: u64 =
            fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or_else(unreadable)?;
        let memory =
            memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).ok_or_else(unreadable)?;
        let cpu = ticks as f64 * 1e6 / rustix::param::clock_ticks_per_second() as f64;
        Ok(Self { cpu, memory })
    }
}

/// As many descriptors as the system lets this process have.
pub(crate) fn raise_descriptor_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // if it cannot be raised, the connections that fail say so
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
