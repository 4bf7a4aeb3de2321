use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::limits::{UDP_SESSIONS_MAX, UDP_SWEEP_INTERVAL};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;
use wire::Protocol;

use crate::{Admission, Answer, Intake, Session, Setting};

/// Largest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Answers that may wait for their settlement at once.
const REPLIES_MAX: usize = 1_024;

/// Serves datagrams until the task is dropped. Each sender has a session; nothing is promised: when
/// the engine's queue is full a datagram is dropped and counted. Where frames are numbered, what never
/// reached us is counted too ([`crate::Gaps`]).
pub async fn listen_datagrams<I: Intake>(socket: UdpSocket, protocol: &'static Protocol, setting: Setting<I>) {
    let mut listener = Listener {
        socket: Arc::new(socket),
        protocol,
        senders: Senders::remembering(UDP_SESSIONS_MAX, setting.limits.idle),
        setting,
        replies: Arc::new(Semaphore::new(REPLIES_MAX)),
    };
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        match listener.socket.recv_from(&mut datagram).await {
            Ok((bytes, sender)) => listener.take(&datagram[..bytes], sender),
            // An earlier answer could not be delivered; the socket goes on.
            Err(error) => warn!(protocol = protocol.name, %error, "Datagram not received."),
        }
    }
}

struct Listener<I> {
    socket: Arc<UdpSocket>,
    protocol: &'static Protocol,
    setting: Setting<I>,
    senders: Senders<Session<I>>,
    replies: Arc<Semaphore>,
}

impl<I: Intake> Listener<I> {
    fn take(&mut self, datagram: &[u8], sender: SocketAddr) {
        let (name, setting) = (self.protocol.name, &self.setting);
        if !setting.allowed.has_address(sender.ip()) {
            // Before it is remembered: strangers take no room from those who may speak.
            return setting.counters.frame_dropped(name, "network");
        }
        setting.counters.bytes(name, datagram.len());
        let fresh = || Session::new(self.protocol, setting);
        let Some(session) = self.senders.of(sender, Instant::now(), fresh) else {
            return setting.counters.frame_dropped(name, "udp_sessions_max");
        };
        let received = setting.clock.now();
        let mut all = Admission { heard: setting.intake.buffer(), ..Admission::default() };
        self.protocol.framing.each_in_datagram(datagram, |frame| match frame {
            Err(error) => setting.counters.frame_dropped(name, error.reason()),
            Ok(frame) => {
                session.take(frame, received, &mut all);
                if let Some(number) = session.take_number() {
                    setting.gaps.hear(number, name, setting.clock.monotonic(), &setting.counters);
                }
            }
        });
        // A batch of the `muster` format gets no acknowledgement over UDP: the format says so. Nor do its numbers outlive it, since a
        // datagram that is lost, or comes twice or late, would shift them to other units.
        if self.protocol.framing.datagram == wire::Datagram::OneMessage {
            all.answers.clear();
            session.forget_numbers();
        }
        match setting.intake.try_submit(all.heard) {
            Err(_) => setting.counters.refused(name, "queue_full", all.reports),
            Ok(settlement) => {
                setting.counters.admitted(name, all.reports);
                self.answer(settlement, all.answers, sender);
            }
        }
    }

    fn answer(&self, settlement: I::Settlement, answers: Vec<Answer>, sender: SocketAddr) {
        if answers.is_empty() {
            return;
        }
        let Ok(place) = Arc::clone(&self.replies).try_acquire_owned() else {
            return self.setting.counters.reply_dropped(self.protocol.name);
        };
        let (socket, counters, name) =
            (Arc::clone(&self.socket), Arc::clone(&self.setting.counters), self.protocol.name);
        tokio::spawn(async move {
            let settled = settlement.await;
            for answer in answers {
                match answer.bytes(&settled) {
                    Some(bytes) => drop(socket.send_to(&bytes, sender).await),
                    None => counters.answer_withheld(name),
                }
            }
            drop(place);
        });
    }
}

/// What is remembered of each sender, with the time it was heard last.
struct Senders<S> {
    by_address: HashMap<SocketAddr, (S, Instant)>,
    senders_max: usize,
    idle: Duration,
    /// When the whole table was last looked through for silent senders.
    swept_at: Option<Instant>,
}

impl<S> Senders<S> {
    fn remembering(senders_max: usize, idle: Duration) -> Self {
        Self { by_address: HashMap::new(), senders_max, idle, swept_at: None }
    }

    /// What is remembered of `sender`, `fresh` when it is new; `None` when there is no room for it.
    fn of(&mut self, sender: SocketAddr, now: Instant, fresh: impl FnOnce() -> S) -> Option<&mut S> {
        if !self.by_address.contains_key(&sender) && !self.make_room(now) {
            return None;
        }
        let (known, heard_at) = self.by_address.entry(sender).or_insert_with(|| (fresh(), now));
        *heard_at = now;
        Some(known)
    }

    /// Whether one more sender can be remembered. Forgets those that are silent, but not at each datagram: anyone can send from
    /// addresses that are new.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.by_address.len() >= self.senders_max
            && self.swept_at.is_none_or(|at| now.duration_since(at) >= UDP_SWEEP_INTERVAL)
        {
            self.swept_at = Some(now);
            self.by_address.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < self.idle);
        }
        self.by_address.len() < self.senders_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_is_looked_through_once_a_second() {
        let sender = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let (start, idle) = (Instant::now(), Duration::from_secs(10));
        let at = |ms| start + Duration::from_millis(ms);
        let mut senders = Senders::remembering(2, idle);
        assert!(senders.of(sender(1), at(0), || ()).is_some());
        assert!(senders.of(sender(2), at(9_500), || ()).is_some());
        assert!(senders.of(sender(3), at(9_600), || ()).is_none(), "both are heard; looked through");
        assert!(senders.of(sender(3), at(10_100), || ()).is_none(), "one is silent, but it is too soon to look");
        assert!(senders.of(sender(2), at(10_200), || ()).is_some(), "who is known is heard at any time");
        assert!(senders.of(sender(3), at(10_600), || ()).is_some());
        assert!(senders.of(sender(1), at(10_700), || ()).is_none());
    }
}
