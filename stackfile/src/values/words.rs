/// Splits a command line into words the way a shell would, without being one: operators of a
/// shell outside quotes are an error, since nothing would act on them.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let into = word.get_or_insert_default();
                quoted(&mut chars, '\'', into)?;
            }
            '"' => {
                let into = word.get_or_insert_default();
                quoted(&mut chars, '"', into)?;
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            ';' | '&' | '|' | '<' | '>' => {
                return Err(format!(
                    "`{c}` means nothing without a shell, and no shell runs this line"
                ));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, quote: char, into: &mut String) -> Result<(), String> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => into.push(c),
                Some('\n') => {}
                Some(c) => into.extend(['\\', c]),
                None => break,
            },
            c => into.push(c),
        }
    }
    Err(format!("a quotation that begins with {quote} is never closed"))
}
