//! Charts as inline SVG; colours are the page's variables, so that they follow light and dark.

use std::fmt::Write as _;

use super::report::{grouped, millis};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 38.0;

/// How an axis grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Linear,
    Decades,
}

/// A chart that is drawn into: an axis with ticks each way, then lines.
pub(super) struct Chart {
    svg: String,
    x: (f64, f64),
    y: (f64, f64),
    y_scale: Scale,
}

impl Chart {
    /// A frame over `x` and `y` (least and most). A logarithmic axis is of microseconds, and widened to whole decades.
    pub(super) fn new(title: &str, x: (f64, f64), y: (f64, f64), y_scale: Scale) -> Self {
        let y = match y_scale {
            Scale::Linear => (0.0, if y.1 > 0.0 { y.1 * 1.08 } else { 1.0 }),
            Scale::Decades => {
                let (low, high) = (y.0.max(1.0).log10().floor(), y.1.max(10.0).log10().ceil());
                (low, high.max(low + 1.0))
            }
        };
        let x = if x.1 > x.0 { x } else { (x.0, x.0 + 1.0) };
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{title}</title>");
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let mut chart = Self { svg, x, y, y_scale };
        chart.ticks();
        chart
    }

    fn ticks(&mut self) {
        match self.y_scale {
            Scale::Decades => {
                for decade in self.y.0 as i32..=self.y.1 as i32 {
                    let value = 10f64.powi(decade);
                    self.tick(value, &millis(value as u64));
                    for part in 2..10 {
                        let minor = value * f64::from(part);
                        if minor.log10() < self.y.1 {
                            let at = self.y_at(minor);
                            let _ = write!(self.svg, "<path class=\"minor\" d=\"M{LEFT} {at:.1}H{}\"/>", WIDTH - RIGHT);
                        }
                    }
                }
            }
            Scale::Linear => {
                let step = nice(self.y.1 / 4.0);
                let mut value = 0.0;
                while value <= self.y.1 {
                    self.tick(value, &grouped(value));
                    value += step;
                }
            }
        }
    }

    fn tick(&mut self, value: f64, text: &str) {
        let (at, right) = (self.y_at(value), WIDTH - RIGHT);
        let _ = write!(self.svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        let (x, y) = (LEFT - 8.0, at + 4.0);
        let _ = write!(self.svg, "<text class=\"tick end\" x=\"{x}\" y=\"{y:.1}\">{text}</text>");
    }

    /// A labelled place on the lower axis.
    pub(super) fn mark_x(&mut self, value: f64, text: &str) {
        let (at, bottom) = (self.x_at(value), HEIGHT - BOTTOM);
        let _ = write!(self.svg, "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/>");
        let _ = write!(self.svg, "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{}\">{text}</text>", bottom + 18.0);
    }

    /// What the lower axis means.
    pub(super) fn name_x(&mut self, text: &str) {
        let (x, y) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 4.0);
        let _ = write!(self.svg, "<text class=\"tick middle\" x=\"{x}\" y=\"{y}\">{text}</text>");
    }

    /// A line through points, with the class names of its style.
    pub(super) fn line(&mut self, style: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        for (x, y) in points {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{step}{:.1} {:.1}", self.x_at(x), self.y_at(y));
        }
        if !path.is_empty() {
            let _ = write!(self.svg, "<path class=\"line {style}\" d=\"{path}\"/>");
        }
    }

    /// A level over the whole width, with its name at the right.
    pub(super) fn level(&mut self, style: &str, y: f64, name: &str) {
        let (at, right) = (self.y_at(y), WIDTH - RIGHT);
        let _ = write!(self.svg, "<path class=\"line {style}\" d=\"M{LEFT} {at:.1}H{right}\"/>");
        let (x, y) = (right - 4.0, at - 4.0);
        let _ = write!(self.svg, "<text class=\"name end {style}\" x=\"{x}\" y=\"{y:.1}\">{name}</text>");
    }

    /// A point that must not be passed, with its name.
    pub(super) fn limit(&mut self, x: f64, y: f64, name: &str) {
        let (x, y) = (self.x_at(x), self.y_at(y));
        let _ = write!(self.svg, "<path class=\"line limit\" d=\"M{LEFT} {y:.1}H{x:.1}V{}\"/>", HEIGHT - BOTTOM);
        let _ = write!(
            self.svg,
            "<circle class=\"limit\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{name}</title></circle>"
        );
        let (x, y) = (x - 7.0, y - 6.0);
        let _ = write!(self.svg, "<text class=\"name end limit\" x=\"{x:.1}\" y=\"{y:.1}\">{name}</text>");
    }

    /// The drawing.
    pub(super) fn svg(mut self) -> String {
        self.svg.push_str("</svg>");
        self.svg
    }

    fn x_at(&self, value: f64) -> f64 {
        let share = ((value - self.x.0) / (self.x.1 - self.x.0)).clamp(0.0, 1.0);
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        let value = match self.y_scale {
            Scale::Linear => value,
            Scale::Decades => value.max(1.0).log10(),
        };
        let share = ((value - self.y.0) / (self.y.1 - self.y.0)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

/// The round number (1, 2 or 5 times a power of ten) at or above `step`.
fn nice(step: f64) -> f64 {
    let decade = 10f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * decade).find(|round| *round >= step).unwrap_or(step)
}
