//! Whether a container that must not run as root would.

use gantry_cri::ImageUser;

/// As the kubelet decides it (`runAsNonRoot`): by numbers alone, since whom a name means is only known inside of the image.
///
/// # Errors
/// A sentence for a person: it would run as root, or nobody can tell that it would not.
pub fn not_root(user: &str, image: &ImageUser) -> Result<(), String> {
    let asked = user.split(':').next().unwrap_or_default();
    if !asked.is_empty() {
        return match asked.parse::<i64>() {
            Ok(0) => Err("it must not run as root, and its `user` is root".into()),
            Ok(_) => Ok(()),
            Err(_) => Err(format!("it must not run as root, and whether its `user` {asked} is root cannot be told: name a number")),
        };
    }
    match (image.uid, image.name.as_str()) {
        (Some(0), _) | (None, "") => Err("it must not run as root, and its image runs as root: name a `user`".into()),
        (Some(_), _) => Ok(()),
        (None, name) => Err(format!("it must not run as root, and whether the user {name} of its image is root cannot be told: name a number as `user`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_that_is_not_roots_may_run() {
        let image = |uid: Option<i64>, name: &str| ImageUser { uid, name: name.into() };
        for (user, of, runs) in [
            ("1000", image(Some(0), ""), true),
            ("1000:0", image(None, ""), true),
            ("", image(Some(101), ""), true),
            (":50", image(Some(101), ""), true),
            ("0", image(Some(101), ""), false),
            ("0:7", image(Some(101), ""), false),
            ("web", image(Some(101), ""), false),
            ("", image(Some(0), ""), false),
            ("", image(None, ""), false),
            ("", image(None, "web"), false),
        ] {
            assert_eq!(not_root(user, &of).is_ok(), runs, "{user:?} {of:?}");
        }
        assert!(not_root("", &image(None, "web")).unwrap_err().contains("user web of its image"));
    }
}
