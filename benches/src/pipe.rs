//! One connection that sends ahead: requests go out, replies are counted as they come in. The same loops drive every peer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The reply at the front of what came in.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// How long it is.
    pub bytes: usize,
    /// False: the server refused. An error that is none of overload ends the bench.
    pub is_answer: bool,
}

/// Finds the reply at the front; `None` while it is not whole. Reads no more than it must.
pub type Skim = fn(&[u8]) -> Option<Reply>;

/// A connection and what came in on it.
#[derive(Debug)]
pub struct Pipe {
    stream: TcpStream,
    inbox: Vec<u8>,
    skim: Skim,
}

impl Pipe {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens; so do all other functions when the server has gone.
    #[must_use]
    pub fn connect(address: SocketAddr, skim: Skim) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, inbox: Vec::new(), skim }
    }

    /// Sends all of `bytes`.
    ///
    /// # Panics
    /// When the server has gone.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Waits for at least one reply; shows each that is there, and returns how many.
    ///
    /// # Panics
    /// When the server has gone.
    pub fn hear(&mut self, mut each: impl FnMut(Reply, &[u8])) -> usize {
        let mut chunk = [0; 64 * 1_024];
        loop {
            let (mut at, mut replies) = (0, 0);
            while let Some(reply) = (self.skim)(&self.inbox[at..]) {
                each(reply, &self.inbox[at..at + reply.bytes]);
                at += reply.bytes;
                replies += 1;
            }
            self.inbox.drain(..at);
            if replies > 0 {
                return replies;
            }
            let came = self.stream.read(&mut chunk).expect("the server answers");
            assert!(came > 0, "the server closed the connection");
            self.inbox.extend_from_slice(&chunk[..came]);
        }
    }

    /// Sends one request and gives its reply.
    pub fn call(&mut self, request: &[u8]) -> Vec<u8> {
        let mut whole = Vec::new();
        self.send(request);
        self.hear(|_, bytes| whole = bytes.to_vec());
        whole
    }
}

/// Encoded reports that are sent and answered as one.
#[derive(Debug, Clone)]
pub struct Batch {
    /// As they are sent, but for what is laid with each sending.
    pub bytes: Vec<u8>,
    /// How many reports it has.
    pub reports: usize,
    /// How many replies it gets.
    pub replies: usize,
}

/// Lays a batch with the number of its sending.
pub type Lay = fn(&mut Vec<u8>, &Batch, u64);

/// How fast a feed sends.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As fast as replies allow.
    FlatOut,
    /// So many reports a second on this connection.
    PerSecond(f64),
}

/// A connection that reports. The trace is played to its end and back, so that nobody jumps.
#[derive(Debug)]
pub struct Feed {
    pipe: Pipe,
    batches: Arc<[Batch]>,
    lay: Lay,
    /// Most batches without all of their replies.
    window: usize,
    sent: usize,
    out: Vec<u8>,
}

impl Feed {
    /// Plays `batches` there and back, with at most `window` of them without all of their replies.
    #[must_use]
    pub fn new(pipe: Pipe, batches: Vec<Batch>, window: usize, lay: Lay) -> Self {
        Self { pipe, batches: batches.into(), lay, window, sent: 0, out: Vec::new() }
    }

    /// Reports for so long; returns how many reports were answered, and after how long the last one was.
    pub fn run(&mut self, pace: Pace, time: Duration) -> (usize, Duration) {
        let began = Instant::now();
        let (mut reports, mut waiting) = (0, 0);
        let replies = self.batches[0].replies;
        let each = self.batches[0].reports;
        let first = self.sent;
        while began.elapsed() < time {
            let due = match pace {
                Pace::FlatOut => usize::MAX,
                Pace::PerSecond(rate) => (began.elapsed().as_secs_f64() * rate / each as f64) as usize + 1,
            };
            while waiting + replies <= self.window * replies && self.sent - first < due {
                let (more, answers) = self.lay_next();
                reports += more;
                waiting += answers;
            }
            self.flush();
            if waiting > 0 {
                waiting -= self.hear();
            } else if let Pace::PerSecond(rate) = pace {
                let next = Duration::from_secs_f64((self.sent - first) as f64 * each as f64 / rate);
                sleep(next.saturating_sub(began.elapsed()).min(time));
            }
        }
        while waiting > 0 {
            waiting -= self.hear();
        }
        (reports, began.elapsed())
    }

    /// Sends every batch once.
    pub fn run_once(&mut self) {
        let mut waiting = 0;
        for _ in 0..self.batches.len() {
            waiting += self.lay_next().1;
            self.flush();
            while waiting > self.batches[0].replies * self.window {
                waiting -= self.hear();
            }
        }
        while waiting > 0 {
            waiting -= self.hear();
        }
    }

    fn lay_next(&mut self) -> (usize, usize) {
        let there_and_back = 2 * self.batches.len();
        let turn = self.sent % there_and_back;
        let at = turn.min(there_and_back - 1 - turn);
        self.sent += 1;
        (self.lay)(&mut self.out, &self.batches[at], self.sent as u64);
        (self.batches[at].reports, self.batches[at].replies)
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.pipe.send(&self.out);
            self.out.clear();
        }
    }

    fn hear(&mut self) -> usize {
        self.pipe.hear(|reply, _| assert!(reply.is_answer, "a report was refused"))
    }
}

/// What became of questions.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// With units.
    pub answered: usize,
    /// Without.
    pub refused: usize,
    /// Milliseconds of each, when one was open at a time; a refused one counts with its time too.
    pub times_ms: Vec<f64>,
    /// From the first question to the last answer.
    pub time: Duration,
}

/// A connection that asks for the ten nearest.
pub trait Asker: Send {
    /// Asks for so long with `depth` questions open.
    fn run(&mut self, depth: usize, time: Duration) -> Asked;
    /// The units that question `at` found, nearest first.
    fn answer(&mut self, at: usize) -> Vec<u32>;
}

/// An asker over bytes that were encoded ahead.
#[derive(Debug)]
pub struct PipeAsker {
    /// To the server.
    pub pipe: Pipe,
    /// Encoded, asked in turn.
    pub questions: Vec<Vec<u8>>,
    /// Reads the units of a reply.
    pub read: fn(&[u8]) -> Vec<u32>,
}

impl Asker for PipeAsker {
    fn run(&mut self, depth: usize, time: Duration) -> Asked {
        let began = Instant::now();
        let (mut asked, mut out, mut waiting, mut next) = (Asked::default(), Vec::new(), 0, 0);
        while began.elapsed() < time || waiting > 0 {
            while waiting < depth && began.elapsed() < time {
                out.extend_from_slice(&self.questions[next % self.questions.len()]);
                next += 1;
                waiting += 1;
            }
            let sent = Instant::now();
            self.pipe.send(&out);
            out.clear();
            waiting -= self.pipe.hear(|reply, _| {
                let counter = if reply.is_answer { &mut asked.answered } else { &mut asked.refused };
                *counter += 1;
            });
            if depth == 1 {
                asked.times_ms.push(sent.elapsed().as_secs_f64() * 1e3);
            }
        }
        asked.time = began.elapsed();
        asked
    }

    fn answer(&mut self, at: usize) -> Vec<u32> {
        let reply = self.pipe.call(&self.questions[at]);
        (self.read)(&reply)
    }
}

/// Runs `work` on each, a thread each, all at once.
///
/// # Panics
/// When one of them does.
pub fn side_by_side<T: Send, R: Send>(all: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = all.into_iter().map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a connection ends well")).collect()
    })
}
