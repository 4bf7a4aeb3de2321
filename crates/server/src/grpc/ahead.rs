//! Reads the questions of a stream as they come, ahead of their answers, and dates them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use model::limits;
use tokio_stream::Stream;

/// What `inner` had ready is taken in one go and gets one time; beyond [`limits::STREAM_QUESTIONS_MAX`] it stays unread, so that
/// the sender's window closes.
///
/// Without it the clock of a question would start only when those before it are answered, and a late answer would look fast.
pub(super) struct Ahead<S: Stream, C> {
    inner: S,
    clock: C,
    read: VecDeque<(Duration, S::Item)>,
    has_ended: bool,
}

impl<S: Stream, C> Ahead<S, C> {
    pub(super) fn of(inner: S, clock: C) -> Self {
        Self { inner, clock, read: VecDeque::new(), has_ended: false }
    }
}

impl<S, C> Stream for Ahead<S, C>
where
    S: Stream<Item: Unpin> + Unpin,
    C: Fn() -> Duration + Unpin,
{
    type Item = (Duration, S::Item);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(next) = this.read.pop_front() {
            return Poll::Ready(Some(next));
        }
        let read_at = (this.clock)();
        while !this.has_ended && this.read.len() < limits::STREAM_QUESTIONS_MAX {
            match Pin::new(&mut this.inner).poll_next(context) {
                Poll::Ready(Some(question)) => this.read.push_back((read_at, question)),
                Poll::Ready(None) => this.has_ended = true,
                Poll::Pending => break,
            }
        }
        match this.read.pop_front() {
            Some(next) => Poll::Ready(Some(next)),
            None if this.has_ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}
