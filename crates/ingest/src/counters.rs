use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Everything that ingestion counts. At every moment without traffic in flight:
/// decoded = refused + admitted, per protocol.
#[derive(Debug, Default)]
pub struct Counters {
    bytes: Family<OfProtocol, Counter>,
    frames: Family<OfProtocol, Counter>,
    frames_dropped: Family<WithReason, Counter>,
    decoded: Family<OfProtocol, Counter>,
    refused: Family<WithReason, Counter>,
    admitted: Family<OfProtocol, Counter>,
    open: Family<OfProtocol, Gauge>,
    closed: Family<WithReason, Counter>,
    replies_dropped: Family<OfProtocol, Counter>,
    answers_withheld: Family<OfProtocol, Counter>,
    datagrams_missing: Family<OfProtocol, Counter>,
    datagrams_reordered: Family<OfProtocol, Counter>,
    datagrams_restarted: Family<OfProtocol, Counter>,
    gap_senders_forgotten: Family<OfProtocol, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProtocol {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithReason {
    protocol: &'static str,
    reason: &'static str,
}

impl Counters {
    /// Shows all counters on `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("bytes_received", "Bytes read from sockets", self.bytes.clone());
        registry.register("frames", "Frames cut out of the bytes", self.frames.clone());
        registry.register("frames_dropped", "Frames and noise that gave nothing", self.frames_dropped.clone());
        registry.register("reports_decoded", "Positions found in frames", self.decoded.clone());
        registry.register("reports_refused", "Positions refused by value", self.refused.clone());
        registry.register("reports_admitted", "Positions handed to the engine", self.admitted.clone());
        registry.register("connections_open", "Connections open now", self.open.clone());
        registry.register("connections_closed", "Connections closed, by reason", self.closed.clone());
        registry.register("replies_dropped", "Answers to datagrams that were not sent", self.replies_dropped.clone());
        let help = "Answers not sent because what they answer is not stored";
        registry.register("answers_withheld", help, self.answers_withheld.clone());
        let help = "Frame numbers skipped by senders of datagrams; less those reordered, they never came";
        registry.register("datagrams_missing", help, self.datagrams_missing.clone());
        let help = "Frames in datagrams that came after one with a higher number";
        registry.register("datagrams_reordered", help, self.datagrams_reordered.clone());
        let help = "Times that a sender of datagrams started its numbers anew";
        registry.register("datagrams_restarted", help, self.datagrams_restarted.clone());
        let help = "Senders whose gaps were forgotten because too many were heard since";
        registry.register("gap_senders_forgotten", help, self.gap_senders_forgotten.clone());
    }

    /// Bytes were read.
    pub fn bytes(&self, protocol: &'static str, bytes: usize) {
        self.bytes.get_or_create(&OfProtocol { protocol }).inc_by(bytes as u64);
    }

    /// A frame was cut.
    pub fn frame(&self, protocol: &'static str) {
        self.frames.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// A frame or noise gave nothing.
    pub fn frame_dropped(&self, protocol: &'static str, reason: &'static str) {
        self.frames_dropped.get_or_create(&WithReason { protocol, reason }).inc();
    }

    /// Positions were found.
    pub fn decoded(&self, protocol: &'static str, reports: usize) {
        self.decoded.get_or_create(&OfProtocol { protocol }).inc_by(reports as u64);
    }

    /// Positions were refused.
    pub fn refused(&self, protocol: &'static str, reason: &'static str, reports: usize) {
        self.refused.get_or_create(&WithReason { protocol, reason }).inc_by(reports as u64);
    }

    /// Positions were handed over.
    pub fn admitted(&self, protocol: &'static str, reports: usize) {
        self.admitted.get_or_create(&OfProtocol { protocol }).inc_by(reports as u64);
    }

    /// A connection opened.
    pub fn opened(&self, protocol: &'static str) {
        self.open.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// A connection that was open closed.
    pub fn closed(&self, protocol: &'static str, reason: &'static str) {
        self.open.get_or_create(&OfProtocol { protocol }).dec();
        self.closed.get_or_create(&WithReason { protocol, reason }).inc();
    }

    /// A connection was refused before it was served.
    pub fn turned_away(&self, protocol: &'static str, reason: &'static str) {
        self.closed.get_or_create(&WithReason { protocol, reason }).inc();
    }

    /// An answer to a datagram was not sent.
    pub fn reply_dropped(&self, protocol: &'static str) {
        self.replies_dropped.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// An answer was not sent because what it answers is not stored.
    pub fn answer_withheld(&self, protocol: &'static str) {
        self.answers_withheld.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// Frame numbers were skipped. Those that come later after all are [`Self::reordered`] too: a
    /// counter never falls.
    pub fn missing(&self, protocol: &'static str, numbers: u64) {
        if numbers > 0 {
            self.datagrams_missing.get_or_create(&OfProtocol { protocol }).inc_by(numbers);
        }
    }

    /// A frame came after one with a higher number.
    pub fn reordered(&self, protocol: &'static str) {
        self.datagrams_reordered.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// A sender started its numbers anew.
    pub fn restarted(&self, protocol: &'static str) {
        self.datagrams_restarted.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// The gaps of a sender of `protocol` were forgotten.
    pub fn gap_sender_forgotten(&self, protocol: &'static str) {
        self.gap_senders_forgotten.get_or_create(&OfProtocol { protocol }).inc();
    }

    /// How many senders' gaps were forgotten.
    #[must_use]
    pub fn gap_senders_forgotten_so_far(&self, protocol: &'static str) -> u64 {
        self.gap_senders_forgotten.get_or_create(&OfProtocol { protocol }).get()
    }

    /// How many connections ended, or were not served, for `reason`.
    #[must_use]
    pub fn turned_away_so_far(&self, protocol: &'static str, reason: &'static str) -> u64 {
        self.closed.get_or_create(&WithReason { protocol, reason }).get()
    }

    /// How many frames were dropped for `reason`.
    #[must_use]
    pub fn dropped_so_far(&self, protocol: &'static str, reason: &'static str) -> u64 {
        self.frames_dropped.get_or_create(&WithReason { protocol, reason }).get()
    }

    /// How many positions were refused for `reason`.
    #[must_use]
    pub fn refused_so_far(&self, protocol: &'static str, reason: &'static str) -> u64 {
        self.refused.get_or_create(&WithReason { protocol, reason }).get()
    }
}
