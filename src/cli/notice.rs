//! A notification on the desktop while a touch is awaited: what it is for, and gone again when that is over.
//!
//! For whoever does not look at the terminal. It asks nothing and decides nothing: without a session bus, or a
//! desktop behind it that shows notifications, nothing happens and nothing is said.
//!
//! # Source
//! Desktop Notifications Specification 1.2.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;
use std::time::Duration;

use dbus::arg::{RefArg, Variant};
use dbus::blocking::Connection;

const NAME: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// How long the desktop may take over an answer; it may have to start its notification service first.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the end of the command waits for the notification to be gone.
const CLOSING: Duration = Duration::from_secs(1);
/// Gone by itself after so long, should this process be killed: twice as long as a token waits for a finger.
const EXPIRES_MS: i32 = 30_000;
/// Stays until it is over instead of for some seconds.
const CRITICAL: u8 = 2;

/// A notification that is shown as long as this lives.
pub(super) struct Notice {
    /// Dropped, it tells the thread that it is over.
    over: Option<Sender<()>>,
    gone: Receiver<()>,
}

impl Notice {
    /// Shows it, if there is a desktop. Returns at once.
    pub(super) fn show(summary: String, body: String) -> Option<Self> {
        if !has_session_bus() {
            return None;
        }
        let (over, until) = mpsc::channel();
        let (done, gone) = mpsc::channel();
        let work = move || {
            if let Err(error) = show(&summary, &body, &until) {
                log::debug!("no notification: {error}");
            }
            drop(done);
        };
        thread::Builder::new().name("notice".to_owned()).spawn(work).ok()?;
        Some(Self { over: Some(over), gone })
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        drop(self.over.take());
        // Its end is the thread's; a desktop that hangs is left to itself.
        let (Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout)) =
            self.gone.recv_timeout(CLOSING);
    }
}

/// Looked for before libdbus does, which would start a bus of its own where there is a display and none runs.
fn has_session_bus() -> bool {
    match std::env::var_os("DBUS_SESSION_BUS_ADDRESS") {
        Some(address) => !address.is_empty(),
        None => {
            std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| Path::new(&folder).join("bus").exists())
        }
    }
}

fn show(summary: &str, body: &str, until: &Receiver<()>) -> Result<(), dbus::Error> {
    let bus = Connection::new_session()?;
    let desktop = bus.with_proxy(NAME, PATH, ANSWER);
    let (can,): (Vec<String>,) = desktop.method_call(NAME, "GetCapabilities", ())?;
    let body =
        if can.iter().any(|word| word == "body-markup") { without_markup(body) } else { body.to_owned() };
    if until.try_recv() == Err(TryRecvError::Disconnected) {
        return Ok(());
    }
    let hints: HashMap<&str, Variant<Box<dyn RefArg>>> = HashMap::from([
        ("urgency", Variant(Box::new(CRITICAL) as Box<dyn RefArg>)),
        ("transient", Variant(Box::new(true) as Box<dyn RefArg>)),
    ]);
    let actions: Vec<&str> = Vec::new();
    let notification = ("Touchgate", 0u32, "dialog-password", summary, body, actions, hints, EXPIRES_MS);
    let (id,): (u32,) = desktop.method_call(NAME, "Notify", notification)?;
    // Ends when the other side is dropped: nothing is ever sent.
    let _ = until.recv();
    desktop.method_call(NAME, "CloseNotification", (id,))
}

/// Text that a desktop which reads markup shows as it is.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_markup_is_shown_as_it_is() {
        assert_eq!(without_markup("a <b>& &lt;"), "a &lt;b&gt;&amp; &amp;lt;");
    }
}
