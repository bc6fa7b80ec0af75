//! `${VAR}` in values, with all of Compose's operators.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    diagnostic::Report,
    source::{Span, Texts},
    tree::{Node, Value},
};

/// How much text a load may produce by substitution, in stack files and files of variables together, so
/// that a short file cannot repeat a long variable without end.
const MAX_SUBSTITUTED_BYTES: usize = 16 << 20;
/// What is said when it is more.
pub(crate) const TOO_MUCH: &str = "the file's variables expand to more than 16 MiB of text";
/// Characters that are shown of why a variable must be set.
const MAX_REASON: usize = 1_000;
/// How deep defaults may nest in each other.
const MAX_NESTING: usize = 16;

/// The variables a stack file may use; the process wins over `.env`.
#[derive(Debug)]
pub(crate) struct Variables<'a> {
    pub(crate) process: &'a BTreeMap<String, String>,
    pub(crate) dotenv: BTreeMap<String, String>,
}

impl Variables<'_> {
    /// The same with one more, below those of the process.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.dotenv.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.process.get(name).or_else(|| self.dotenv.get(name)).map(String::as_str)
    }
}

/// How much text may still be produced by substitution.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Option<usize>,
}

impl Budget {
    /// For one load.
    pub(crate) const fn new() -> Self {
        Self { left: Some(MAX_SUBSTITUTED_BYTES) }
    }

    /// Whether more was produced than may be: then nothing more is.
    pub(crate) const fn is_over(&self) -> bool {
        self.left.is_none()
    }

    /// Takes what was produced; answers whether it may be.
    pub(crate) fn spend(&mut self, text: &str) -> bool {
        self.left = self.left.and_then(|left| left.checked_sub(text.len()));
        !self.is_over()
    }
}

/// What is wrong with a template, with the bytes of it that are to blame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
}

/// Substitutes variables in every text below `node`; keys are left alone, as in Compose.
pub(crate) struct Interpolator<'a> {
    pub(crate) variables: &'a Variables<'a>,
    pub(crate) texts: &'a Texts,
    /// Names already warned about.
    unset: BTreeSet<String>,
    budget: &'a mut Budget,
}

impl<'a> Interpolator<'a> {
    pub(crate) fn new(
        variables: &'a Variables<'a>,
        texts: &'a Texts,
        budget: &'a mut Budget,
    ) -> Self {
        Self { variables, texts, unset: BTreeSet::new(), budget }
    }

    pub(crate) fn walk(&mut self, node: &mut Node, report: &mut Report) {
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.walk(item, report)),
            Value::Map(map) => {
                map.entries.iter_mut().for_each(|entry| self.walk(&mut entry.value, report));
            }
            Value::Text(text) if text.contains('$') => {
                let text = std::mem::take(text);
                node.value = self.text(&text, node.at, report);
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, at: Span, report: &mut Report) -> Value {
        if self.budget.is_over() {
            return Value::Broken;
        }
        let mut unset = Vec::new();
        let lookup = |name: &str| self.variables.get(name);
        let result = substitute(text, &lookup, &mut unset);
        for name in unset {
            if self.unset.insert(name.clone()) {
                report
                    .warning(at, format!("the variable `{name}` is not set; it is read as empty"))
                    .hint(format!(
                        "set it in `.env`, or write `${{{name}:-DEFAULT}}`; a literal `$` is `$$`"
                    ));
            }
        }
        match result {
            Ok(text) if self.budget.spend(&text) => Value::Text(text),
            Ok(_) => {
                report.error(at, TOO_MUCH);
                Value::Broken
            }
            Err(fault) => {
                let at = self.texts.within(at, text, fault.from, fault.to);
                let finding = report.error(at, fault.what);
                if let Some(hint) = fault.hint {
                    finding.hint(hint);
                }
                Value::Broken
            }
        }
    }
}

/// Substitutes variables in `text`. Names that are not set and have no default go to `unset`.
pub(crate) fn substitute<'v>(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    unset: &mut Vec<String>,
) -> Result<String, Fault> {
    expand(text, 0, lookup, unset, 0)
}

