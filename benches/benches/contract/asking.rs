//! Open-loop questions: a seeded schedule says when each is due, and latency counts from then, whatever the server does.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use muster_benches::on_core;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use simulate::load::Schedule;

use crate::stream::{Stream, Verdict};

/// Asked before the window that counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long answers may take after the last question; then they are lost.
const GRACE: Duration = Duration::from_secs(3);
/// Questions after which answers get their turn, however late the schedule is.
const IN_A_ROW: usize = 64;

/// What became of the questions of a run.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) planned: usize,
    pub(crate) kept: usize,
    pub(crate) refused: usize,
    pub(crate) out_of_time: usize,
    /// From the planned time to the answer, microseconds, of those kept.
    pub(crate) times_us: Vec<f64>,
    /// The same from the time at which the question left.
    pub(crate) since_sent_us: Vec<f64>,
    /// From the planned time to the sending: the generator's own lag.
    pub(crate) lag_us: Vec<f64>,
    /// Of one core, used by the generator.
    pub(crate) core_share: f64,
}

/// When a question was due, and when it left.
#[derive(Debug, Clone, Copy)]
struct Open {
    planned: Duration,
    sent: Duration,
}

/// A run of the generator, on one thread.
struct Run<'a> {
    questions: &'a [Vec<u8>],
    streams: Vec<(Stream, VecDeque<Open>)>,
    began: Instant,
    asked: Asked,
}

/// Asks `rate` questions a second on `streams` connections, for `time` that counts.
pub(crate) fn ask(grpc: SocketAddr, questions: &[Vec<u8>], streams: usize, rate: f64, time: Duration) -> Asked {
    let streams = (0..streams).map(|_| (Stream::open(grpc), VecDeque::new())).collect();
    let mut run = Run { questions, streams, began: Instant::now(), asked: Asked::default() };
    let end = WARM_UP + time;
    let mut schedule = Schedule::new(11, rate).map(|due| due.at).take_while(|at| *at < end).peekable();
    let (used, mut turn) = (on_core(), 0);
    loop {
        let now = run.began.elapsed();
        for _ in 0..IN_A_ROW {
            let Some(planned) = schedule.next_if(|at| *at <= now) else { break };
            run.put(turn, planned);
            turn += 1;
        }
        run.streams.iter_mut().for_each(|(stream, _)| stream.flush());
        let is_waiting = run.streams.iter().any(|(_, open)| !open.is_empty());
        let next = match schedule.peek() {
            Some(at) => *at,
            None if is_waiting && now < end + GRACE => end + GRACE,
            None => break,
        };
        run.wait(next.saturating_sub(run.began.elapsed()));
    }
    run.asked.core_share = (on_core() - used).as_secs_f64() / run.began.elapsed().as_secs_f64();
    run.asked
}

impl Run<'_> {
    fn put(&mut self, turn: usize, planned: Duration) {
        let at = turn % self.streams.len();
        let (stream, open) = &mut self.streams[at];
        stream.ask(&self.questions[turn % self.questions.len()]);
        let sent = self.began.elapsed();
        open.push_back(Open { planned, sent });
        if planned >= WARM_UP {
            self.asked.planned += 1;
            self.asked.lag_us.push((sent - planned).as_secs_f64() * 1e6);
        }
    }

    /// Waits for answers, or until the next question is due, and takes what has come.
    fn wait(&mut self, time: Duration) {
        let wanted = |stream: &Stream| if stream.is_behind() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut sockets: Vec<_> =
            self.streams.iter().map(|(stream, _)| PollFd::new(&stream.socket, wanted(stream))).collect();
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        poll(&mut sockets, Some(&time)).expect("sockets can be waited for");
        let has_come: Vec<_> = sockets.iter().map(|socket| socket.revents().contains(PollFlags::IN)).collect();
        for ((stream, open), _) in self.streams.iter_mut().zip(has_come).filter(|(_, has_come)| *has_come) {
            let asked = &mut self.asked;
            let now = self.began.elapsed();
            stream.hear(|verdict| asked.end(open.pop_front().expect("it was asked"), verdict, now));
        }
    }
}

impl Asked {
    fn end(&mut self, open: Open, verdict: Verdict, now: Duration) {
        if open.planned < WARM_UP {
            return;
        }
        match verdict {
            Verdict::Kept => {
                self.kept += 1;
                self.times_us.push((now.saturating_sub(open.planned)).as_secs_f64() * 1e6);
                self.since_sent_us.push((now.saturating_sub(open.sent)).as_secs_f64() * 1e6);
            }
            Verdict::Refused => self.refused += 1,
            Verdict::OutOfTime => self.out_of_time += 1,
        }
    }

    /// Without an answer after [`GRACE`].
    pub(crate) const fn lost(&self) -> usize {
        self.planned - self.kept - self.refused - self.out_of_time
    }
}
