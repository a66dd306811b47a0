//! A place in a text that moves forward, and never beyond its end.

/// What is left of a text.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Cursor { rest: text }
    }

    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next byte, taken.
    pub fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Take this byte, if it is the next one.
    pub fn eat(&mut self, byte: u8) -> bool {
        self.eat_all(&[byte])
    }

    /// Take these bytes, if they are the next ones.
    pub fn eat_all(&mut self, bytes: &[u8]) -> bool {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Take `count` bytes, or all that there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Take the bytes before the first one that `ends`.
    pub fn until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let length = self.rest.iter().position(|byte| ends(*byte));
        self.take(length.unwrap_or(self.rest.len()))
    }

    /// Take digits. None, and nothing is taken: there are none.
    pub fn digits(&mut self) -> Option<&'a [u8]> {
        Some(self.until(|byte| !byte.is_ascii_digit())).filter(|digits| !digits.is_empty())
    }

    /// Take what `part` takes, and give it. None, and nothing is taken: it found nothing.
    pub fn part(&mut self, part: impl FnOnce(&mut Cursor<'a>) -> Option<()>) -> Option<&'a [u8]> {
        let mut ahead = *self;
        part(&mut ahead)?;
        Some(self.take(self.rest.len() - ahead.rest.len()))
    }
}
