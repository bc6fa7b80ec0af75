//! Commands without the secrets people write into them.

/// What stands for a secret.
const MASK: &str = "***";
/// What the name of an option that holds a secret contains.
const SECRET: [&str; 5] = ["pass", "secret", "token", "key", "credential"];

/// The words in one line. What follows an option that sounds secret is withheld, and so is who logs
/// in with which password in an address. That helps the careless; it is no promise.
pub(super) fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut shown = Vec::new();
    let mut secret = false;
    for word in words {
        let (told, next) = if secret { (MASK.to_owned(), false) } else { masked(word) };
        shown.push(told);
        secret = next;
    }
    shown.join(" ")
}

/// The word as it is shown, and whether the next one is a secret.
fn masked(word: &str) -> (String, bool) {
    let sounds_secret = |name: &str| {
        let name = name.to_ascii_lowercase();
        SECRET.iter().any(|part| name.contains(part))
    };
    match word.split_once('=') {
        Some((name, _)) if sounds_secret(name) => (format!("{name}={MASK}"), false),
        None if word.starts_with('-') && sounds_secret(word) => (word.to_owned(), true),
        _ => (without_login(word), false),
    }
}

/// `scheme://user:password@host` without who logs in.
fn without_login(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else { return word.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}"),
        None => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_sounds_secret_is_withheld() {
        for (line, shown) in [
            (
                "redis-server --port 1 --requirepass hunter2",
                "redis-server --port 1 --requirepass ***",
            ),
            ("app --api-token=abc -v", "app --api-token=*** -v"),
            ("env DB_PASSWORD=abc run", "env DB_PASSWORD=*** run"),
            ("app postgres://me:abc@db/x", "app postgres://***@db/x"),
            ("sleep 1000000", "sleep 1000000"),
        ] {
            assert_eq!(super::words(line.split(' ')), shown);
        }
    }
}
