use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tracing::debug;

use super::{Course, GRACE};
use crate::Transport;
use crate::rng::{fraction, hashed};
use crate::terminals::{Fault, Terminal};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Waits between attempts to connect: doubled each time, between these two.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(15);
/// A connection that lasted so long was a good one: the next wait is the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// One sender and its way to the server.
pub(super) struct Link {
    pub(super) terminal: Box<dyn Terminal>,
    pub(super) address: SocketAddr,
    pub(super) transport: Transport,
    pub(super) switch_on: Duration,
    pub(super) seed: u64,
}

/// Why a connection ended early.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("cannot write: {0}")]
    Write(io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What a connection may do now.
struct Turn {
    is_last: bool,
    is_over: bool,
    wake: Duration,
}

impl Link {
    /// Connects, reports, connects again when the connection breaks, until the run is over.
    pub(super) async fn run(mut self, mut course: Course) {
        course.pass_until(self.switch_on).await;
        self.terminal.switch_on(self.switch_on);
        let mut failures = 0u32;
        while course.now() < course.end() {
            let began = course.now();
            let ended = match self.transport {
                Transport::Udp => self.over_udp(&mut course).await,
                Transport::Tcp | Transport::Http => self.over_tcp(&mut course).await,
            };
            let Err(broken) = ended else { break };
            debug!(address = %self.address, error = %broken, "Connection ended.");
            failures = if course.now() - began > GOOD_AFTER { 0 } else { failures.saturating_add(1) };
            let wait = self.back_off(failures);
            let again = course.now() + wait;
            course.pass_until(again).await;
        }
        self.terminal.miss_before(course.end());
    }

    fn back_off(&self, failures: u32) -> Duration {
        let wait = BACK_OFF_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(BACK_OFF_MAX);
        wait.mul_f64(0.75 + fraction(hashed(&[self.seed, u64::from(failures)])) / 2.0)
    }

    async fn over_tcp(&mut self, course: &mut Course) -> Result<(), Broken> {
        let timed_out = |_| Err(io::ErrorKind::TimedOut.into());
        let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await.unwrap_or_else(timed_out);
        let connected = connected.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let mut stream = self.counted(connected)?;
        let ended = self.talk(&mut stream, course).await;
        self.count_end(&ended);
        ended
    }

    async fn over_udp(&mut self, course: &mut Course) -> Result<(), Broken> {
        let any = if self.address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let bound = UdpSocket::bind(SocketAddr::new(any, 0)).await;
        let connected = match bound {
            Ok(socket) => socket.connect(self.address).await.map(|()| socket),
            Err(error) => Err(error),
        };
        let socket = self.counted(connected)?;
        let ended = self.cast(&socket, course).await;
        self.count_end(&ended);
        ended
    }

    fn counted<T>(&self, connected: io::Result<T>) -> Result<T, Broken> {
        let counters = self.terminal.counters();
        match &connected {
            Ok(_) => {
                counters.connections.add(1);
                counters.connected.add(1);
            }
            Err(_) => counters.connect_errors.add(1),
        }
        connected.map_err(Broken::Connect)
    }

    fn count_end(&self, ended: &Result<(), Broken>) {
        let counters = self.terminal.counters();
        counters.connected.sub(1);
        if let Err(broken) = ended {
            counters.lost.add(1);
            counters.send_errors.add(u64::from(matches!(broken, Broken::Write(_))));
        }
    }

    /// What may be done now, with so many bytes still to be written.
    fn turn(&self, course: &Course, unwritten: usize) -> Turn {
        let end = course.end();
        let close = end.saturating_add(GRACE);
        let is_late = course.now() >= close;
        let is_last = is_late || self.terminal.next_report() >= end;
        let is_settled = unwritten == 0 && self.terminal.outstanding() == 0;
        let wake = if is_last || unwritten > 0 { close } else { self.terminal.wake().min(close) };
        Turn { is_last, is_over: is_late || (is_last && is_settled), wake }
    }

    /// Over a stream: reads, writes and keeps the time at once, so that neither side can block the other.
    async fn talk(&mut self, stream: &mut TcpStream, course: &mut Course) -> Result<(), Broken> {
        let (mut reader, mut writer) = stream.split();
        let (mut inbox, mut outbox) = (BytesMut::with_capacity(256), BytesMut::with_capacity(256));
        self.terminal.open(course.now(), &mut outbox);
        loop {
            let turn = self.turn(course, outbox.len());
            if turn.is_over {
                return Ok(());
            }
            let woken = course.reach(turn.wake);
            tokio::select! {
                read = reader.read_buf(&mut inbox) => match read.map_err(Broken::Read)? {
                    0 => return Err(Broken::Closed),
                    _ => self.terminal.hear(course.now(), &mut inbox, &mut outbox)?,
                },
                written = writer.write_buf(&mut outbox), if !outbox.is_empty() => {
                    written.map_err(Broken::Write)?;
                }
                () = woken => {
                    if !turn.is_last && outbox.is_empty() {
                        self.terminal.speak(course.now(), &mut outbox)?;
                    }
                }
                () = course.end_moved() => {}
            }
        }
    }

    /// Over datagrams: what is said at once is one datagram. A failed send is counted and no end.
    async fn cast(&mut self, socket: &UdpSocket, course: &mut Course) -> Result<(), Broken> {
        let (mut inbox, mut outbox) = (BytesMut::with_capacity(2_048), BytesMut::with_capacity(2_048));
        self.terminal.open(course.now(), &mut outbox);
        loop {
            if !outbox.is_empty() {
                let sent = socket.send(&outbox).await;
                self.terminal.counters().send_errors.add(u64::from(sent.is_err()));
                outbox.clear();
            }
            let turn = self.turn(course, 0);
            if turn.is_over {
                return Ok(());
            }
            inbox.clear();
            let woken = course.reach(turn.wake);
            tokio::select! {
                // An error here reports that an earlier datagram found nobody: counted like a failed send.
                heard = socket.recv_buf(&mut inbox) => match heard {
                    Ok(_) => self.terminal.hear(course.now(), &mut inbox, &mut outbox)?,
                    Err(_) => self.terminal.counters().send_errors.add(1),
                },
                () = woken => {
                    if !turn.is_last {
                        self.terminal.speak(course.now(), &mut outbox)?;
                    }
                }
                () = course.end_moved() => {}
            }
        }
    }
}
