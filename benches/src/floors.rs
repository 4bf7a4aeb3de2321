//! What the machine allows: no design is faster than these, whatever it does.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use testkit::Seeded;

use crate::timed;

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// Lines whose memory is asked for before the first of them is written.
const AHEAD: usize = 16;

/// Bytes of one write and of one read on loopback.
const PIECE_BYTES: usize = 1 << 16;

/// A table of lines in memory, with its floors.
#[derive(Debug)]
pub struct Memory {
    lines: Vec<Line>,
    random: Seeded,
}

impl Memory {
    /// A table of `bytes`, with a random cycle through all of its lines.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let count = (bytes / size_of::<Line>()).max(2);
        let mut random = Seeded::new(11);
        let mut lines = vec![Line([0; 8]); count];
        // Sattolo's shuffle: one cycle through all, so that each load depends on the one before and none repeats.
        let mut next: Vec<u64> = (0..count as u64).collect();
        for place in (1..count).rev() {
            next.swap(place, (random.next() % place as u64) as usize);
        }
        lines.iter_mut().zip(next).for_each(|(line, next)| line.0[0] = next);
        Self { lines, random }
    }

    /// Nanoseconds of a load whose address is the result of the load before.
    #[must_use]
    pub fn dependent_load_ns(&mut self, loads: usize) -> f64 {
        let mut at = self.random.next() % self.lines.len() as u64;
        timed(loads, || {
            for _ in 0..loads {
                at = self.lines[at as usize].0[0];
            }
            black_box(at);
        })
    }

    /// Nanoseconds to change all 64 bytes of a random line, with the lines known in advance, as a batch knows them.
    ///
    /// # Panics
    /// When a change was lost: an error of this bench.
    #[must_use]
    pub fn change_ns(&mut self, changes: usize) -> f64 {
        let count = self.lines.len() as u64;
        let picks: Vec<u32> = (0..changes).map(|_| (self.random.next() % count) as u32).collect();
        let sum = |lines: &[Line]| lines.iter().fold(0u64, |sum, line| sum.wrapping_add(line.0[7]));
        let before = sum(&self.lines);
        let ns = timed(changes, || {
            for some in picks.chunks(AHEAD) {
                let asked = some.iter().fold(0, |seen, at| seen ^ self.lines[*at as usize].0[0]);
                black_box(asked);
                for at in some {
                    let line = &mut self.lines[*at as usize].0;
                    line[1..].iter_mut().for_each(|word| *word = word.wrapping_add(1));
                    // The first word is the cycle's; it is written all the same.
                    line[0] ^= black_box(0);
                }
            }
        });
        assert_eq!(sum(&self.lines), before.wrapping_add(changes as u64), "each change is there");
        ns
    }
}

/// Gigabytes a second of a copy from one place in memory to another.
///
/// # Panics
/// When the copy differs: an error of this bench.
#[must_use]
pub fn copy_gbps(bytes: usize) -> f64 {
    let from = vec![0x5A_u8; bytes];
    // Written once before, so that no page is made while the clock runs.
    let mut to = vec![1_u8; bytes];
    let ns = timed(bytes, || to.copy_from_slice(black_box(&from)));
    assert_eq!(black_box(&to)[bytes - 1], 0x5A);
    1.0 / ns
}

/// Gigabytes a second that one thread receives and throws away while another sends, on loopback TCP.
///
/// # Errors
/// What the sockets say.
///
/// # Panics
/// When the sender panics.
pub fn receive_gbps(bytes: usize) -> std::io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || -> std::io::Result<()> {
            let mut stream = TcpStream::connect(address)?;
            let piece = vec![7_u8; PIECE_BYTES];
            (0..bytes / PIECE_BYTES).try_for_each(|_| stream.write_all(&piece))
        });
        let (mut stream, _) = listener.accept()?;
        let (began, mut buffer, mut received) = (Instant::now(), vec![0; PIECE_BYTES], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                more => received += black_box(more),
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        sender.join().expect("the sender does not panic")?;
        assert_eq!(received, bytes / PIECE_BYTES * PIECE_BYTES, "all bytes came");
        Ok(received as f64 / seconds / 1e9)
    })
}
