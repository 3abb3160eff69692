//! Patterns as KEYS, SCAN's MATCH and PSUBSCRIBE understand them: `*`, `?`, `[a-z]`, `[^a]`, `\x`.

/// Whether the whole text matches the pattern. Never takes longer than the product of both
/// lengths, whatever the pattern.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when a guess of what the last star stands for proves wrong.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        match one(&pattern[p..], text[t]) {
            Some(used) => {
                p += used;
                t += 1;
            }
            None => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    p = *after;
                    t = *from;
                }
                None => return false,
            },
        }
    }
}

/// Matches one byte against the pattern's first element; returns the element's length.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte),
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// A class `[…]`; one that is not closed ends with the pattern.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut hit = false;
    loop {
        match &pattern[at.min(pattern.len())..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                hit |= *literal == byte;
                at += 2;
            }
            [low, b'-', high, ..] => {
                hit |= (*low.min(high)..=*low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                hit |= *literal == byte;
                at += 1;
            }
        }
    }
    (hit != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        let yes = [
            ("*", ""),
            ("", ""),
            ("a*c", "abbbc"),
            ("a*c*", "acb"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-c]llo", "hbllo"),
            ("h[c-a]llo", "hbllo"),
            ("a\\*b", "a*b"),
            ("[\\]]", "]"),
            ("[abc", "b"),
            ("*x*y*z", "axbxcydzz"),
        ];
        let no = [
            ("", "a"),
            ("?", ""),
            ("a*c", "abbb"),
            ("h[^e]llo", "hello"),
            ("a\\*b", "axb"),
            ("[a-c]", "d"),
            ("abc", "abcd"),
            ("abcd", "abc"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    /// A pattern of many stars against a long text took exponential time in naive matchers.
    #[test]
    fn many_stars_end_soon() {
        let pattern = b"*a".repeat(50);
        let text = [b"a".repeat(5000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text));
    }
}
