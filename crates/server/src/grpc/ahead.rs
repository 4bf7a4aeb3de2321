//! Answers the questions of a stream in order, and reads and dates those that come meanwhile.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::limits;
use tokio_stream::Stream;

/// The answers to what `inner` asks, each made by `answer` from the question and the time at which it was read.
///
/// Whenever it is polled, and also while an answer waits for a seat, it first takes what `inner` has ready; beyond
/// [`limits::STREAM_QUESTIONS_MAX`] that stays unread, so that the sender's window closes. Without it the clock of a question
/// would start only when those before it are answered, and a late answer would look fast.
pub(super) struct Answers<S: Stream, C, F, A> {
    inner: S,
    clock: C,
    read: VecDeque<(Duration, S::Item)>,
    has_ended: bool,
    answer: F,
    /// The answer that is being made; one place in memory for all of them.
    making: Pin<Box<Option<A>>>,
}

impl<S, C, F, A> Answers<S, C, F, A>
where
    S: Stream<Item: Unpin> + Unpin,
    C: Fn() -> Duration,
    F: FnMut((Duration, S::Item)) -> A,
    A: Future,
{
    pub(super) fn to(inner: S, clock: C, answer: F) -> Self {
        Self { inner, clock, read: VecDeque::new(), has_ended: false, answer, making: Box::pin(None) }
    }

    /// Takes what is ready in one go, with one time.
    fn read(&mut self, context: &mut Context<'_>) {
        let mut read_at = None;
        while !self.has_ended && self.read.len() < limits::STREAM_QUESTIONS_MAX {
            match Pin::new(&mut self.inner).poll_next(context) {
                Poll::Ready(Some(question)) => {
                    let read_at = *read_at.get_or_insert_with(|| (self.clock)());
                    self.read.push_back((read_at, question));
                }
                Poll::Ready(None) => self.has_ended = true,
                Poll::Pending => break,
            }
        }
    }
}

impl<S, C, F, A> Stream for Answers<S, C, F, A>
where
    S: Stream<Item: Unpin> + Unpin,
    C: Fn() -> Duration + Unpin,
    F: FnMut((Duration, S::Item)) -> A + Unpin,
    A: Future,
{
    type Item = A::Output;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<A::Output>> {
        let this = &mut *self;
        this.read(context);
        if this.making.is_none() {
            match this.read.pop_front() {
                Some(question) => this.making.set(Some((this.answer)(question))),
                None if this.has_ended => return Poll::Ready(None),
                None => return Poll::Pending,
            }
        }
        let Some(making) = this.making.as_mut().as_pin_mut() else { return Poll::Pending };
        let answer = ready!(making.poll(context));
        this.making.set(None);
        Poll::Ready(Some(answer))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use tokio::sync::{mpsc, oneshot};
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    type Asked = oneshot::Receiver<()>;

    #[test]
    fn a_question_that_comes_while_an_answer_waits_is_dated_when_it_comes() {
        let (ask, asked) = mpsc::unbounded_channel::<Asked>();
        let now = Cell::new(1);
        let clock = || Duration::from_secs(now.get());
        let answer = |(read_at, seat): (Duration, Asked)| async move { seat.await.map(|()| read_at.as_secs()) };
        let mut answers = Answers::to(UnboundedReceiverStream::new(asked), clock, answer);
        let mut polled = || Pin::new(&mut answers).poll_next(&mut Context::from_waker(Waker::noop()));
        let (first_seat, first) = oneshot::channel();
        let (second_seat, second) = oneshot::channel();
        ask.send(first).unwrap();
        assert!(polled().is_pending());
        now.set(2);
        ask.send(second).unwrap();
        assert!(polled().is_pending(), "the first still waits");
        now.set(9);
        first_seat.send(()).unwrap();
        second_seat.send(()).unwrap();
        drop(ask);
        assert_eq!(polled(), Poll::Ready(Some(Ok(1))));
        assert_eq!(polled(), Poll::Ready(Some(Ok(2))));
        assert_eq!(polled(), Poll::Ready(None));
    }

    #[test]
    fn a_question_that_comes_behind_others_is_dated_with_the_next_answer() {
        let (ask, asked) = mpsc::unbounded_channel::<u32>();
        let now = Cell::new(1);
        let clock = || Duration::from_secs(now.get());
        let answer = |(read_at, question): (Duration, u32)| async move { (question, read_at.as_secs()) };
        let mut answers = Answers::to(UnboundedReceiverStream::new(asked), clock, answer);
        let mut polled = || Pin::new(&mut answers).poll_next(&mut Context::from_waker(Waker::noop()));
        (0..3).for_each(|question| ask.send(question).unwrap());
        assert_eq!(polled(), Poll::Ready(Some((0, 1))));
        now.set(2);
        ask.send(3).unwrap();
        assert_eq!(polled(), Poll::Ready(Some((1, 1))));
        now.set(9);
        assert_eq!(polled(), Poll::Ready(Some((2, 1))));
        assert_eq!(polled(), Poll::Ready(Some((3, 2))), "and not with the time at which those before it were answered");
    }

    #[test]
    fn no_more_than_the_limit_is_read_ahead() {
        let (ask, asked) = mpsc::unbounded_channel::<usize>();
        let answer = |(_, question): (Duration, usize)| async move { question };
        let mut answers = Answers::to(UnboundedReceiverStream::new(asked), || Duration::ZERO, answer);
        (0..2 * limits::STREAM_QUESTIONS_MAX).for_each(|question| ask.send(question).unwrap());
        drop(ask);
        let mut context = Context::from_waker(Waker::noop());
        for question in 0..2 * limits::STREAM_QUESTIONS_MAX {
            assert_eq!(Pin::new(&mut answers).poll_next(&mut context), Poll::Ready(Some(question)));
            assert!(answers.read.len() < limits::STREAM_QUESTIONS_MAX);
        }
        assert_eq!(Pin::new(&mut answers).poll_next(&mut context), Poll::Ready(None));
    }
}
