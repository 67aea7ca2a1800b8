//! Just enough HTML to fill in a form as a person would: fields with their values, buttons, where it goes.

use anyhow::{Result, bail};

#[derive(Debug, Default, PartialEq)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
    pub buttons: Vec<(String, String)>,
}

impl Form {
    /// The first form of a page that has a field or button of this name.
    ///
    /// # Errors
    /// When there is none; says which there are.
    pub fn with(page: &str, name: &str) -> Result<Self> {
        let forms: Vec<Self> = page.split("<form").skip(1).map(|rest| Self::read(rest.split("</form").next().unwrap_or_default())).collect();
        match forms.iter().position(|f| f.fields.iter().chain(&f.buttons).any(|(n, _)| n == name)) {
            Some(at) => Ok(forms.into_iter().nth(at).unwrap_or_default()),
            None => bail!("the page has no form with `{name}`; it has {forms:?}; the page says: {}", text(page)),
        }
    }

    fn read(html: &str) -> Self {
        let mut form = Self { action: attribute(html.split('>').next().unwrap_or_default(), "action").unwrap_or_default(), ..Self::default() };
        for tag in html.split('<').skip(1).filter_map(|t| t.split('>').next()) {
            let pair = || Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()));
            if tag.starts_with("input") {
                form.fields.extend(pair());
            } else if tag.starts_with("button") {
                form.buttons.extend(pair());
            }
        }
        form
    }

    #[must_use]
    pub fn fill(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }
}

/// What a person reads of a page.
pub fn text(page: &str) -> String {
    let body = page.split("<main").nth(1).unwrap_or(page);
    let words: Vec<&str> = body.split('<').skip(1).filter_map(|t| t.split_once('>')).map(|(_, text)| text.trim()).filter(|t| !t.is_empty()).collect();
    words.join(" · ").chars().take(400).collect()
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split_once(&format!(" {name}=\""))?.1;
    let value = rest.split('"').next()?;
    Some(value.replace("&#x2f;", "/").replace("&#x27;", "'").replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_and_filled_in() {
        let page = r#"<main><form method="post" action="/login"><input type="hidden" name="csrf" value="a&amp;b"><input name="username" required>
            <button type="submit" name="decision" value="approve">Yes</button></form></main>"#;
        let form = Form::with(page, "username").unwrap().fill("username", "ada");
        assert_eq!(form.action, "/login");
        assert_eq!(form.fields, [("csrf".into(), "a&b".into()), ("username".into(), "ada".into())]);
        assert_eq!(form.buttons, [("decision".into(), "approve".into())]);
        assert!(Form::with(page, "password").unwrap_err().to_string().contains("/login"));
    }
}
