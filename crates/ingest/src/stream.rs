use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use model::limits::{BATCH_REPORTS_MAX, ENGINE_BATCH_MAX, LAST_WORD_LINGER};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};
use wire::{Cut, Protocol};

use crate::{Admission, Allowed, Answer, Door, Intake, NotSettled, Session, Setting};

/// Most bytes of one read. A buffer holds less than one frame, and one read.
const READ_BYTES: usize = 16 * 1024;
/// Most batches' answers that wait for their settlement before the socket is no longer read.
const UNSETTLED_MAX: usize = model::limits::UNSETTLED_FRAMES_MAX;

/// Where the connections of a listener come from: a socket, or what encrypts on one.
pub trait Incoming: Send + 'static {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one that `door` lets in; others are closed at once. What is given up on the way loses no connection.
    fn accept(&mut self, door: Door<'_>) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The devices that whoever is at the other end may speak for, if it logged on; all, if it did not or may.
    fn own_devices(_: &Self::Stream) -> Arc<Allowed> {
        Arc::default()
    }
}

impl Incoming for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self, door: Door<'_>) -> io::Result<TcpStream> {
        loop {
            let (stream, peer) = Self::accept(self).await?;
            if door.lets_in(peer.ip()) {
                // Answers are small and awaited; without this they would wait for each other.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
        }
    }
}

/// Serves connections until the task is dropped. One task a connection; those over the limit
/// are closed at once and counted.
pub async fn listen_stream<I: Intake, L: Incoming>(mut listener: L, protocol: &'static Protocol, setting: Setting<I>) {
    let room = Arc::new(Semaphore::new(setting.limits.connections_max));
    loop {
        let door = Door::of(&setting.allowed, &setting.counters, protocol.name);
        let stream = match listener.accept(door).await {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file descriptors, or the peer is gone already. Wait a moment and go on.
                warn!(protocol = protocol.name, %error, "Connection not accepted.");
                setting.counters.turned_away(protocol.name, "accept_error");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            setting.counters.turned_away(protocol.name, "connections_max");
            continue;
        };
        let setting = setting.clone();
        tokio::spawn(async move {
            setting.counters.opened(protocol.name);
            let own = L::own_devices(&stream);
            let ended = Connection::new(stream, protocol, &setting, own).serve(&setting).await;
            debug!(protocol = protocol.name, reason = ended.reason(), error = ?ended.error(), "Connection closed.");
            setting.counters.closed(protocol.name, ended.reason());
            drop(place);
        });
    }
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    Peer,
    FirstFrame,
    Idle,
    Lost,
    Unread,
    Error(io::Error),
    Stopped,
}

impl End {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::FirstFrame => "first_frame_deadline",
            Self::Idle => "idle",
            Self::Lost => "stream_lost",
            Self::Unread => "answers_unread",
            Self::Error(_) => "error",
            Self::Stopped => "engine_stopped",
        }
    }
}

impl End {
    const fn error(&self) -> Option<&io::Error> {
        if let Self::Error(error) = self { Some(error) } else { None }
    }
}

struct Connection<I: Intake, S> {
    stream: S,
    protocol: &'static Protocol,
    session: Session<I>,
    buffer: BytesMut,
    /// Answers in the order of their frames, each with what it waits for.
    unsettled: VecDeque<(I::Settlement, Vec<Answer>)>,
    has_framed: bool,
}

impl<I: Intake, S: AsyncRead + AsyncWrite + Unpin> Connection<I, S> {
    fn new(stream: S, protocol: &'static Protocol, setting: &Setting<I>, own: Arc<Allowed>) -> Self {
        let session = Session::new(protocol, setting).connected().only(own);
        Self { stream, protocol, session, buffer: BytesMut::new(), unsettled: VecDeque::new(), has_framed: false }
    }

    async fn serve(mut self, setting: &Setting<I>) -> End {
        let limits = setting.limits;
        let mut silent_until = Instant::now() + limits.first_frame;
        loop {
            self.buffer.reserve(READ_BYTES);
            let may_read = self.unsettled.len() < UNSETTLED_MAX;
            let is_waiting = !self.unsettled.is_empty();
            let front = self.unsettled.front_mut();
            tokio::select! {
                settled = async { (&mut front.expect("guarded: there is a front").0).await }, if is_waiting => {
                    let (_, answers) = self.unsettled.pop_front().expect("the front was awaited");
                    if let Err(end) = self.answer(&settled, answers, setting).await {
                        return end;
                    }
                }
                read = read_some(&mut self.stream, &mut self.buffer), if may_read => match read {
                    Ok(0) => return self.farewell(setting).await,
                    Err(error) => return End::Error(error),
                    Ok(bytes) => {
                        setting.counters.bytes(self.protocol.name, bytes);
                        if let Err(end) = self.take_frames(setting).await {
                            return end;
                        }
                        if self.has_framed {
                            silent_until = Instant::now() + limits.idle;
                        }
                    }
                },
                () = tokio::time::sleep_until(silent_until) => {
                    return if self.has_framed { End::Idle } else { End::FirstFrame };
                }
            }
        }
    }

