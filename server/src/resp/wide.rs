//! Whole numbers of any size, as far as reading and printing [`super::extended`] needs them.

use std::cmp::Ordering;

/// Words of 64 bits, the lowest first; the highest is never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wide(Vec<u64>);

/// The greatest power of ten that is taken at once, and its exponent.
const CHUNK: (u64, u32) = (1_000_000_000_000_000_000, 18);

impl Wide {
    /// The number that these decimal digits are.
    pub fn of_digits(digits: &[u8]) -> Self {
        let mut wide = Self::default();
        for chunk in digits.chunks(CHUNK.1 as usize) {
            let value = chunk.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            wide.multiply_add(10u64.pow(chunk.len() as u32), value);
        }
        wide
    }

    pub fn power_of_ten(exponent: u32) -> Self {
        let mut wide = Self(vec![1]);
        wide.times_ten_to(exponent);
        wide
    }

    pub fn times_ten_to(&mut self, exponent: u32) {
        for _ in 0..exponent / CHUNK.1 {
            self.multiply_add(CHUNK.0, 0);
        }
        self.multiply_add(10u64.pow(exponent % CHUNK.1), 0);
    }

    fn multiply_add(&mut self, factor: u64, summand: u64) {
        let mut carry = summand;
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(factor) + u128::from(carry);
            *word = product as u64;
            carry = (product >> 64) as u64;
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    /// How many bits it has from its highest one on.
    pub fn bits(&self) -> u32 {
        let top = self.0.last().map_or(0, |word| 64 - word.leading_zeros());
        (self.0.len() as u32).saturating_sub(1) * 64 + top
    }

    pub fn shift_left(&mut self, bits: u32) {
        let part = bits % 64;
        if part != 0 {
            let mut carry = 0;
            for word in &mut self.0 {
                let next = *word >> (64 - part);
                *word = *word << part | carry;
                carry = next;
            }
            if carry != 0 {
                self.0.push(carry);
            }
        }
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 64) as usize));
    }

    /// Its highest bits, how many lie below them, and whether any of those is set.
    pub fn top(&self) -> (u128, u32, bool) {
        let word = |at: usize| self.0.get(at).copied().map_or(0, u128::from);
        let below = self.0.len().saturating_sub(2);
        let lost = self.0[..below].iter().any(|word| *word != 0);
        (word(below + 1) << 64 | word(below), below as u32 * 64, lost)
    }

    /// The quotient in binary: its first `count` bits, where the first has the weight of the second
    /// number of the answer as a power of two, and whether a rest remains. `other` is not zero.
    pub fn divide(mut self, mut other: Self, count: u32) -> (u128, i32, bool) {
        let shift = self.bits() as i32 - other.bits() as i32;
        if shift < 0 {
            self.shift_left(shift.unsigned_abs());
        } else {
            other.shift_left(shift.unsigned_abs());
        }
        let mut quotient = 0;
        for _ in 0..count {
            quotient <<= 1;
            if self.compare(&other) != Ordering::Less {
                quotient |= 1;
                self.subtract(&other);
            }
            self.shift_left(1);
        }
        (quotient, shift, !self.0.is_empty())
    }

    fn compare(&self, other: &Self) -> Ordering {
        let length = self.0.len().cmp(&other.0.len());
        length.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `other` must not be greater.
    fn subtract(&mut self, other: &Self) {
        let mut borrow = false;
        for (at, word) in self.0.iter_mut().enumerate() {
            let by = other.0.get(at).copied().unwrap_or(0);
            let (rest, first) = word.overflowing_sub(by);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            (*word, borrow) = (rest, first || second);
        }
        self.trim();
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    pub fn into_decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.0.is_empty() {
            let mut rest = 0u128;
            for word in self.0.iter_mut().rev() {
                let part = rest << 64 | u128::from(*word);
                *word = (part / u128::from(CHUNK.0)) as u64;
                rest = part % u128::from(CHUNK.0);
            }
            self.trim();
            chunks.push(rest as u64);
        }
        let mut text = chunks.pop().unwrap_or_default().to_string();
        text.extend(chunks.iter().rev().map(|chunk| format!("{chunk:018}")));
        text
    }
}

impl From<u64> for Wide {
    fn from(number: u64) -> Self {
        let mut wide = Self(vec![number]);
        wide.trim();
        wide
    }
}

#[cfg(test)]
mod tests {
    use super::Wide;

    #[test]
    fn digits_are_read_and_printed() {
        for text in [
            "0",
            "7",
            "18446744073709551616",
            "340282366920938463463374607431768211456",
            "1000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(Wide::of_digits(text.as_bytes()).into_decimal(), text);
        }
        let mut power = Wide::from(5);
        power.shift_left(130);
        assert_eq!(power.into_decimal(), "6805647338418769269267492148635364229120");
    }

    #[test]
    fn quotients_are_binary() {
        let check = |a: &str, b: &str, expect: (u128, i32, bool)| {
            let [a, b] = [a, b].map(|text| Wide::of_digits(text.as_bytes()));
            assert_eq!(a.divide(b, 4), expect);
        };
        check("6", "4", (0b1100, 0, false));
        check("1", "3", (0b0101, -1, true));
        check("100000000000000000000", "10000000000000000000", (0b1010, 3, false));
    }
}
