//! How sure we are of a person, from the methods that were used (`amr`, RFC 8176), and what a request asks for (`acr`).

/// Ordered: a greater one does for a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// One factor.
    One,
    /// Two different factors.
    Two,
    /// A passkey that checked its holder: no page that looks like ours can fish for it.
    Phishproof,
}

/// Names that requests and tokens use. The last one is of OpenID Connect EAP ACR Values 1.0.
pub const NAMES: [(&str, Level); 3] = [("1", Level::One), ("2", Level::Two), ("phr", Level::Phishproof)];

impl Level {
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, level)| *level == self).map_or("1", |(name, _)| name)
    }

    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

/// The level that the methods of a session reach. `amr`: separated by spaces.
pub fn level(amr: &str) -> Level {
    let has = |method: &str| amr.split_ascii_whitespace().any(|m| m == method);
    match (has("hwk") || has("swk"), has("mfa")) {
        (true, true) => Level::Phishproof,
        (false, true) => Level::Two,
        (_, false) => Level::One,
    }
}

/// The least level that `acr_values` is content with; `None` when it names none that we know.
pub fn asked(acr_values: &str) -> Option<Level> {
    acr_values.split_ascii_whitespace().filter_map(Level::named).min()
}

/// The factor that a method shows. Keys of whatever kind are one: what somebody has. `None`: it is none by itself.
fn factor(method: &str) -> Option<&str> {
    match method {
        "hwk" | "swk" => Some("key"),
        "mfa" | "user" => None,
        other => Some(other),
    }
}

/// The methods of a first and a second step together. They are two factors (`mfa`) when one of the steps was that by itself, or the
/// second shows another factor than the first: the same one again is no second one.
pub fn with_second(first: &str, second: &str) -> String {
    let (mut all, mut factors): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let mut several = false;
    for method in first.split_ascii_whitespace().chain(second.split_ascii_whitespace()) {
        several |= method == "mfa";
        if method != "mfa" && !all.contains(&method) {
            all.push(method);
        }
        if let Some(factor) = factor(method)
            && !factors.contains(&factor)
        {
            factors.push(factor);
        }
    }
    if several || factors.len() > 1 {
        all.push("mfa");
    }
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_from_the_methods() {
        assert_eq!(level("pwd"), Level::One);
        assert_eq!(level(&with_second("pwd", "otp")), Level::Two);
        assert_eq!(level(&with_second("pwd", "hwk")), Level::Phishproof);
        assert_eq!(level("hwk user mfa"), Level::Phishproof);
        assert_eq!(level("hwk"), Level::One, "a key that did not check its holder is one factor");
        assert_eq!(with_second("pwd otp mfa", "otp"), "pwd otp mfa");
    }

    #[test]
    fn the_same_factor_twice_is_one() {
        assert_eq!(level(&with_second("swk", "swk")), Level::One);
        assert_eq!(level(&with_second("swk", "hwk")), Level::One, "two keys are what somebody has, twice");
        assert_eq!(with_second("otp", "otp"), "otp");
        assert_eq!(with_second("swk", "hwk user mfa"), "swk hwk user mfa", "a passkey that checked its holder is two by itself");
        assert_eq!(with_second("fed", "otp"), "fed otp mfa");
        assert_eq!(with_second("hwk", "otp"), "hwk otp mfa");
    }

    #[test]
    fn a_request_is_content_with_the_least_it_names() {
        assert_eq!(asked("phr 2"), Some(Level::Two));
        assert_eq!(asked("phr"), Some(Level::Phishproof));
        assert_eq!(asked("urn:other"), None);
        for (name, level) in NAMES {
            assert_eq!((Level::named(name), level.name()), (Some(level), name));
        }
    }
}