    /// Cuts, decodes, admits and hands over all frames in the buffer, in batches that are bounded.
    async fn take_frames(&mut self, setting: &Setting<I>) -> Result<(), End> {
        let received = setting.clock.now();
        let mut all = Admission::default();
        let name = self.protocol.name;
        loop {
            match self.protocol.framing.cut(&self.buffer) {
                Cut::More => return self.hand_over(all, setting).await,
                Cut::Skip { bytes, error } => {
                    if let Some(error) = error {
                        setting.counters.frame_dropped(name, error.reason());
                    }
                    self.buffer.advance(bytes);
                }
                Cut::Frame { frame, consumed } => {
                    self.has_framed = true;
                    if all.heard.capacity() == 0 {
                        all.heard = setting.intake.buffer();
                    }
                    self.session.take(&self.buffer[frame], received, &mut all);
                    self.buffer.advance(consumed);
                    if let Some(last_word) = self.session.take_last_word() {
                        self.hand_over(all, setting).await?;
                        return Err(self.part(Some(last_word), setting).await);
                    }
                    // The next frame holds at most one batch of a gateway.
                    if all.heard.len() > ENGINE_BATCH_MAX - BATCH_REPORTS_MAX {
                        self.hand_over(std::mem::take(&mut all), setting).await?;
                    }
                }
                Cut::Lost(error) => {
                    setting.counters.frame_dropped(self.protocol.name, error.reason());
                    self.hand_over(all, setting).await?;
                    return Err(self.part(self.session.last_word(error), setting).await);
                }
            }
        }
    }

    async fn hand_over(&mut self, all: Admission, setting: &Setting<I>) -> Result<(), End> {
        if !all.heard.is_empty() || !all.answers.is_empty() {
            let settlement = setting.intake.submit(all.heard).await.map_err(|_| End::Stopped)?;
            setting.counters.admitted(self.protocol.name, all.reports);
            self.unsettled.push_back((settlement, all.answers));
        }
        Ok(())
    }

    /// The stream cannot be followed any more: what came before is settled and answered, then the peer is told.
    async fn part(&mut self, last_word: Option<Vec<u8>>, setting: &Setting<I>) -> End {
        if let Err(end) = self.settle_all(setting).await {
            return end;
        }
        let said = async {
            self.stream.write_all(&last_word.unwrap_or_default()).await?;
            self.stream.shutdown().await
        };
        match timeout(setting.limits.idle, said).await {
            Err(_) => return End::Unread,
            Ok(Err(error)) => return End::Error(error),
            Ok(Ok(())) => {}
        }
        // A socket that is closed with bytes unread takes back what it has sent, so these are read and dropped for a moment.
        let drain = async {
            loop {
                self.buffer.clear();
                self.buffer.reserve(READ_BYTES);
                match read_some(&mut self.stream, &mut self.buffer).await {
                    Ok(0) | Err(_) => return,
                    Ok(bytes) => setting.counters.bytes(self.protocol.name, bytes),
                }
            }
        };
        let _ = timeout(LAST_WORD_LINGER, drain).await;
        End::Lost
    }

    async fn settle_all(&mut self, setting: &Setting<I>) -> Result<(), End> {
        while let Some((settlement, answers)) = self.unsettled.pop_front() {
            let settled = settlement.await;
            self.answer(&settled, answers, setting).await?;
        }
        Ok(())
    }

    /// The peer closed its side: what it sent is settled and answered before we close ours.
    async fn farewell(mut self, setting: &Setting<I>) -> End {
        if !self.buffer.is_empty() {
            let framing = &self.protocol.framing;
            let tail = self.buffer.split();
            let received = setting.clock.now();
            let mut all = Admission::default();
            if framing.datagram == wire::Datagram::AsStream {
                // A last line without its end is a line.
                framing.each_in_datagram(&tail, |frame| {
                    if let Ok(frame) = frame {
                        self.session.take(frame, received, &mut all);
                    }
                });
            } else {
                setting.counters.frame_dropped(self.protocol.name, "truncated");
            }
            match setting.intake.submit(all.heard).await {
                Err(_) => return End::Stopped,
                Ok(settlement) => self.unsettled.push_back((settlement, all.answers)),
            }
            setting.counters.admitted(self.protocol.name, all.reports);
        }
        match self.settle_all(setting).await {
            Err(end) => end,
            Ok(()) => End::Peer,
        }
    }

    /// Sends what `settled` lets out. What it does not is counted: the sender keeps what it sent.
    async fn answer(
        &mut self,
        settled: &Result<(), NotSettled>,
        answers: Vec<Answer>,
        setting: &Setting<I>,
    ) -> Result<(), End> {
        if matches!(settled, Err(NotSettled::Stopped)) {
            return Err(End::Stopped);
        }
        let mut bytes = Vec::new();
        for answer in answers {
            match answer.bytes(settled) {
                Some(answer) => bytes.extend(answer),
                None => setting.counters.answer_withheld(self.protocol.name),
            }
        }
        match timeout(setting.limits.idle, self.stream.write_all(&bytes)).await {
            Err(_) => Err(End::Unread),
            Ok(written) => written.map_err(End::Error),
        }
    }
}

/// Reads at most [`READ_BYTES`], however much memory the buffer has.
async fn read_some(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) -> io::Result<usize> {
    stream.read_buf(&mut buffer.limit(READ_BYTES)).await
}
