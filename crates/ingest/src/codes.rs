use std::collections::HashMap;

use model::DeviceId;
use model::limits::SESSION_DEVICES_MAX;

/// Which terminals of a session have shown their code. Empty, and free, where the protocol knows none and none is needed.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// Whether the code was right.
    shown: HashMap<DeviceId, bool>,
    is_needed: bool,
}

/// What keeps the reports of a terminal out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distrust {
    /// It has shown a code that is not its own.
    WrongCode,
    /// It has shown none, and this listener needs one.
    NoCode,
}

impl Codes {
    pub(crate) fn needed(is_needed: bool) -> Self {
        Self { shown: HashMap::new(), is_needed }
    }

    /// `device` has shown `shown`, and `code` is its own. Whether that is right.
    pub(crate) fn show(&mut self, device: &DeviceId, shown: &[u8], code: &[u8]) -> bool {
        let is_right = is_same(shown, code);
        // A connection with so many terminals is an attack, or a gateway that has to show all codes again.
        if self.shown.len() >= SESSION_DEVICES_MAX && !self.shown.contains_key(device) {
            self.shown.clear();
            self.is_needed = true;
        }
        self.shown.insert(device.clone(), is_right);
        is_right
    }

    /// What speaks against `device`.
    pub(crate) fn distrust(&self, device: &DeviceId) -> Option<Distrust> {
        if self.shown.is_empty() && !self.is_needed {
            return None;
        }
        match self.shown.get(device) {
            Some(true) => None,
            Some(false) => Some(Distrust::WrongCode),
            None => self.is_needed.then_some(Distrust::NoCode),
        }
    }
}

/// Compares all bytes, so that the time does not tell how many were right.
fn is_same(shown: &[u8], code: &[u8]) -> bool {
    let differing = shown.iter().zip(code).fold(0, |all, (a, b)| all | (a ^ b));
    shown.len() == code.len() && differing == 0
}
