//! The runs of one round.

use std::thread;
use std::time::Duration;

use crate::figures::{Better, Figures};
use crate::peer::{AskStyle, FeedStyle, Peer};
use muster_benches::pipe::{Asked, Asker, Feed, Pace, side_by_side};
use muster_benches::quantile;
use muster_benches::trace::Trace;

/// Names of the measures that have goals.
pub(crate) const REPORTS: &str = "reports/s";
pub(crate) const PIPELINED: &str = "nearest-10/s, pipelined";

/// Name of the measure of the 99th percentile at the rate that `peer` takes at most while it answers.
pub(crate) fn p99_at_maximum(peer: &str) -> String {
    format!("p99 ms of nearest-10, one open, at the maximum of {peer}")
}

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Runs<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) lanes: usize,
    pub(crate) time: Duration,
    pub(crate) common: f64,
}

/// Of a run with both reports and questions.
struct Both {
    reports_per_s: f64,
    asked: Asked,
}

impl Runs<'_> {
    /// Puts everybody on the map where the trace begins. Who was silent while the others had their turn is out of contact for
    /// Muster, which then has nobody to name.
    pub(crate) fn load(&self, peer: &dyn Peer) {
        let style = best(peer);
        let feeds = (0..self.lanes).map(|lane| peer.feed(style, lane, &self.trace.first(lane, self.lanes)));
        side_by_side(feeds.collect(), |mut feed: Feed| feed.run_once());
    }

    /// Reports alone, as fast as they are taken, in each style.
    pub(crate) fn reports(&self, peer: &dyn Peer, figures: &mut Figures) {
        for style in peer.feed_styles() {
            let who = format!("{}, {}", peer.name(), style.label);
            let feeds = self.feeds(peer, style);
            let before = peer.process().on_core();
            let fed = side_by_side(feeds, |mut feed| feed.run(Pace::FlatOut, self.time));
            let on_core = peer.process().on_core().saturating_sub(before);
            let reports: usize = fed.iter().map(|(reports, _)| reports).sum();
            let time = fed.iter().map(|(_, time)| *time).max().unwrap_or_default();
            figures.note(REPORTS, Better::More, &who, reports as f64 / time.as_secs_f64());
            let each_us = on_core.as_secs_f64() * 1e6 / reports as f64;
            figures.note("server's CPU us a report", Better::Less, &who, each_us);
            peer.rest();
        }
    }

    /// Questions alone, in each style: sent ahead on all connections, then one at a time on one.
    pub(crate) fn questions(&self, peer: &dyn Peer, figures: &mut Figures) {
        for style in peer.ask_styles() {
            let who = format!("{}, {}", peer.name(), style.label);
            self.load(peer);
            peer.rest();
            let askers = (0..self.lanes).map(|_| peer.asker(&style, self.trace)).collect();
            let before = peer.process().on_core();
            let asked = side_by_side(askers, |mut asker: Box<dyn Asker>| asker.run(style.depth, self.time));
            let on_core = peer.process().on_core().saturating_sub(before);
            let answered: usize = asked.iter().map(|asked| asked.answered).sum();
            let refused: usize = asked.iter().map(|asked| asked.refused).sum();
            let time = asked.iter().map(|asked| asked.time).max().unwrap_or_default();
            figures.note(PIPELINED, Better::More, &who, answered as f64 / time.as_secs_f64());
            let each_us = on_core.as_secs_f64() * 1e6 / answered as f64;
            figures.note("server's CPU us a nearest-10, pipelined", Better::Less, &who, each_us);
            let refused = 100.0 * refused as f64 / (answered + refused) as f64;
            figures.note("% of pipelined questions refused", Better::Less, &who, refused);
            let mut alone = peer.asker(&style, self.trace).run(1, self.time);
            let rate = alone.answered as f64 / alone.time.as_secs_f64();
            figures.note("nearest-10/s, one open", Better::More, &who, rate);
            let p99 = quantile(&mut alone.times_ms, 0.99);
            figures.note("p99 ms of nearest-10, one open", Better::Less, &who, p99);
        }
    }

    /// Questions one at a time while reports come in: at the server's own maximum, Muster at that same rate, and all at a
    /// common rate.
    pub(crate) fn both(&self, peers: &[Box<dyn Peer>], figures: &mut Figures) {
        let Some((ours, others)) = peers.split_first() else { return };
        let noted = |peer: &dyn Peer, pace, ask: &AskStyle, measure: &str, figures: &mut Figures| {
            let mut both = self.at_once(peer, pace, ask);
            let who = format!("{}, {}", peer.name(), ask.label);
            let [p50, p99] = [0.5, 0.99].map(|share| quantile(&mut both.asked.times_ms, share));
            figures.note(&format!("p99 ms of nearest-10, one open, {measure}"), Better::Less, &who, p99);
            figures.note(&format!("p50 ms of nearest-10, one open, {measure}"), Better::Less, &who, p50);
            figures.note(&format!("reports/s meanwhile, {measure}"), Better::More, &who, both.reports_per_s);
            let refused = 100.0 * both.asked.refused as f64 / (both.asked.refused + both.asked.answered) as f64;
            figures.note(&format!("% refused, {measure}"), Better::Less, &who, refused);
            both.reports_per_s
        };
        let Some(our_ask) = ours.ask_styles().into_iter().next() else { return };
        noted(ours.as_ref(), Pace::FlatOut, &our_ask, "at the maximum of muster", figures);
        for peer in others {
            // The last style is the one that suits the server best.
            let Some(ask) = peer.ask_styles().pop() else { continue };
            let measure = format!("at the maximum of {}", peer.name());
            let rate = noted(peer.as_ref(), Pace::FlatOut, &ask, &measure, figures);
            noted(ours.as_ref(), self.shared(rate), &our_ask, &measure, figures);
        }
        let measure = format!("at {} reports/s", self.common);
        for peer in peers {
            if let Some(ask) = peer.ask_styles().pop() {
                noted(peer.as_ref(), self.shared(self.common), &ask, &measure, figures);
            }
        }
    }

    fn at_once(&self, peer: &dyn Peer, pace: Pace, ask: &AskStyle) -> Both {
        self.load(peer);
        let feeds = self.feeds(peer, best(peer));
        let mut asker = peer.asker(ask, self.trace);
        let both = thread::scope(|scope| {
            let asked = scope.spawn(|| asker.run(1, self.time));
            let fed = side_by_side(feeds, |mut feed| feed.run(pace, self.time));
            let rates = fed.iter().map(|(reports, time)| *reports as f64 / time.as_secs_f64());
            Both { reports_per_s: rates.sum(), asked: asked.join().expect("the asker ends well") }
        });
        peer.rest();
        both
    }

    fn feeds(&self, peer: &dyn Peer, style: FeedStyle) -> Vec<Feed> {
        let feed = |lane| peer.feed(style, lane, &self.trace.reports(lane, self.lanes));
        (0..self.lanes).map(feed).collect()
    }

    const fn shared(&self, rate: f64) -> Pace {
        Pace::PerSecond(rate / self.lanes as f64)
    }
}

fn best(peer: &dyn Peer) -> FeedStyle {
    *peer.feed_styles().last().expect("every server takes reports")
}