/// `base` is where `text` begins in the whole template.
fn expand<'v>(
    text: &str,
    base: usize,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find('$') {
        out.push_str(&text[at..at + found]);
        at += found;
        let rest = &text[at + 1..];
        if rest.starts_with('$') {
            out.push('$');
            at += 2;
        } else if rest.starts_with('{') {
            let end = closing(rest).ok_or_else(|| Fault {
                from: base + at,
                to: base + text.len(),
                what: "`${` is never closed".to_owned(),
                hint: Some("close it with `}`; a literal `$` is written `$$`".to_owned()),
            })?;
            let braced = Braced { body: &rest[1..end], from: base + at, to: base + at + end + 2 };
            out.push_str(&braced.value(lookup, unset, depth)?);
            at += end + 2;
        } else {
            let name = name_length(rest);
            if name == 0 {
                out.push('$');
            } else {
                out.push_str(plain(&rest[..name], lookup, unset));
            }
            at += 1 + name;
        }
        if out.len() > MAX_SUBSTITUTED_BYTES {
            break;
        }
    }
    out.push_str(&text[at..]);
    Ok(out)
}

fn plain<'v>(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<&'v str>,
    unset: &mut Vec<String>,
) -> &'v str {
    lookup(name).unwrap_or_else(|| {
        unset.push(name.to_owned());
        ""
    })
}

/// How many bytes of `text` are a variable's name.
fn name_length(text: &str) -> usize {
    let begins = |c: u8| c.is_ascii_alphabetic() || c == b'_';
    let goes_on = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    match text.as_bytes() {
        [first, rest @ ..] if begins(*first) => 1 + rest.iter().take_while(|c| goes_on(c)).count(),
        _ => 0,
    }
}

/// Where the brace that `text` begins with is closed.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// What stands between `${` and `}`.
struct Braced<'t> {
    body: &'t str,
    from: usize,
    to: usize,
}

