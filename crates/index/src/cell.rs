use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, yield_now};

/// Words that one writer changes together and any number of readers see together.
///
/// A seqlock: the number is odd while words are stored, which takes some nanoseconds. A reader that meets an odd number, or
/// two different ones, reads again; it waits for the stores of one report and for nothing else.
#[derive(Debug)]
pub(crate) struct Cell<const N: usize> {
    version: AtomicU32,
    /// A number of the writer's own that readers do not ask for.
    pub(crate) note: AtomicU32,
    words: [AtomicU64; N],
}

/// Looks so often before it lets another thread run: the writer may have lost its processor between two stores.
const LOOKS: u32 = if cfg!(loom) { 1 } else { 64 };

impl<const N: usize> Cell<N> {
    pub(crate) fn new(note: u32) -> Self {
        Self {
            version: AtomicU32::new(0),
            note: AtomicU32::new(note),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// All words of one moment.
    #[inline]
    pub(crate) fn read(&self) -> [u64; N] {
        let mut looks = 0;
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 0 {
                let words = std::array::from_fn(|at| self.words[at].load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return words;
                }
            }
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { yield_now() }
        }
    }

    /// One word, for the writer, or for a reader that needs no other.
    #[inline]
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    /// Stores all words; there is one writer.
    #[inline]
    pub(crate) fn write(&self, words: [u64; N]) {
        let before = self.version.load(Ordering::Relaxed);
        self.version.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (place, word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        self.version.store(before.wrapping_add(2), Ordering::Release);
    }
}
