use model::{DeviceId, DeviceSignal, PositionReport, SenderName, TerminalStatus, Timestamp};

use crate::{DecodeError, Framing};

/// One wire format: its name, how its frames are cut, and who decodes them.
#[derive(Debug)]
pub struct Protocol {
    /// The word for it on the command line and in device names.
    pub name: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// The transports that it runs over.
    pub transports: &'static [Transport],
    /// How frames are told apart.
    pub framing: Framing,
    /// A decoder for a new session (a connection, or one sender of datagrams).
    pub decoder: fn() -> Box<dyn Decoder>,
}

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A stream with answers on the same connection.
    Tcp,
    /// Datagrams; nothing is promised.
    Udp,
}

impl Transport {
    /// The word in `--listen PROTOCOL=tcp://ADDR`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a decoder knows about a frame besides its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// When the frame's last byte was read. Dates what the frame does not date.
    pub received: Timestamp,
}

/// Reads the frames of one session, in order. Keeps what a session must remember (identity, the
/// date of the last RMC, parts of a message), in bounded memory.
pub trait Decoder: Send {
    /// Adds what `frame` says to `decoded`, which the caller has cleared.
    ///
    /// # Errors
    /// [`DecodeError`] when the frame as a whole is refused: it then gets no answer. [`Decoded::last_word`] says whether a stream
    /// ends with it.
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError>;

    /// The devices that the sender has numbered so far, by their number; `None` where its name is no name. A number never changes
    /// its device until [`Self::forget_numbers`].
    fn devices(&self) -> &[Option<DeviceId>] {
        &[]
    }

    /// The gateway that the frame decoded last came from, as `gateway:<name>`; `None` where there is none.
    fn gateway(&self) -> Option<&SenderName> {
        None
    }

    /// Forgets the devices that the sender has numbered, with the memory of them: over datagrams a name may be lost, come twice or
    /// come late, so its number counts within one datagram only.
    fn forget_numbers(&mut self) {}

    /// What a peer is sent before its connection is closed because of `detail`; `None` where the protocol has no word for it.
    fn last_word(&self, detail: &str) -> Option<Vec<u8>> {
        let _ = detail;
        None
    }
}

/// All that one frame said.
#[derive(Debug, Default)]
pub struct Decoded {
    /// The kind of message, in our words (`location`, `heartbeat`, ...).
    pub kind: &'static str,
    /// Who sent the frame and its reports, where the frame or the session says so.
    pub device: Option<DeviceId>,
    /// The number that its sender gave the frame; `None` where the protocol or the sender does not number.
    /// Stands here also when the frame is refused after its number was read: it did arrive.
    pub number: Option<FrameNumber>,
    /// The places, in the order of the frame.
    pub reports: Vec<PositionReport>,
    /// Where in the frame each report stood, from 0: the number by which a batch's refusals are named.
    pub report_places: Vec<u32>,
    /// Whose each report is, where the frame names a device for each; else empty, and all are of `device`.
    pub named: Vec<DeviceId>,
    /// The same for a frame that gives numbers in [`Decoder::devices`].
    pub numbered: Vec<u32>,
    /// What else it said.
    pub signals: Vec<DeviceSignal>,
    /// Statuses that units set at their terminals.
    pub statuses: Vec<TerminalStatus>,
    /// Parts of the frame that were refused while the rest was taken, with their place from 0.
    pub faults: Vec<(u32, DecodeError)>,
    /// What to answer once everything of the frame is settled, in order.
    pub replies: Vec<Reply>,
    /// Given with a refusal after which a stream cannot be followed: what to send before the connection is closed. A datagram
    /// costs itself only.
    pub last_word: Option<Vec<u8>>,
}

impl Decoded {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.kind = "";
        self.device = None;
        self.number = None;
        self.reports.clear();
        self.report_places.clear();
        self.named.clear();
        self.numbered.clear();
        self.signals.clear();
        self.statuses.clear();
        self.faults.clear();
        self.replies.clear();
        self.last_word = None;
    }

    /// Adds a report that stood at `place` in the frame.
    pub(crate) fn push(&mut self, place: u32, report: PositionReport) {
        self.reports.push(report);
        self.report_places.push(place);
    }

    /// Who sent the report at `at`, among the `devices` that the session has numbered; `None` when nobody said.
    #[must_use]
    pub fn device_of<'a>(&'a self, at: usize, devices: &'a [Option<DeviceId>]) -> Option<&'a DeviceId> {
        if let Some(number) = self.numbered.get(at) {
            return devices.get(usize::try_from(*number).ok()?)?.as_ref();
        }
        self.named.get(at).or(self.device.as_ref())
    }
}

/// The number of a frame. A sender's numbers rise by one from frame to frame; one that is left out was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameNumber {
    /// Who counts.
    pub sender: SenderName,
    /// As sent.
    pub number: u64,
    /// Where counting goes on at 0.
    pub modulus: Modulus,
}

/// How many different numbers there are before a sender goes on at 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modulus {
    /// 65,536: numbers of two bytes.
    TwoTo16,
    /// 2^64: numbers of eight bytes.
    TwoTo64,
}

impl Modulus {
    /// How many steps up lead from `from` to `to`, over the wrap where need be.
    #[must_use]
    pub const fn steps(self, from: u64, to: u64) -> u64 {
        let steps = to.wrapping_sub(from);
        match self {
            Self::TwoTo16 => steps & 0xFFFF,
            Self::TwoTo64 => steps,
        }
    }
}

/// What goes back to the sender after the frame is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// These bytes, whatever became of the frame.
    Always(Vec<u8>),
    /// To a terminal that registers: with the code that it shows from then on, or a refusal.
    Registration(crate::jt808::Registration),
    /// To a terminal that shows a code.
    ByCode {
        /// What it showed.
        shown: Vec<u8>,
        /// If that is its code.
        right: Vec<u8>,
        /// If it is not, or the terminal is none of ours.
        wrong: Vec<u8>,
    },
    /// The acknowledgement of a `muster` batch; it lists what was refused ([`crate::muster::ack`]).
    BatchAck {
        /// Which batch.
        batch_sequence: u64,
    },
}
