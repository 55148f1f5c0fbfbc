//! Medians, and two clocks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The middle value; not a number if there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of the ratios of what was measured side by side.
pub(crate) fn ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let pairs: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    median(&pairs)
}

/// Processor time of this thread.
pub(crate) fn thread_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}

/// Microseconds of this thread's processor time that `work` took for each of `count` pieces.
pub(crate) fn micros_each<T>(count: usize, work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_time();
    let result = work();
    let spent = thread_time().saturating_sub(before);
    (spent.as_secs_f64() * 1e6 / count as f64, result)
}
