//! Waiting for a card without being held by it: own thread, own deadline, own way out.
//!
//! An exchange with a card cannot be interrupted, and one that waits for a touch lasts 15 s. So the
//! exchange runs in a thread of its own. When the caller cancels or the time is over, that thread is
//! left to itself: the card is freed when its exchange ends. The end of the process does not hasten that:
//! pcscd waits for the card all the same, then resets it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{CardError, Doing};

/// How often cancellation and the countdown are looked at: ten times a second feels immediate.
const TICK: Duration = Duration::from_millis(100);

/// How long the caller is willing to wait, its way to stop sooner, and its way to be told.
#[derive(Clone)]
pub struct Patience {
    /// When to give up.
    pub deadline: Instant,
    /// Set from anywhere, a signal handler included, to give up within a tenth of a second.
    pub cancel: Arc<AtomicBool>,
    /// Called some ten times a second while a card is being looked at, which takes as long as somebody
    /// else has it: what is under way, for how long, and the time that is left. While a card signs,
    /// [`super::Attendant::waiting`] is told instead.
    pub waiting: Arc<Waiting>,
}

/// See [`Patience::waiting`].
pub type Waiting = dyn Fn(Doing, Duration, Duration) + Send + Sync;

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Patience {
    /// Patience for `time` from now, with a cancel flag of its own and nobody told.
    pub fn lasting(time: Duration) -> Self {
        let now = Instant::now();
        Self {
            deadline: now.checked_add(time).unwrap_or(now),
            cancel: Arc::default(),
            waiting: Arc::new(|_, _, _| {}),
        }
    }
}

/// What the card's thread has to tell while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The connection is there and the card is ours.
    Connected,
    /// The PIN is awaited at the reader's keys.
    Pinpad,
    /// The command that may need a touch is about to be sent.
    Touch,
    /// It was sent and needs no touch.
    Signing,
    /// The touch did not come; the thread waits a little to be told to try again.
    NotTouched(Duration),
}

/// What the caller is told while it waits.
pub(crate) enum Step {
    /// Something happened.
    Event(Event),
    /// Time passed.
    Tick { doing: Doing, waited: Duration, left: Duration },
}

enum Message<T> {
    Event(Event),
    Done(Result<T, CardError>),
}

/// The thread's end of the line.
pub(crate) struct Reporter(Box<dyn Fn(Event) + Send>);

impl Reporter {
    pub(crate) fn tell(&self, event: Event) {
        (self.0)(event);
    }
}

/// Like [`run`], for work that tells nothing but that it lasts.
pub(crate) fn run_quietly<T: Send + 'static>(
    patience: &Patience,
    job: impl FnOnce() -> Result<T, CardError> + Send + 'static,
) -> Result<T, CardError> {
    run(patience, move |_| job(), &mut |step| {
        if let Step::Tick { doing, waited, left } = step {
            (patience.waiting)(doing, waited, left);
        }
    })
}

/// Runs `job` in a thread and waits for it as long as `patience` lasts.
pub(crate) fn run<T: Send + 'static>(
    patience: &Patience,
    job: impl FnOnce(&Reporter) -> Result<T, CardError> + Send + 'static,
    step: &mut dyn FnMut(Step),
) -> Result<T, CardError> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("card".to_owned())
        .spawn(move || work(job, &sender))
        .map_err(|error| CardError::Transport { message: format!("no thread for the card: {error}") })?;
    wait(patience, &receiver, step)
}

fn work<T: Send + 'static>(job: impl FnOnce(&Reporter) -> Result<T, CardError>, sender: &Sender<Message<T>>) {
    let events = sender.clone();
    // Nobody listens any more once the caller has given up.
    let reporter = Reporter(Box::new(move |event| drop(events.send(Message::Event(event)))));
    let outcome = catch_unwind(AssertUnwindSafe(|| job(&reporter))).unwrap_or(Err(CardError::Fault));
    drop(sender.send(Message::Done(outcome)));
}

fn wait<T>(
    patience: &Patience,
    receiver: &Receiver<Message<T>>,
    step: &mut dyn FnMut(Step),
) -> Result<T, CardError> {
    let mut doing = Doing::Connecting;
    let mut since = Instant::now();
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(Message::Done(outcome)) => return outcome,
            Ok(Message::Event(event)) => {
                step(Step::Event(event));
                doing = match event {
                    Event::Connected | Event::Signing | Event::NotTouched(_) => Doing::Signing,
                    Event::Pinpad => Doing::Pinpad,
                    Event::Touch => Doing::Touch,
                };
                since = Instant::now();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err(CardError::Fault),
        }
        let now = Instant::now();
        let waited = now.duration_since(since);
        if patience.cancel.load(Ordering::Relaxed) {
            return Err(CardError::Cancelled { waited });
        }
        let left = patience.deadline.saturating_duration_since(now);
        if left.is_zero() {
            return Err(CardError::OutOfTime { waited, doing });
        }
        step(Step::Tick { doing, waited, left });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// Long enough that no test ends by it.
    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn a_panic_is_an_error() {
        let outcome: Result<(), _> = run(&Patience::lasting(LONG), |_| panic!("in the card"), &mut |_| {});
        assert!(matches!(outcome, Err(CardError::Fault)));
    }

    #[test]
    fn cancelling_does_not_wait_for_the_card() {
        let (_keep, block) = mpsc::channel::<()>();
        let patience = Patience::lasting(LONG);
        let cancel = Arc::clone(&patience.cancel);
        let job = move |reporter: &Reporter| {
            reporter.tell(Event::Touch);
            block.recv().map_err(|_| CardError::Removed)
        };
        let outcome = run(&patience, job, &mut |step| {
            if let Step::Event(Event::Touch) = step {
                cancel.store(true, Ordering::Relaxed);
            }
        });
        assert!(matches!(outcome, Err(CardError::Cancelled { .. })));
    }

    #[test]
    fn somebody_who_waits_to_look_is_told() {
        let (let_go, block) = mpsc::channel();
        let mut patience = Patience::lasting(LONG);
        let let_go = std::sync::Mutex::new(Some(let_go));
        patience.waiting = Arc::new(move |doing, _, left| {
            assert!(doing == Doing::Connecting && left <= LONG);
            // What the job waits for comes from here, so it ends only if somebody is told.
            drop(let_go.lock().unwrap().take());
        });
        let told = run_quietly(&patience, move || {
            let told: Result<(), mpsc::RecvError> = block.recv();
            Ok(told.is_err())
        });
        assert!(told.unwrap());
    }

    #[test]
    fn the_deadline_says_what_was_awaited() {
        // On a busy machine the first, short times may be over before the thread has begun.
        let outcome = (0..10).map(|round| {
            let (_keep, block) = mpsc::channel::<()>();
            let job = move |reporter: &Reporter| {
                reporter.tell(Event::Touch);
                block.recv().map_err(|_| CardError::Removed)
            };
            let mut ticks = 0;
            let patience = Patience::lasting(Duration::from_millis(300 << round));
            let outcome = run(&patience, job, &mut |step| {
                if let Step::Tick { .. } = step {
                    ticks += 1;
                }
            });
            (outcome, ticks)
        });
        let touch = |outcome: &Result<(), CardError>| {
            matches!(outcome, Err(CardError::OutOfTime { doing: Doing::Touch, .. }))
        };
        assert!(outcome.into_iter().any(|(outcome, ticks)| touch(&outcome) && ticks > 0));
    }
}
