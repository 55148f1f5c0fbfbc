//! What lies below a card: the device, the right to open it, the card service, the reader.

use crate::card::select::{Reader, ReaderState};
use crate::card::usb::{Access, Device, Machine};
use crate::card::{CardError, CardPath, Route};
use crate::cli::Common;
use crate::cli::report::{Failure, exit};

use super::{Broken, Chart, broken};

/// What is known of the machine before any card is asked.
pub(super) struct Stack {
    machine: Machine,
    devices: Vec<Device>,
}

impl Stack {
    /// Looks at USB. Nothing is broken yet: a card may be reached without us opening its device.
    pub(super) fn look(machine: Machine, common: &Common, chart: &mut Chart) -> Self {
        let devices = machine.devices();
        let names: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
        chart.good(
            "device",
            if names.is_empty() {
                "no token on USB that the kernel shows".to_owned()
            } else {
                names.join(", ")
            },
        );
        let permissions: Vec<String> = devices
            .iter()
            .map(|device| {
                let node = device.node.display();
                match device.access {
                    Access::Denied => format!("{node} is pcscd's to open, not yours"),
                    Access::Granted => format!("{node} is yours to open"),
                    Access::NoNode => format!("there is no {node}"),
                }
            })
            .collect();
        let none = || "nothing to open".to_owned();
        let stack = Self { machine, devices };
        // For scdaemon's own driver it is in order only if we may open it: that is seen when it shows no card.
        if common.card_path != CardPath::Scdaemon || stack.unopenable().is_none() {
            chart.good("udev", if permissions.is_empty() { none() } else { permissions.join(", ") });
        }
        stack
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Why no way led to any reader.
    pub(super) fn no_way(&self, error: CardError, common: &Common) -> Broken {
        match error {
            CardError::NoPcscd | CardError::PcscdLost => broken("pcscd", self.no_service()),
            CardError::NoScdaemon { .. } => broken("scdaemon", error),
            CardError::NoCard { .. } | CardError::Scdaemon { .. }
                if common.card_path == CardPath::Scdaemon =>
            {
                self.denied().unwrap_or_else(|| broken("scdaemon", error))
            }
            other => broken("pcscd", other),
        }
    }

    /// What stands between us and pcscd's socket.
    #[cfg(feature = "pcsc")]
    fn no_service(&self) -> Failure {
        use std::io::ErrorKind;
        use std::os::unix::net::UnixStream;

        let socket = crate::card::pcscd_socket();
        let error = match UnixStream::connect(&socket) {
            Ok(stream) => return not_served(&stream),
            Err(error) => error,
        };
        let socket = socket.display();
        let (why, cure) = match error.kind() {
            ErrorKind::PermissionDenied => (
                format!("pcscd's socket {socket} may not be opened by this user"),
                format!(
                    "`sudo chmod 666 {socket}`, as pcscd itself has it; in a container, see who owns what was mounted there"
                ),
            ),
            ErrorKind::ConnectionRefused => (
                format!("pcscd is not running: nobody listens at {socket}"),
                "start it: `sudo systemctl restart pcscd.socket`".to_owned(),
            ),
            ErrorKind::NotFound if !self.machine.has_pcscd() => (
                "pcscd is not installed".to_owned(),
                "install it: `sudo apt install pcscd` on Debian and Ubuntu, `sudo dnf install pcsc-lite pcsc-lite-ccid` on Fedora".to_owned(),
            ),
            ErrorKind::NotFound => (
                format!("pcscd is installed and not running: there is no {socket}"),
                "start it: `sudo systemctl enable --now pcscd.socket`; without systemd: `sudo pcscd`"
                    .to_owned(),
            ),
            _ => return Failure::from(CardError::NoPcscd).fact("socket", format!("{socket}: {error}")),
        };
        Failure { message: why, hint: Some(cure), ..CardError::NoPcscd.into() }
    }

    #[cfg(not(feature = "pcsc"))]
    fn no_service(&self) -> Failure {
        CardError::NoPcscd.into()
    }

    fn unopenable(&self) -> Option<&Device> {
        self.devices.iter().find(|device| device.smart_card && device.access != Access::Granted)
    }

    /// A device that scdaemon, which runs as this user, cannot open.
    fn denied(&self) -> Option<Broken> {
        let device = self.unopenable()?;
        let node = device.node.display();
        let failure = |code, message: String| Failure { exit: exit::CARD, ..Failure::failed(code, message) };
        Some(broken(
            "udev",
            match device.access {
                Access::NoNode => failure("no-device-node", format!("{} is on USB, but there is no {node}", device.name))
                    .hint("start udev; a container must be given the device: `docker run --device=/dev/bus/usb`"),
                Access::Denied | Access::Granted => {
                    failure("udev-permission", format!("this user may not open {}, {node}", device.name)).hint(match self.machine.rules() {
                        Some(rules) => format!(
                            "the rules are in {}: pull the token and plug it in again. They serve who sits at the machine; over ssh install pcscd instead",
                            rules.display()
                        ),
                        None => "install the rules: `sudo cp udev/70-touchgate.rules /etc/udev/rules.d/`, then `sudo udevadm control --reload`, and plug the token in again".to_owned(),
                    })
                }
            },
        ))
    }

    /// Writes down service and readers.
    pub(super) fn readers(
        &self,
        readers: &[Reader],
        common: &Common,
        chart: &mut Chart,
    ) -> Result<(), Broken> {
        // scdaemon can have a token of its own, with no pcscd anywhere.
        let alone = |reader: &Reader| matches!(&reader.state, ReaderState::Present(token) if token.route() == Route::Scdaemon && reader.name == "scdaemon");
        chart.good(
            "pcscd",
            if common.card_path == CardPath::Scdaemon {
                "not asked: commands are to go through scdaemon"
            } else if !readers.is_empty() && readers.iter().all(alone) {
                "not asked: scdaemon has a token by itself"
            } else {
                "answers"
            },
        );
        if readers.is_empty() {
            return Err(self.no_reader());
        }
        let names: Vec<&str> = readers.iter().map(|reader| reader.name.as_str()).collect();
        chart.good("reader", names.join(", "));
        Ok(())
    }

    /// Why pcscd, which answers, shows no reader.
    fn no_reader(&self) -> Broken {
        let failure = |code, message: String| Failure { exit: exit::CARD, ..Failure::failed(code, message) };
        let Some(device) = self.devices.iter().find(|device| device.smart_card) else {
            return broken(
                "device",
                match self.devices.first() {
                    None => Failure::from(CardError::NoReader)
                        .hint("plug the token in; a virtual machine must be given it by its host"),
                    Some(device) => failure(
                        "ccid-off",
                        format!("{} has its smart card side (CCID) switched off", device.name),
                    )
                    .hint("switch it on: `ykman config usb --enable OPENPGP`"),
                },
            );
        };
        if device.access == Access::NoNode {
            return self.denied().unwrap_or_else(|| broken("reader", CardError::NoReader));
        }
        broken(
            "reader",
            if self.machine.has_ccid_driver() {
                failure("reader-not-seen", format!("{} is on USB, but pcscd does not show it", device.name))
                    .hint("have pcscd look again: `sudo systemctl restart pcscd`; if that does not help, the user it runs as may not open the device")
            } else {
                failure("no-driver", format!("{} is on USB, but pcscd has no driver for it", device.name))
                    .hint(
                        "install the driver: `sudo apt install libccid`, then `sudo systemctl restart pcscd`",
                    )
            },
        )
    }
}

/// Why a service that lets us connect does not serve us.
#[cfg(feature = "pcsc")]
fn not_served(mut stream: &std::os::unix::net::UnixStream) -> Failure {
    use std::io::Read as _;
    // pcscd never speaks first: what comes at once is the end of the connection.
    let ended = stream.set_read_timeout(Some(HANGS_UP_WITHIN)).and_then(|()| stream.read(&mut [0]));
    match ended {
        Ok(0) => CardError::PcscdDenied.into(),
        Ok(_) | Err(_) => Failure {
            message: "pcscd does not understand this program".into(),
            ..CardError::NoPcscd.into()
        }
        .hint("in a container, pcsc-lite inside must be as new as outside; otherwise reinstall pcscd and libpcsclite1 together"),
    }
}

/// How soon a service that denies access ends the connection: it does so before it reads.
#[cfg(feature = "pcsc")]
const HANGS_UP_WITHIN: std::time::Duration = std::time::Duration::from_secs(1);
