//! Adds up the numbers of the worker threads at a scrape.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    core::{Collector, Desc},
    proto::{Bucket, Counter, Histogram, Metric, MetricFamily, MetricType},
};

use crate::telemetry::worker::{BOUNDS, Counts, Tallies, Tally};

const RECEIVED: usize = 0;
const SENT: usize = 1;
const FAN_OUT: usize = 2;

/// The numbers of all threads, including threads that have ended: what has been counted stays counted.
#[derive(Debug, Clone)]
pub(super) struct Workers {
    descriptions: [Desc; 3],
    tallies: Arc<Mutex<Vec<Arc<Tallies>>>>,
}

impl Workers {
    pub(super) fn new() -> prometheus::Result<Self> {
        let describe = |name: &str, help: &str| Desc::new(name.into(), help.into(), vec![], HashMap::new());
        let descriptions = [
            describe("hinotori_messages_received_total", "Messages from clients.")?,
            describe(
                "hinotori_messages_sent_total",
                "Messages queued for clients: replies, pushes and each delivery of a broadcast.",
            )?,
            describe(
                "hinotori_fan_out_seconds",
                "Seconds from a broadcast until it is queued for, or written to, all its subscribers on one worker thread.",
            )?,
        ];
        Ok(Self { descriptions, tallies: Arc::default() })
    }

    /// Numbers for this thread.
    pub(super) fn add(&self) -> Counts {
        let tallies = Arc::new(Tallies::default());
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).push(tallies.clone());
        Counts::new(tallies)
    }

    fn counter(&self, index: usize, value: u64) -> MetricFamily {
        counter(&self.descriptions[index], value as f64)
    }
}

/// A metric without labels.
pub(super) fn family(description: &Desc, kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(description.fq_name.clone());
    family.set_help(description.help.clone());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// A counter that has this value.
pub(super) fn counter(description: &Desc, value: f64) -> MetricFamily {
    let (mut counter, mut metric) = (Counter::default(), Metric::default());
    counter.set_value(value);
    metric.set_counter(counter);
    family(description, MetricType::COUNTER, metric)
}

impl Collector for Workers {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |of: fn(&Tallies) -> &Tally| tallies.iter().map(|tallies| of(tallies).get()).sum::<u64>();
        let mut fan_outs = [0; BOUNDS.len() + 1];
        for tallies in tallies.iter() {
            for (total, tally) in fan_outs.iter_mut().zip(&tallies.fan_outs) {
                *total += tally.get();
            }
        }
        let mut metric = Metric::default();
        metric.set_histogram(histogram(&fan_outs, sum(|tallies| &tallies.fan_out_nanos)));
        vec![
            self.counter(RECEIVED, sum(|tallies| &tallies.received)),
            self.counter(SENT, sum(|tallies| &tallies.sent)),
            family(&self.descriptions[FAN_OUT], MetricType::HISTOGRAM, metric),
        ]
    }
}

fn histogram(fan_outs: &[u64; BOUNDS.len() + 1], nanos: u64) -> Histogram {
    let mut total = 0;
    let buckets = BOUNDS.iter().zip(fan_outs).map(|(bound, fan_outs)| {
        total += fan_outs;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound as f64 / 1e6);
        bucket.set_cumulative_count(total);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(fan_outs.iter().sum());
    histogram.set_sample_sum(nanos as f64 / 1e9);
    histogram
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_threads_have_counted_is_added_up_and_stays_when_they_have_ended() {
        let workers = Workers::new().unwrap();
        for n in [1, 10] {
            let workers = workers.clone();
            std::thread::spawn(move || workers.add().received.add(n)).join().unwrap();
        }
        assert_eq!(workers.collect()[RECEIVED].get_metric()[0].get_counter().get_value(), 11.0);
    }

    #[test]
    fn a_fan_out_is_in_every_bucket_whose_bound_it_kept() {
        let workers = Workers::new().unwrap();
        let counts = workers.add();
        for (nanos, sent) in [(10_000, 1), (10_001, 2), (5_000_000_000, 4)] {
            counts.fanned_out(Duration::from_nanos(nanos), sent);
        }
        let families = workers.collect();
        assert_eq!(families[SENT].get_metric()[0].get_counter().get_value(), 7.0);
        let histogram = families[FAN_OUT].get_metric()[0].get_histogram();
        let within: Vec<u64> =
            histogram.get_bucket().iter().map(|bucket| bucket.cumulative_count()).collect();
        assert_eq!((within[0], within[1], within[BOUNDS.len() - 1]), (1, 2, 2));
        assert_eq!(histogram.get_sample_count(), 3);
        assert!((histogram.get_sample_sum() - 5.000_020_001).abs() < 1e-12);
    }
}
