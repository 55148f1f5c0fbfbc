//! Work shared out to all cores.

use std::num::NonZeroUsize;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Items that are taken at a time: so many that taking them costs nothing, so few that all are done at about one time.
const TAKEN: usize = 32;

/// Does `work` on each item on so many cores, and gives what came of them in their order. This thread does `own` first,
/// beside the others, and then helps.
pub(super) fn share<T: Send, R: Send, O>(
    threads: NonZeroUsize,
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T) -> R + Sync,
    own: impl FnOnce() -> O,
) -> (Vec<R>, O) {
    let left = Mutex::new((0.., items.into_iter()));
    let help = || {
        let take = || {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            let items: Vec<T> = left.1.by_ref().take(TAKEN).collect();
            let part = left.0.next().filter(|_| !items.is_empty())?;
            drop(left);
            Some((part, items.into_iter().map(&work).collect::<Vec<R>>()))
        };
        std::iter::from_fn(take).collect::<Vec<(usize, _)>>()
    };
    thread::scope(|scope| {
        let helpers: Vec<_> = (1..threads.get()).map(|_| scope.spawn(help)).collect();
        let own = own();
        let mut done = help();
        for helper in helpers {
            // A panic in there is one here.
            done.extend(helper.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        done.sort_unstable_by_key(|(part, _)| *part);
        (done.into_iter().flat_map(|(_, results)| results).collect(), own)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for count in [0, 1, TAKEN - 1, TAKEN, 10 * TAKEN + 1] {
            let items: Vec<usize> = (0..count).collect();
            for threads in 1..4 {
                let threads = NonZeroUsize::new(threads).unwrap();
                let (done, own) = share(threads, items.iter(), |item| item * 2, || "own");
                assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
                assert_eq!(own, "own");
            }
        }
    }
}
