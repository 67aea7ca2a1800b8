//! Which language a page speaks: `ui_locales` of the request (OpenID Connect Core 3.1.2.1), else `Accept-Language`.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    Chinese,
    #[default]
    English,
}

impl Language {
    /// The tag for `<html lang>`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// The first known one of a space separated list of tags.
    pub fn from_ui_locales(list: &str) -> Option<Self> {
        list.split_ascii_whitespace().find_map(Self::from_tag)
    }

    /// The known one with the greatest weight (RFC 9110 section 12.5.4).
    pub fn from_accept_language(header: &str) -> Option<Self> {
        let mut best: Option<(f32, Self)> = None;
        for part in header.split(',').take(20) {
            let (tag, parameters) = part.trim().split_once(';').unwrap_or((part.trim(), ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>).unwrap_or(0.0);
            let Some(language) = Self::from_tag(tag.trim()) else { continue };
            if weight > 0.0 && best.is_none_or(|(w, _)| weight > w) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }

    fn from_tag(tag: &str) -> Option<Self> {
        match tag.split('-').next()?.to_ascii_lowercase().as_str() {
            "zh" => Some(Self::Chinese),
            "en" => Some(Self::English),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_known_language_wins() {
        assert_eq!(Language::from_accept_language("zh-CN,zh;q=0.9,en;q=0.8"), Some(Language::Chinese));
        assert_eq!(Language::from_accept_language("de, en;q=0.5, zh;q=0.7"), Some(Language::Chinese));
        assert_eq!(Language::from_accept_language("en;q=0, zh;q=0.1"), Some(Language::Chinese));
        assert_eq!(Language::from_accept_language("de, *"), None);
        assert_eq!(Language::from_accept_language(";;q=NaN,,"), None);
        assert_eq!(Language::from_ui_locales("fr zh-Hans-CN en"), Some(Language::Chinese));
    }
}