impl Braced<'_> {
    fn value<'v>(
        &self,
        lookup: &dyn Fn(&str) -> Option<&'v str>,
        unset: &mut Vec<String>,
        depth: usize,
    ) -> Result<String, Fault> {
        let length = name_length(self.body);
        let (name, rest) = self.body.split_at(length);
        let (operator, word) = match rest.as_bytes() {
            _ if name.is_empty() => return Err(self.fault()),
            [] => return Ok(plain(name, lookup, unset).to_owned()),
            [b':', b'-' | b'?' | b'+', ..] => rest.split_at(2),
            [b'-' | b'?' | b'+', ..] => rest.split_at(1),
            _ => return Err(self.fault()),
        };
        let set = lookup(name);
        // With a colon an empty value counts as none.
        let present = set.is_some_and(|value| !operator.starts_with(':') || !value.is_empty());
        let base = self.from + 2 + length + operator.len();
        if depth >= MAX_NESTING {
            return Err(Fault {
                from: self.from,
                to: self.to,
                what: format!("defaults are nested more than {MAX_NESTING} deep"),
                hint: None,
            });
        }
        let mut word = || expand(word, base, lookup, unset, depth + 1);
        match (operator.trim_start_matches(':'), present) {
            ("-" | "?", true) => Ok(set.unwrap_or_default().to_owned()),
            ("-", false) | ("+", true) => word(),
            ("?", false) => {
                let word: String = word()?.chars().take(MAX_REASON).collect();
                let reason = if word.is_empty() { String::new() } else { format!(": {word}") };
                Err(Fault {
                    from: self.from,
                    to: self.to,
                    what: format!("the variable `{name}` must be set{reason}"),
                    hint: Some(format!(
                        "set it in `.env` or before the command: `{name}=… sisoctl …`"
                    )),
                })
            }
            _ => Ok(String::new()),
        }
    }

    fn fault(&self) -> Fault {
        Fault {
            from: self.from,
            to: self.to,
            what: format!("`${{{}}}` is not a variable", self.body),
            hint: Some(
                "write `${NAME}` or `${NAME:-default}`, a name being letters, digits and `_`; for \
                 the shell in the container write `$${…}`"
                    .to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lookup(name: &str) -> Option<&'static str> {
        match name {
            "SET" => Some("set"),
            "EMPTY" => Some(""),
            _ => None,
        }
    }

    fn expand(text: &str) -> Result<String, String> {
        substitute(text, &lookup, &mut Vec::new()).map_err(|fault| fault.what)
    }

    #[test]
    fn every_operator_distinguishes_set_empty_and_unset() {
        #[track_caller]
        fn check(operator: &str, set: &str, empty: &str, unset: &str) {
            let value = |name: &str| expand(&format!("${{{name}{operator}word}}"));
            let shown = |name| value(name).unwrap_or_else(|_| "error".to_owned());
            assert_eq!(
                [shown("SET"), shown("EMPTY"), shown("UNSET")],
                [set, empty, unset],
                "{operator}"
            );
        }
        check(":-", "set", "word", "word");
        check("-", "set", "", "word");
        check(":?", "set", "error", "error");
        check("?", "set", "", "error");
        check(":+", "word", "", "");
        check("+", "word", "word", "");
    }

    #[test]
    fn dollars_that_begin_no_variable_stay() {
        for text in ["$", "a$", "$1", "$(x)", "$-", "$ x", "100$", "$.", "price: 5 $ each"] {
            assert_eq!(expand(text).as_deref(), Ok(text));
        }
        assert_eq!(expand("$$SET $$$SET $${SET}").as_deref(), Ok("$SET $set ${SET}"));
        assert_eq!(expand("$SETx-${SET}x $EMPTY.").as_deref(), Ok("-setx ."));
    }

    #[test]
    fn defaults_nest_and_hold_braces() {
        assert_eq!(expand("${A:-${B:-${SET}}}").as_deref(), Ok("set"));
        assert_eq!(expand("${A:-{\"k\": {\"v\": 1}}}").as_deref(), Ok("{\"k\": {\"v\": 1}}"));
        assert_eq!(expand("${A:-http://x:80/?a=b}").as_deref(), Ok("http://x:80/?a=b"));
        assert_eq!(expand("${SET:-${B:?not evaluated}}").as_deref(), Ok("set"));
        let deep = format!("{}x{}", "${A:-".repeat(100), "}".repeat(100));
        assert!(expand(&deep).unwrap_err().contains("nested more than"));
    }

    #[test]
    fn what_is_no_variable_is_an_error_with_its_place() {
        for text in ["${}", "${1}", "${V:1:2}", "${V//a}", "${#V}", "${V.x}", "${ V}"] {
            let fault = substitute(&format!("ab{text}"), &lookup, &mut Vec::new()).unwrap_err();
            assert_eq!((fault.from, fault.to), (2, 2 + text.len()), "{text}");
        }
        assert_eq!(expand("${SET"), Err("`${` is never closed".to_owned()));
        assert_eq!(
            expand("${A:?say why}"),
            Err("the variable `A` must be set: say why".to_owned())
        );
    }

    #[test]
    fn names_that_are_not_set_are_told() {
        let mut unset = Vec::new();
        substitute("$A ${B} ${C:-x} $SET", &lookup, &mut unset).unwrap();
        assert_eq!(unset, ["A", "B"]);
    }

    /// A template as pieces, with what each piece stands for: the oracle.
    fn piece() -> impl Strategy<Value = (String, String)> {
        prop_oneof![
            "[a-z .:/{-]{0,5}"
                .prop_map(|text| (text.replace(['{', '-'], ""), text.replace(['{', '-'], ""))),
            Just(("$$".to_owned(), "$".to_owned())),
            Just(("${SET}".to_owned(), "set".to_owned())),
            Just(("${EMPTY}".to_owned(), String::new())),
            "[a-z]{0,4}".prop_map(|word| (format!("${{UNSET-{word}}}"), word)),
            "[a-z]{0,4}".prop_map(|word| (format!("${{SET:+{word}}}"), word)),
            "[a-z]{0,4}".prop_map(|word| (format!("${{EMPTY:-${{UNSET:-{word}}}}}"), word)),
        ]
    }

    proptest! {
        #[test]
        fn a_template_is_the_sum_of_its_pieces(pieces in proptest::collection::vec(piece(), 0..8)) {
            let template: String = pieces.iter().map(|(template, _)| template.as_str()).collect();
            let expected: String = pieces.iter().map(|(_, value)| value.as_str()).collect();
            prop_assert_eq!(expand(&template), Ok(expected), "{}", template);
        }

        #[test]
        fn doubling_dollars_protects_any_text(text in "\\PC{0,40}") {
            prop_assert_eq!(expand(&text.replace('$', "$$")), Ok(text));
        }
    }
}
