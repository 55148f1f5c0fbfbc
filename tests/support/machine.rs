//! The files of a machine with a YubiKey plugged in, for `doctor --root`, and card services that are not well.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Below a root: what Linux shows of a YubiKey 5 in sysfs, its device file, and what is installed.
pub struct Machine(pub PathBuf);

/// The device in sysfs and in `/dev`, as `lsusb` numbers it: bus 1, device 5, port 2.
const DEVICE: &str = "sys/devices/pci0000:00/0000:00:14.0/usb1/1-2";
const NODE: &str = "dev/bus/usb/001/005";

impl Machine {
    pub fn new(root: PathBuf) -> Self {
        let machine = Self(root);
        machine.write("usr/sbin/pcscd", "");
        machine.write("usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist", "");
        let attributes = [
            ("idVendor", "1050"),
            ("idProduct", "0407"),
            ("manufacturer", "Yubico"),
            ("product", "YubiKey OTP+FIDO+CCID"),
            ("busnum", "1"),
            ("devnum", "5"),
        ];
        for (name, text) in attributes {
            machine.write(&format!("{DEVICE}/{name}"), &format!("{text}\n"));
        }
        // Keyboard, FIDO, smart card.
        for (number, class) in [("0", "03"), ("1", "03"), ("2", "0b")] {
            machine.write(&format!("{DEVICE}/1-2:1.{number}/bInterfaceClass"), &format!("{class}\n"));
        }
        // A hub, which is none of ours.
        machine.write("sys/devices/pci0000:00/0000:00:14.0/usb1/idVendor", "1d6b\n");
        machine.write("sys/devices/pci0000:00/0000:00:14.0/usb1/idProduct", "0002\n");
        let shown = machine.0.join("sys/bus/usb/devices");
        fs::create_dir_all(&shown).unwrap();
        for name in ["usb1", "usb1/1-2", "usb1/1-2/1-2:1.0", "usb1/1-2/1-2:1.1", "usb1/1-2/1-2:1.2"] {
            let target = format!("../../../devices/pci0000:00/0000:00:14.0/{name}");
            symlink(target, shown.join(Path::new(name).file_name().unwrap())).unwrap();
        }
        machine.write(NODE, "");
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn node(&self) -> PathBuf {
        self.0.join(NODE)
    }

    /// As after `ykman config usb --disable` for OPENPGP, PIV and OATH.
    pub fn switch_smart_card_off(&self) {
        fs::remove_dir_all(self.0.join(DEVICE).join("1-2:1.2")).unwrap();
        self.write(&format!("{DEVICE}/idProduct"), "0403\n");
        self.write(&format!("{DEVICE}/product"), "YubiKey OTP+FIDO\n");
    }

    pub fn unplug(&self) {
        fs::remove_dir_all(self.0.join("sys")).unwrap();
    }

    pub fn forbid_node(&self) {
        forbid(&self.node());
    }

    pub fn remove_node(&self) {
        fs::remove_file(self.node()).unwrap();
    }

    pub fn install_rules(&self) {
        self.write("etc/udev/rules.d/70-touchgate.rules", "");
    }

    pub fn uninstall(&self, what: &str) {
        let path = match what {
            "pcscd" => "usr/sbin/pcscd",
            "libccid" => "usr/lib/pcsc/drivers",
            _ => panic!("what is {what}?"),
        };
        let path = self.0.join(path);
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
}

pub fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
}

/// The program and its first arguments by which even root is bound by a file's mode, as everybody else is.
pub fn bound_by_modes() -> Vec<&'static str> {
    if rustix::process::geteuid().is_root() {
        vec!["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    } else {
        Vec::new()
    }
}

/// A socket that nobody listens at any more, as pcscd leaves it when it is killed.
pub fn dead_socket(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

/// A socket whose clients are all turned away without a word: what a pcscd does to those that polkit denies.
pub fn closing_socket(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

/// A pcscd at `socket` without any reader, whatever is plugged in. It has `/run` and USB drivers to itself.
pub fn pcscd_without_reader(command: &mut Command, socket: &Path, empty: &Path) -> Child {
    const SCRIPT: &str = "mount -t tmpfs none /run && mount -t tmpfs none /usr/lib/pcsc/drivers && \
                          exec 3<&0 </dev/null; LISTEN_FDS=1; LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; \
                          exec /usr/sbin/pcscd --foreground --config \"$0\"";
    let listener = UnixListener::bind(socket).unwrap();
    command.args(["--mount", "--map-root-user", "sh", "-c", SCRIPT]).arg(empty);
    command.stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}
