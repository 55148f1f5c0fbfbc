//! Tokens and readers as the kernel sees them, and whether this user may open them: what comes before pcscd.
//!
//! # Source
//! Linux, `Documentation/ABI/stable/sysfs-bus-usb`; USB class codes, 0B: smart card.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Devices and their parts looked at; a full USB tree has 127 devices.
const MAX_ENTRIES: usize = 4096;
/// The longest attribute that is read; a USB string has 126 characters.
const MAX_ATTRIBUTE: u64 = 512;
/// The class of smart card readers, tokens included.
const SMART_CARD: &str = "0b";
/// Yubico's vendor number: its tokens can be set to be no smart card reader.
const YUBICO: u16 = 0x1050;

/// Our rules as `make install` names them, and where udev looks for rules.
const RULES: &str = "70-touchgate.rules";
const RULE_FOLDERS: [&str; 5] = [
    "etc/udev/rules.d",
    "run/udev/rules.d",
    "usr/local/lib/udev/rules.d",
    "usr/lib/udev/rules.d",
    "lib/udev/rules.d",
];
/// Where distributions install pcscd, and its driver for USB readers.
const PCSCD: [&str; 4] = ["usr/sbin/pcscd", "usr/local/sbin/pcscd", "usr/bin/pcscd", "sbin/pcscd"];
const CCID: [&str; 4] = [
    "usr/lib/pcsc/drivers/ifd-ccid.bundle",
    "usr/lib64/pcsc/drivers/ifd-ccid.bundle",
    "usr/lib64/readers/usb/ifd-ccid.bundle",
    "usr/lib/readers/usb/ifd-ccid.bundle",
];

/// The files of a machine: this one's, or a copy's below some folder.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
}

/// A token or reader on USB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Maker and product in the device's own words, or its numbers if it has none.
    pub name: String,
    /// The file by which programs open it.
    pub node: PathBuf,
    /// Whether it is a smart card reader. A YubiKey can be told not to be one.
    pub smart_card: bool,
    /// Whether this process may open it.
    pub access: Access,
}

/// Whether a device may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The file's mode and access control list say no.
    Denied,
    /// It may.
    Granted,
    /// There is no such file, as in a container that was not given the device.
    NoNode,
}

impl Default for Machine {
    fn default() -> Self {
        Self::at("/")
    }
}

impl Machine {
    /// The machine whose files lie below `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// What is on USB, in the order of its names in sysfs. Nothing where there is no sysfs.
    pub fn devices(&self) -> Vec<Device> {
        let Ok(entries) = fs::read_dir(self.root.join("sys/bus/usb/devices")) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().take(MAX_ENTRIES).map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| self.device(path)).collect()
    }

    fn device(&self, path: &Path) -> Option<Device> {
        // Interfaces stand beside devices and have no such number.
        let vendor = u16::from_str_radix(&attribute(path, "idVendor")?, 16).ok()?;
        let product = attribute(path, "idProduct")?;
        let smart_card = is_smart_card(path);
        if !smart_card && vendor != YUBICO {
            return None;
        }
        let number = |name| attribute(path, name)?.parse::<u16>().ok();
        let node = format!("dev/bus/usb/{:03}/{:03}", number("busnum")?, number("devnum")?);
        let node = self.root.join(node);
        let words: Vec<String> =
            ["manufacturer", "product"].iter().filter_map(|name| attribute(path, name)).collect();
        let name = if words.is_empty() { format!("{vendor:04x}:{product}") } else { words.join(" ") };
        Some(Device { name, access: access(&node), node, smart_card })
    }

    /// Where our device rules are installed, if they are.
    pub fn rules(&self) -> Option<PathBuf> {
        RULE_FOLDERS.iter().map(|folder| self.root.join(folder).join(RULES)).find(|path| path.exists())
    }

    /// Whether pcscd is installed in one of its usual places.
    pub fn has_pcscd(&self) -> bool {
        PCSCD.iter().any(|path| self.root.join(path).exists())
    }

    /// Whether pcscd's driver for USB readers is installed in one of its usual places.
    pub fn has_ccid_driver(&self) -> bool {
        CCID.iter().any(|path| self.root.join(path).exists())
    }
}

/// Whether one of a device's interfaces, which lie in folders of their own inside, is a smart card reader.
fn is_smart_card(device: &Path) -> bool {
    let Ok(parts) = fs::read_dir(device) else { return false };
    parts
        .flatten()
        .take(MAX_ENTRIES)
        .any(|part| attribute(&part.path(), "bInterfaceClass").is_some_and(|class| class == SMART_CARD))
}

/// An attribute's text, if it has any.
fn attribute(path: &Path, name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path.join(name)).ok()?.take(MAX_ATTRIBUTE).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Asked of the kernel, which knows access control lists, without opening: that would wake a sleeping device.
fn access(node: &Path) -> Access {
    if !node.exists() {
        return Access::NoNode;
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Access as Mode, AtFlags, CWD, accessat};
        if accessat(CWD, node, Mode::READ_OK | Mode::WRITE_OK, AtFlags::EACCESS).is_ok() {
            return Access::Granted;
        }
    }
    Access::Denied
}
