//! Commands written as text, line by line.

/// Splits a line into words; `"…"` holds spaces and `\n`, `{n*x}` is `x` repeated.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut begun) = (Vec::new(), String::new(), false, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted && chars.next_if_eq(&'n').is_some() => word.push('\n'),
            '#' if !quoted && !begun => break,
            '"' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words.into_iter().map(expand).collect()
}

fn expand(word: String) -> String {
    let inner = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
    let parts = inner.and_then(|inner| inner.split_once('*'));
    match parts.and_then(|(count, text)| Some((count.parse::<usize>().ok()?, text))) {
        Some((count, text)) => text.repeat(count),
        None => word,
    }
}
