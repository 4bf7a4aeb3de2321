use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

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
        setting,
        senders: HashMap::new(),
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
    senders: HashMap<SocketAddr, (Session<I>, Instant)>,
    replies: Arc<Semaphore>,
}

impl<I: Intake> Listener<I> {
    fn take(&mut self, datagram: &[u8], sender: SocketAddr) {
        let (name, setting) = (self.protocol.name, &self.setting);
        setting.counters.bytes(name, datagram.len());
        if !self.senders.contains_key(&sender) && !self.make_room() {
            return self.setting.counters.frame_dropped(name, "udp_sessions_max");
        }
        let setting = &self.setting;
        let fresh = || (Session::new(self.protocol, setting), Instant::now());
        let (session, heard_at) = self.senders.entry(sender).or_insert_with(fresh);
        *heard_at = Instant::now();
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
        // A batch of the `muster` format gets no acknowledgement over UDP: the format says so.
        if self.protocol.framing.datagram == wire::Datagram::OneMessage {
            all.answers.clear();
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

    /// Whether one more sender can be remembered; forgets those that are silent.
    fn make_room(&mut self) -> bool {
        if self.senders.len() < model::limits::UDP_SESSIONS_MAX {
            return true;
        }
        let idle = self.setting.limits.idle;
        self.senders.retain(|_, (_, heard_at)| heard_at.elapsed() < idle);
        self.senders.len() < model::limits::UDP_SESSIONS_MAX
    }
}
