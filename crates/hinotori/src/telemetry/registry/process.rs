//! What the process takes of its system: time, memory, descriptors and threads, as Linux shows them in `/proc`.
//!
//! Names and help texts are those of all Prometheus clients. The collector of the crate `prometheus` is not used,
//! because it adds five crates to read these files.
//!
//! # Source
//! proc(5); <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>.

use std::{collections::HashMap, fs};

use prometheus::{
    core::{Collector, Desc},
    proto::{Gauge, Metric, MetricFamily, MetricType},
};

use super::collector::{counter, family};

/// Ticks per second of the kernel's times (`USER_HZ`): 100 on every architecture that Rust's standard library supports.
const TICKS: f64 = 100.0;

/// The first is a counter, the others are gauges.
const METRICS: [(&str, &str); 7] = [
    ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds."),
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("process_threads", "Number of OS threads in the process."),
];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Process(Vec<Desc>);

impl Process {
    pub(super) fn new() -> prometheus::Result<Self> {
        let describe =
            |(name, help): (&str, &str)| Desc::new(name.into(), help.into(), vec![], HashMap::new());
        METRICS.into_iter().map(describe).collect::<prometheus::Result<_>>().map(Self)
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.iter().collect()
    }

    /// Leaves out what cannot be read.
    fn collect(&self) -> Vec<MetricFamily> {
        let values = self.0.iter().zip(measure());
        let families = values.enumerate().filter_map(|(index, (description, value))| {
            Some(if index == 0 { counter(description, value?) } else { gauge(description, value?) })
        });
        families.collect()
    }
}

fn gauge(description: &Desc, value: f64) -> MetricFamily {
    let (mut gauge, mut metric) = (Gauge::default(), Metric::default());
    gauge.set_value(value);
    metric.set_gauge(gauge);
    family(description, MetricType::GAUGE, metric)
}

/// The value of each of [`METRICS`].
fn measure() -> [Option<f64>; METRICS.len()] {
    let stat = read("self/stat");
    let stat = |field| field_of_stat(stat.as_deref()?, field);
    // without the descriptor of the folder that is read here
    let open =
        fs::read_dir("/proc/self/fd").ok().map(|descriptors| descriptors.count().saturating_sub(1) as f64);
    let booted = || number(read("stat")?.lines().find_map(|line| line.strip_prefix("btime "))?);
    [
        stat(14).zip(stat(15)).map(|(user, system)| (user + system) / TICKS),
        open,
        read("self/limits").and_then(|limits| max_open_files(&limits)),
        stat(23),
        read("self/status").and_then(|status| resident_memory(&status)),
        stat(22).and_then(|ticks| Some(booted()? + ticks / TICKS)),
        stat(20),
    ]
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{path}")).ok()
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// A field of `/proc/self/stat`, by its number in proc(5). The second field is the name of the program in parentheses,
/// which may contain anything.
fn field_of_stat(stat: &str, field: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    number(rest.split_ascii_whitespace().nth(field - 3)?)
}

/// The soft limit, unless there is none.
fn max_open_files(limits: &str) -> Option<f64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    number(limit.split_ascii_whitespace().next()?)
}

/// In bytes; the kernel shows it in KiB.
fn resident_memory(status: &str) -> Option<f64> {
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    number(memory.trim().strip_suffix("kB")?).map(|kib| kib * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        time::{Duration, Instant, SystemTime, UNIX_EPOCH},
    };

    use super::*;

    #[test]
    fn all_metrics_of_this_process_are_told_and_are_plausible() {
        let families = Process::new().unwrap().collect();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, METRICS.map(|(name, _)| name));
        let [_, open, most, size, resident, started, threads] = measure().map(Option::unwrap);
        assert!(open >= 3.0 && open <= most, "{open} of {most} descriptors");
        assert!(resident > 1e6 && resident < size, "{resident} of {size} bytes");
        assert!(threads >= 2.0, "that of the test and that of its harness: {threads}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(started < now + 2.0 && started > now - 3_600.0, "{started}, now {now}");
    }

    #[test]
    fn descriptors_and_time_are_counted() {
        let [used, open, ..] = measure().map(Option::unwrap);
        let files: Vec<File> = (0..500).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        // other tests may close some meanwhile
        assert!(measure()[1].unwrap() > open + 250.0);
        drop(files);
        let end = Instant::now() + Duration::from_secs(20);
        while measure()[0].unwrap() < used + 0.05 {
            assert!(Instant::now() < end, "no time passes");
        }
    }

    #[test]
    fn what_a_name_or_a_limit_holds_does_not_confuse() {
        let stat = "7 (a) (b) 9) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
        assert_eq!((field_of_stat(stat, 14), field_of_stat(stat, 22)), (Some(11.0), Some(19.0)));
        assert_eq!(field_of_stat("7 (a) S", 14), None);
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(max_open_files(limits), Some(1024.0));
        assert_eq!(
            max_open_files("Max open files            unlimited            unlimited            files\n"),
            None
        );
        assert_eq!(resident_memory("VmSize:\t 5 kB\nVmRSS:\t      12 kB\n"), Some(12_288.0));
    }
}
