//! Errors as people read them.

use std::error::Error;

/// The error with all its causes, in one line: what cannot be written says little without the system's reason.
pub fn story(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Told(&'static str, Option<io::Error>);

    impl fmt::Display for Told {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Told {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|cause| cause as _)
        }
    }

    #[test]
    fn every_cause_is_told_and_one_without_stands_alone() {
        let full = io::Error::other("no space left");
        let error = Told("cannot keep it", Some(full));
        assert_eq!(story(&error), "cannot keep it: no space left");
        assert_eq!(story(&Told("gone", None)), "gone");
    }
}
