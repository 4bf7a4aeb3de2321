use model::{Clock, DeviceId};
use ring::hmac;
use store::{Store, StoreError};

/// Bytes of a code before it is written in hexadecimal: nobody guesses one, and the smallest terminal keeps it.
const CODE_BYTES: usize = 8;

/// The codes by which JT/T 808 terminals show that they were registered here. Each is derived from the device's name and a secret of
/// the store, so that none is kept and all hold after a restart.
pub(crate) struct TerminalCodes(hmac::Key);

impl TerminalCodes {
    /// With the secret of `store`, which makes it if need be.
    pub(crate) fn of(store: &Store, clock: &dyn Clock) -> Result<Self, StoreError> {
        let secret = store.secret("jt808_codes", clock.now())?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    /// The code of `device`, in hexadecimal.
    pub(crate) fn code(&self, device: &DeviceId) -> Vec<u8> {
        let tag = hmac::sign(&self.0, device.as_str().as_bytes());
        let bytes = tag.as_ref().iter().take(CODE_BYTES);
        bytes.flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemClock;

    #[test]
    fn each_terminal_has_a_code_of_its_own_that_another_server_does_not_know() {
        let codes = |store: &Store| TerminalCodes::of(store, &SystemClock::default()).unwrap();
        let (here, there) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
        let device = |name: &str| DeviceId::new(name).unwrap();
        let code = codes(&here).code(&device("jt808:1"));
        assert_eq!((code.len(), codes(&here).code(&device("jt808:1"))), (16, code.clone()));
        assert_ne!(codes(&here).code(&device("jt808:2")), code);
        assert_ne!(codes(&there).code(&device("jt808:1")), code);
    }

    #[test]
    fn a_code_that_was_given_before_a_restart_is_right_after_it() {
        let folder = std::env::temp_dir().join(format!("muster-codes-{}", std::process::id()));
        let code = || {
            let store = Store::open(&folder).unwrap();
            TerminalCodes::of(&store, &SystemClock::default()).unwrap().code(&DeviceId::new("jt808:1").unwrap())
        };
        let before = code();
        let after = code();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(before, after);
    }
}
