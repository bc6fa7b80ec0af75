//! Texts, by what they are for.

use std::{fmt::Display, marker::PhantomData, str::FromStr};

use crate::convert::{
    BadField, Field,
    limits::{SENTENCE_MAX, TEXT_MAX, WORD_MAX},
};

fn at_most(text: String, limit: usize) -> Result<String, BadField> {
    if text.len() > limit {
        return Err(BadField::new(format!("{} bytes, the limit is {limit}", text.len())));
    }
    Ok(text)
}

fn without_nul(text: String) -> Result<String, BadField> {
    // It would end the text for the kernel but not for us.
    if text.contains('\0') { Err(BadField::new("has a NUL character")) } else { Ok(text) }
}

macro_rules! text {
    ($(#[$doc:meta])* $kind:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $kind {}

        impl Field for $kind {
            type Wire = String;
            type Model = String;

            fn read(wire: String) -> Result<String, BadField> {
                $check(wire)
            }

            fn write(model: &String) -> String {
                model.clone()
            }
        }
    };
}

text!(
    /// What a program or engine is given; may be empty.
    Text, |text| without_nul(at_most(text, TEXT_MAX)?)
);
text!(
    /// A name, reference or address; not empty.
    Word, |text: String| {
        if text.is_empty() {
            return Err(BadField::missing());
        }
        without_nul(at_most(text, WORD_MAX)?)
    }
);
text!(
    /// A short text for people; may be empty.
    Remark, |text| at_most(text, WORD_MAX)
);
text!(
    /// What went wrong, in words; may be empty.
    Sentence, |text| at_most(text, SENTENCE_MAX)
);
text!(
    /// A path from the root.
    AbsolutePath, |text: String| {
        let path = Word::read(text)?;
        if path.starts_with('/') { Ok(path) } else { Err(BadField::new("is not absolute")) }
    }
);
text!(
    /// The name of an environment variable.
    VariableName, |text: String| {
        let name = Word::read(text)?;
        if name.contains('=') { Err(BadField::new("has a `=`")) } else { Ok(name) }
    }
);

/// Something with a text form that says itself what is wrong with a text: names, constraints.
#[derive(Debug)]
pub struct Parsed<T>(PhantomData<T>);

impl<T: FromStr<Err: Display> + Display> Field for Parsed<T> {
    type Wire = String;
    type Model = T;

    fn read(wire: String) -> Result<T, BadField> {
        at_most(wire, WORD_MAX)?.parse().map_err(BadField::new)
    }

    fn write(model: &T) -> String {
        model.to_string()
    }
}
