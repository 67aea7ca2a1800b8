//! Regular expressions that users may give to the balancers of nodes: a part of the usual language that compiles everywhere, and that no
//! text keeps busy for long. Balancers try every way to match; one pattern must not hold up what others ask.

const LONGEST: usize = 512;
const MOST_TIMES: u32 = 255;
const MOST_REPEATS: usize = 5;

/// What is wrong with a pattern; nothing if all is right.
pub fn fault(pattern: &str) -> Option<&'static str> {
    if pattern.is_empty() || pattern.len() > LONGEST || !pattern.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Some("a pattern is 1 to 512 printable characters");
    }
    let text = pattern.strip_prefix("(?i)").unwrap_or(pattern);
    Reading { rest: text.as_bytes(), repeats: 0 }.whole().err()
}

struct Reading<'a> {
    rest: &'a [u8],
    /// How many have no end.
    repeats: usize,
}

type Fault = &'static str;

/// What the brackets hold.
#[derive(Clone, Copy, Default)]
struct Held {
    repeats: bool,
    alternatives: bool,
}

/// What stands before a quantifier.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    One,
    Group(Held),
}

impl Reading<'_> {
    fn whole(mut self) -> Result<(), Fault> {
        self.alternatives(false)?;
        Ok(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Up to the end, or to the bracket that closes.
    fn alternatives(&mut self, inside: bool) -> Result<Held, Fault> {
        let (mut held, mut before) = (Held::default(), Before::Nothing);
        while let Some(c) = self.next() {
            before = match c {
                b')' if inside => return Ok(held),
                b')' => return Err("a bracket is closed that was not opened"),
                b'(' => {
                    if self.rest.first() == Some(&b'?') {
                        self.rest = self.rest.strip_prefix(b"?:").ok_or("of brackets there are only (...) and (?:...)")?;
                    }
                    let group = self.alternatives(true)?;
                    held.repeats |= group.repeats;
                    held.alternatives |= group.alternatives;
                    Before::Group(group)
                }
                b'|' => {
                    held.alternatives = true;
                    Before::Nothing
                }
                b'*' | b'+' | b'?' | b'{' => {
                    self.quantifier(c, before)?;
                    held.repeats = true;
                    // As few as possible.
                    self.rest = self.rest.strip_prefix(b"?").unwrap_or(self.rest);
                    Before::Nothing
                }
                b'[' => {
                    self.class()?;
                    Before::One
                }
                b'\\' => {
                    self.escape()?;
                    Before::One
                }
                b'^' | b'$' => Before::Nothing,
                b']' | b'}' => return Err("] and } by themselves are written with a backslash"),
                _ => Before::One,
            };
        }
        if inside { Err("a bracket is not closed") } else { Ok(held) }
    }

    fn quantifier(&mut self, kind: u8, before: Before) -> Result<(), Fault> {
        let many = match kind {
            b'?' => false,
            b'{' => self.bounds()?,
            _ => {
                self.repeats += 1;
                true
            }
        };
        if self.repeats > MOST_REPEATS {
            return Err("at most five parts can be repeated without end");
        }
        match before {
            Before::Nothing => Err("*, +, ? and {} need something before them"),
            Before::Group(held) if many && (held.repeats || held.alternatives) => Err("what is repeated cannot hold repeats or alternatives itself"),
            Before::One | Before::Group(_) => Ok(()),
        }
    }

    /// `{2}`, `{2,}` or `{2,5}`.
    fn bounds(&mut self) -> Result<bool, Fault> {
        const WRONG: Fault = "{} holds a number, or two in order, up to 255; a { by itself is written with a backslash";
        let all = self.rest;
        let end = all.iter().position(|b| *b == b'}').ok_or(WRONG)?;
        let text = std::str::from_utf8(&all[..end]).map_err(|_| WRONG)?;
        self.rest = &all[end + 1..];
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|n| digits && *n <= MOST_TIMES).ok_or(WRONG)
        };
        match text.split_once(',') {
            None => Ok(number(text)? > 1),
            Some((least, "")) => {
                number(least)?;
                self.repeats += 1;
                Ok(true)
            }
            Some((least, most)) if number(least)? <= number(most)? => Ok(number(most)? > 1),
            Some(_) => Err(WRONG),
        }
    }

    /// The character that it is, if it is one.
    fn escape(&mut self) -> Result<Option<u8>, Fault> {
        match self.next() {
            Some(b'd' | b'D' | b'w' | b'W' | b's' | b'S') => Ok(None),
            Some(c) if c.is_ascii_punctuation() => Ok(Some(c)),
            _ => Err("after a backslash come d, D, w, W, s, S or a sign that is meant itself"),
        }
    }

    fn class(&mut self) -> Result<(), Fault> {
        const OPEN: Fault = "a class [ ] is not closed, or empty";
        self.rest = self.rest.strip_prefix(b"^").unwrap_or(self.rest);
        let (mut any, mut from) = (false, None);
        loop {
            let one = match self.next().ok_or(OPEN)? {
                b']' if any => return Ok(()),
                b']' => return Err(OPEN),
                b'[' => return Err("[ in a class is written with a backslash"),
                b'\\' => self.escape()?,
                // Between two characters, and neither first nor last.
                b'-' if any && self.rest.first() != Some(&b']') => {
                    let from: u8 = from.ok_or("a range in a class goes from one character to a later one")?;
                    let to = match self.next().ok_or(OPEN)? {
                        b'\\' => self.escape()?,
                        b'[' => None,
                        to => Some(to),
                    };
                    if to.is_none_or(|to| to < from) {
                        return Err("a range in a class goes from one character to a later one");
                    }
                    None
                }
                c => Some(c),
            };
            (any, from) = (true, one);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_for_paths_is_good() {
        for good in [
            "/api(/|$)(.*)",
            "^/v[0-9]+/items/[^/]+$",
            r"/files/\d{1,4}\.(?:png|jpe?g)",
            "/(?:a|b)?/x",
            "(?i)/shop",
            "/a.*?/b",
            r"[\w.-]+",
            "[-a]",
            "/x{2}",
            r"\{id\}",
        ] {
            assert_eq!(fault(good), None, "{good}");
        }
    }

    #[test]
    fn what_does_not_compile_or_never_ends_is_named() {
        for (bad, why) in [
            ("", "printable"),
            ("a\nb", "printable"),
            ("(a", "not closed"),
            ("a)", "not opened"),
            ("*a", "before them"),
            ("a**", "before them"),
            ("(?=a)", "only (...)"),
            ("(?<n>a)", "only (...)"),
            ("[z-a]", "later one"),
            (r"[\d-z]", "later one"),
            ("[]", "empty"),
            ("[a", "not closed"),
            ("a{", "up to 255"),
            ("a{3,2}", "up to 255"),
            ("a{+1}", "up to 255"),
            ("a{999}", "up to 255"),
            (r"\Q", "backslash"),
            (r"a\", "backslash"),
            ("(a+)+$", "repeats or alternatives"),
            ("(a|a)*", "repeats or alternatives"),
            ("((a?b)){2,9}", "repeats or alternatives"),
            (".*.*.*.*.*.*", "five parts"),
        ] {
            assert!(fault(bad).is_some_and(|f| f.contains(why)), "{bad}: {:?}", fault(bad));
        }
        assert!(fault(&"a".repeat(513)).is_some());
        // However deep.
        assert!(fault(&format!("{}a", "(".repeat(511))).is_some());
    }
}
